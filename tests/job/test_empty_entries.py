"""Promise: no entry of `input.shards` that matches nothing goes unseen."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.clock import run as in_virtual_time
from support.inprocess import Run

from scorer.errors import InputError, OutputError
from scorer.job.forget import Choice


def test_a_path_that_is_not_there_is_refused_beside_one_that_is(tmp_path: Path) -> None:
    run = Run(tmp_path, 3)
    run.patterns = [f"{tmp_path}/in/a.parquet", f"{tmp_path}/in/b.parqet"]
    with pytest.raises(InputError, match=r"in/b\.parqet is not there"):
        run.run()
    assert not run.wire.asked


def test_a_folder_or_glob_that_matches_nothing_is_told_and_taken_later(tmp_path: Path) -> None:
    run = Run(tmp_path, 3)
    (tmp_path / "later").mkdir()
    run.patterns = [f"{tmp_path}/in/a.parquet", f"{tmp_path}/later", f"{tmp_path}/in/b*.parquet"]
    assert run.run().rows == 3
    assert sum("matches no file yet" in said for said in run.said) == 2
    run.add(2)
    assert run.run().rows == 5


def test_a_shard_that_is_gone_is_told_as_one_and_a_forgotten_one_is_not_missed(tmp_path: Path) -> None:
    run = Run(tmp_path, 3, 2)
    run.patterns = [f"{tmp_path}/in/a.parquet", f"{tmp_path}/in/b.parquet"]
    run.stop_after(1)
    gone = tmp_path / "in/b.parquet"
    gone.unlink()
    with pytest.raises(OutputError, match="is gone"):
        run.run()
    found = in_virtual_time(run.job().run(choice=Choice(forget=("b.parquet",))))
    assert (found.rows, found.state) == (3, "complete")
