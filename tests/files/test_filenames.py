"""Promise: a shard of any name is scored, or refused in a sentence before anything is sent."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from support.inprocess import Run

from scorer.errors import InputError
from scorer.output.damage import set_aside
from scorer.output.layout import Layout

NAMES = [".", "..", ".hidden", ".partial-1", "x" * 247, "漢" * 82, "a b\n#[c]", "-", "%41", "a.parquet"]


@pytest.mark.parametrize("name", NAMES)
def test_run_scores_seals_and_verifies_a_shard_of_any_name(tmp_path: Path, name: str) -> None:
    run = Run(tmp_path, 9)
    (path,) = map(Path, run.shards)
    found = path.rename(path.with_name(f"{name}.parquet"))
    run.patterns = [str(found).replace("[", "[[]")]
    status = run.run()
    assert (status.scored, status.sealed) == (9, 1)
    (sealed,) = Path(run.out, "scores").iterdir()
    assert not sealed.name.startswith(".")
    assert len(sealed.name.encode()) <= 217
    assert pq.read_table(sealed).column("shard").to_pylist() == [str(found)] * 9
    assert run.verify().findings == ()
    assert run.wire.asked.total() == 9


def test_run_refuses_a_name_that_is_not_utf8_before_any_request(tmp_path: Path) -> None:
    run = Run(tmp_path, 3, 3)
    first, _ = map(Path, run.shards)
    os.rename(first, os.fsencode(tmp_path) + b"/in/a\xff.parquet")
    with pytest.raises(InputError, match=r"in/a\\xff\.parquet has a name that is not UTF-8\..*rename") as refused:
        run.run()
    str(refused.value).encode()
    assert not run.wire.asked
    assert not Path(run.out, "run.json").exists()


def test_set_aside_shortens_long_names(tmp_path: Path) -> None:
    run = Run(tmp_path, 3)
    layout = Layout(run.out)
    path = Path(layout.segments, "x" * 247, "g0-w0-000000000-000000002-0.parquet")
    for _ in range(12):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"damaged")
        set_aside(run.job()._files, layout, str(path))
    assert len(run.damaged()) == 12
