"""Promise: of a row of several requests, what was answered before a cap was reached is not paid again."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
from support.inprocess import Run

from scorer.errors import BudgetSpent
from scorer.files.files import LocalFiles
from scorer.output import ledger


def test_samples_that_were_answered_before_a_cap_are_paid_once(tmp_path: Path) -> None:
    run = Run(tmp_path, 8)
    run.model = {"temperature": 1.0, "max_output_tokens": 32}
    cap, stopped, kept = 120, 0, 0
    while True:
        run.limits = {"max_tokens": cap}
        try:
            run.run(samples=3)
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
