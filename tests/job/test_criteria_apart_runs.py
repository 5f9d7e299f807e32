"""Promise: a run with criteria asked apart stores the columns of criteria together, and is another run than that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from support.inprocess import Run
from support.recorded import recorded_run

from scorer.build.plan import check
from scorer.errors import OutputError

ROWS = [{"id": f"r{n}", "question": "why?", "response": f"said {n}"} for n in range(4)]
CRITERIA = [{"name": "wit", "weight": 3}, {"name": "tact", "scale": [0, 10]}]


def table(out: str) -> pl.DataFrame:
    return pl.read_parquet(f"{out}/scores/*.parquet")


def test_stored_replies_answer_criterion_by_criterion_and_sample_by_sample(tmp_path: Path) -> None:
    replies = [["Score: 5", "Score: 3", "Score: 0", "Score: 10"], ["wit: 1", "1", "tact: 0", "0"]]
    replies += [["Score: 4", None, "Score: 5", "none"], ["none", "none", "Score: 5", "Score: 5"]]
    out = recorded_run(tmp_path, ROWS, replies, criteria=CRITERIA, ask_criteria="apart", samples=2)
    found = table(out)
    assert found["score_wit"].to_list() == [4.0, 1.0, 4.0, None]
    assert found["score_tact"].to_list() == [5.0, 0.0, 5.0, 5.0]
    assert found["score"].to_list() == [3.75, 1.0, 3.75, None]
    assert found["error"].to_list() == [None, None, None, "Unreadable"]
    assert found["samples"].to_list() == [2, 2, 1, 0]
    assert found["criteria_read"].to_list() == [2, 2, 2, 1]
    assert found["raw"].to_list() == replies


def test_both_ways_store_the_same_columns_for_the_same_verdicts(tmp_path: Path) -> None:
    apart = [[f"Ha\nScore: {n + 1}", f"No\nScore: {2 * n}"] for n in range(4)]
    both = [[f"wit reason: Ha\nwit: {n + 1}\ntact reason: No\ntact: {2 * n}"] for n in range(4)]
    options: dict[str, Any] = {"criteria": CRITERIA, "reason": "before"}
    one = table(recorded_run(tmp_path, ROWS, apart, "apart", ask_criteria="apart", **options))
    other = table(recorded_run(tmp_path, ROWS, both, "both", **options))
    assert one.schema == other.schema
    columns = [name for name in one.columns if name.startswith(("score", "reason", "criteria")) or name == "samples"]
    assert {"score_tact", "reason_wit", "criteria_read"} <= set(columns)
    assert one.select(columns).equals(other.select(columns))
    assert one["attempts"].to_list() == [2] * 4
    assert other["attempts"].to_list() == [1] * 4


def test_panel_of_stored_replies_has_its_models_one_after_another(tmp_path: Path) -> None:
    out = recorded_run(
        tmp_path, ROWS[:1], [["Score: 5", "Score: 3"]], kind="panel", models=["x", "y"], criteria=["wit", "tact"],
        ask_criteria="apart",
    )  # fmt: skip
    assert table(out).row(0, named=True).items() >= {"score_x": 4.0, "score_y": 4.0, "score_wit": 5.0}.items()


def test_way_of_asking_is_fixed_on_resume_and_its_default_changes_no_fingerprint(tmp_path: Path) -> None:
    run = Run(tmp_path, 2)
    run.run(criteria=["wit", "tact"], ask_criteria="apart")
    with pytest.raises(OutputError):
        run.run(criteria=["wit", "tact"])
    tree = {
        "input": {"shards": ["x"]},
        "judge": {"prompt": "{id}", "criteria": ["wit", "tact"]},
        "model": {"name": "m", "base_url": "http://127.0.0.1:1/v1"},
        "output": {"path": "out"},
    }
    assert check(tree).fingerprint == "e1adbfaacd2f0fed"
