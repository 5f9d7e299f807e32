"""Promise: of a row of several requests, what was answered before a cap was reached is not paid again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from support.inprocess import Run

from scorer.errors import BudgetSpent
from scorer.files.local_files import LocalFiles
from scorer.output import ledger


@pytest.mark.parametrize(
    "judge", [{"samples": 3}, {"criteria": ["wit", "tact", "depth"], "ask_criteria": "apart"}], ids=["samples", "apart"]
)
def test_requests_that_were_answered_before_a_cap_are_paid_once(tmp_path: Path, judge: dict[str, Any]) -> None:
    run = Run(tmp_path, 8)
    run.model = {"temperature": 1.0, "max_output_tokens": 32}
    cap, stopped, kept = 120, 0, 0
    while True:
        run.limits = {"max_tokens": cap}
        try:
            run.run(**judge)
            break
        except BudgetSpent:
            stopped += 1
            kept += len([*Path(run.out, "partial").glob("*")])
            cap += 60
    assert stopped > 3
    assert kept
    assert run.wire.billed == 3 * 8
    run.exact()
    table = pq.read_table(run.sealed())
    assert table["prompt_tokens"].to_pylist() == [30] * 8
    assert {len(raw) for raw in table["raw"].to_pylist()} == {3}
    totals = ledger.totals(LocalFiles(), f"{run.out}/ledger")
    assert (totals.requests, totals.prompt_tokens, totals.maybe_requests) == (24, 240, 0)
    assert not Path(run.out, "partial").exists()


class Killed(BaseException):
    """The process is gone."""


@pytest.mark.parametrize("at", range(1, 24, 3))
def test_row_that_was_killed_between_its_criteria_has_each_of_them_once(tmp_path: Path, at: int) -> None:
    run = Run(tmp_path, 8, flush_rows=1)
    judge = {"criteria": ["wit", "tact", "depth"], "ask_criteria": "apart"}

    def kill() -> None:
        if run.wire.asked.total() == at:
            raise Killed

    run.wire.then = kill
    with pytest.raises(BaseException) as ended:
        run.run(**judge)
    assert "Killed" in repr(ended.value) or "Killed" in repr(getattr(ended.value, "exceptions", ""))
    run.wire.then = lambda: None
    run.run(**judge)
    run.exact()
    table = pq.read_table(run.sealed())
    for column in ("score_wit", "score_tact", "score_depth"):
        assert table[column].to_pylist() == table["score"].to_pylist()
    assert {len(raw) for raw in table["raw"].to_pylist()} == {3}
    totals = ledger.totals(LocalFiles(), f"{run.out}/ledger")
    assert totals.prompt_tokens + 1000 * totals.maybe_requests >= 10 * run.wire.billed
