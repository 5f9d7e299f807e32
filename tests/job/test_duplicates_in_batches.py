"""Promise: with `judge.dedupe` rows that ask the same are one request of a batch, in whichever batch and start."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.batch_provider import BatchProvider
from support.batch_runs import BatchRun
from support.clock import now
from support.inprocess import own_score

from scorer.errors import BatchesOut, StorageError
from scorer.files.local_files import LocalFiles
from scorer.job.batch_state import BatchState
from scorer.output import ledger

DISTINCT = 7


class Alike(BatchRun):
    """Rows of two shards, of which each asks what the row seven before it asks."""

    def __init__(self, root: Path, *sizes: int, **options: object) -> None:
        super().__init__(root, *sizes, **options)  # type: ignore[arg-type]
        self.judge = {"dedupe": True, "prompt": "[row:{id}] Rate from 1 to 10.\nScore:"}
        for path, rows in self.shards.items():
            ids = pa.array([f"r{number % DISTINCT}" for number in rows])
            pq.write_table(pq.read_table(path).set_column(0, "id", ids), path)

    def once(self, *, paid: int = DISTINCT) -> None:
        """Every row has its score, and of equal rows one was asked and paid for."""
        assert self.batches.paid.total() + self.wire.billed == paid
        assert self.verify().findings == ()
        rows = [row for path in self.shards for row in pq.read_table(self.sealed(Path(path).stem)).to_pylist()]
        assert [row["score"] for row in rows] == [own_score(int(row["id"][1:])) for row in rows]
        sent = [row for row in rows if row["copied_from"] is None]
        assert (len(sent), sum(row["attempts"] for row in rows)) == (DISTINCT, DISTINCT)
        assert {row["cost_microusd"] for row in rows if row["copied_from"]} == {0}
        assert ledger.totals(LocalFiles(), f"{self.out}/ledger").requests == self.batches.billed + self.wire.billed


@pytest.mark.parametrize("most", [3, 100])
def test_equal_rows_are_one_request_and_copy_its_result(tmp_path: Path, most: int) -> None:
    run = Alike(tmp_path, 23, 9, max_requests=most, min_requests=1)
    run.run(**run.judge)
    run.once()
    assert sum(run.batches.sizes) == DISTINCT


def test_rows_that_are_out_at_a_start_are_not_asked_by_another_row(tmp_path: Path) -> None:
    run = Alike(tmp_path, 23, 9, max_requests=4, min_requests=1)
    for _ in range(2):
        with pytest.raises(BatchesOut):
            run.run(waiting="no-wait", **run.judge)
    for made in run.batches.made.values():
        made.ends_at = 0
    assert run.run(waiting="collect", **run.judge).state == "complete"
    run.once()


def test_start_that_is_killed_as_it_closes_a_batch_has_copied_its_results(tmp_path: Path) -> None:
    run = Alike(tmp_path, 23, 9, max_requests=4, min_requests=1)
    with pytest.raises(BatchesOut):
        run.run(waiting="no-wait", **run.judge)
    run.batches.made["b0"].ends_at = 0
    with mock.patch.object(BatchState, "close", side_effect=StorageError("killed")), pytest.raises(StorageError):
        run.run(waiting="collect", **run.judge)
    run.run(**run.judge)
    run.once()


def test_row_whose_error_is_its_own_is_not_copied_and_each_asks_for_itself(tmp_path: Path) -> None:
    run = Alike(tmp_path, 14, min_requests=1)
    run.batches.texts.update({3: 3})  # the first of two rows gets no verdict in its three attempts
    run.run(**run.judge)
    rows = pq.read_table(run.sealed("a")).to_pylist()
    assert [row["error"] for row in rows if row["id"] == "r3"] == ["Unreadable", None]
    assert run.batches.paid[3] == 4
    assert run.batches.paid.total() == DISTINCT + 3


def test_rows_that_go_online_are_asked_once_too(tmp_path: Path) -> None:
    run = Alike(tmp_path, 20, max_requests=4, min_requests=4)
    run.run(**run.judge)
    run.once()
    assert (run.batches.sizes, run.wire.billed) == ([4], 3)


def test_deadline_copies_what_batches_answered_before_the_rest_goes_online(tmp_path: Path) -> None:
    run = Alike(tmp_path, 20, provider=BatchProvider(takes_s=10**6), max_requests=4, min_requests=1)
    run.limits = {"deadline": "2026-09-21T14:14:00Z"}
    run.wall_s = lambda: 1_790_000_000.0 + now()
    with pytest.raises(BatchesOut):
        run.run(waiting="no-wait", **run.judge)
    next(iter(run.batches.made.values())).ends_at = 0
    run.run(**run.judge)
    run.once()
    assert run.wire.billed == 3
