"""The table of an output folder read some shards at a time is that of one scan."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from support.finished_runs import finished_run

from scorer.output import scan_parts
from scorer.output.scan import scan_scores
from scorer.output.scan_parts import scan_bounded

ROWS = 23
KEY = ["shard", "row"]


def run(root: Path, name: str = "out") -> str:
    given = pl.DataFrame(
        {
            "model": [f"model {n % 3}" for n in range(ROWS)],
            "human": [float(n % 5) for n in range(ROWS)],
            "response": [f"said {n}" for n in range(ROWS)],
        }
    )
    return finished_run(
        root,
        given,
        {"score": [None if n % 9 == 8 else n / 2 for n in range(ROWS)]},
        name=name,
        keep=["model"],
        shards=5,
        pending=2,
    )


@pytest.mark.parametrize("rows", [1, 7, 1000])
def test_parts_are_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    out = run(tmp_path)
    monkeypatch.setattr(scan_parts, "PART_ROWS", rows)
    whole = scan_scores(out, join_input=True)
    found = scan_bounded(out)
    assert found.collect_schema() == whole.collect_schema()
    assert_frame_equal(found.collect().sort(KEY), whole.collect().sort(KEY))
    high = pl.col("human") > 2
    assert_frame_equal(
        found.filter(high).select("model", "score").collect(),
        whole.filter(high).select("model", "score").collect(),
        check_row_order=False,
    )
    assert found.head(3).collect().height == 3
    assert found.select(pl.len()).collect().item() == ROWS - 2


def test_parts_of_two_runs_are_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    both = {"one": run(tmp_path, "one"), "two": run(tmp_path, "two")}
    monkeypatch.setattr(scan_parts, "PART_ROWS", 6)
    assert_frame_equal(
        scan_bounded(both).collect(), scan_scores(both, join_input=True).collect(), check_row_order=False
    )


def test_the_input_is_read_for_its_columns_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = run(tmp_path)
    found = scan_bounded(out)
    monkeypatch.setattr("scorer.output.scan.scan_inputs", lambda shards: pytest.fail("the input is read"))
    assert found.select("model", "score").collect().height == ROWS - 2
