"""Runs through provider batches, in virtual time, against a provider in this process."""

from __future__ import annotations

from pathlib import Path

from support.batch_provider import BatchProvider
from support.inprocess import Run

from scorer.files.local_files import LocalFiles
from scorer.output import ledger

BATCH = {"max_requests": 10, "poll_s": 10, "grace_s": 60, "min_requests": 2}


class BatchRun(Run):
    """A run against a provider in this process."""

    def __init__(self, root: Path, *sizes: int, provider: BatchProvider | None = None, **batch: object) -> None:
        super().__init__(root, *sizes)
        self.batches = provider or BatchProvider()
        self.provider = self.batches.make
        self.model = {"mode": "batch", "batch": {**BATCH, **batch}}

    def whole(self, *, maybe: int = 0) -> None:
        """Every row is there, was paid for once, and the ledger is equal to the provider's.

        `maybe` requests have no result at all: they may have been paid for.
        """
        self.exact()
        assert not self.batches.twice()
        assert not {row for row, times in self.batches.paid.items() if times and self.wire.asked[row]}
        totals = ledger.totals(LocalFiles(), f"{self.out}/ledger")
        assert totals.requests == self.batches.billed + self.wire.billed
        # 10 prompt tokens at 1 USD a million and 2 at 2 USD, half of that in a batch
        assert totals.pico == self.batches.billed * 7_000_000 + self.wire.billed * 14_000_000
        assert totals.maybe_requests == maybe
        assert [path.name for path in Path(self.out, "batches").glob("*")] in ([], ["closed"])
