"""Promise: retry, reread, --sample, --forget and another mode neither lose nor pay twice for what is in a batch."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from support.batch_provider import BatchProvider
from support.batch_runs import BatchRun
from support.clock import run as in_virtual_time

from scorer.errors import BatchesOut, OutputError
from scorer.files.local_files import LocalFiles
from scorer.job.forget import Choice
from scorer.job.reread import reread
from scorer.job.retry import Retry


def out(root: Path, *sizes: int, provider: BatchProvider | None = None) -> BatchRun:
    """A run with batches that are out."""
    run = BatchRun(root, *sizes, provider=provider)
    with pytest.raises(BatchesOut):
        run.run(waiting="no-wait")
    return run


def failed(root: Path) -> BatchRun:
    """A finished run with one row that no batch took."""
    run = BatchRun(root, 20, min_requests=1)
    run.batches.refuses |= {13}
    assert run.run().errors == {"Rejected": 1}
    run.batches.refuses.clear()
    return run


def test_retry_goes_through_a_batch_and_replaces_the_error(tmp_path: Path) -> None:
    run = failed(tmp_path)
    assert run.run(retry=Retry()).errors == {}
    run.whole()
    assert run.batches.sizes[-1] == 1
    assert pq.read_table(run.sealed("a"), columns=["generation"]).column(0).to_pylist()[13] == 1


def test_retry_whose_batch_is_out_is_finished_by_the_next_start(tmp_path: Path) -> None:
    run = failed(tmp_path)
    with pytest.raises(BatchesOut):
        run.run(retry=Retry(), waiting="no-wait")
    run.run()
    run.whole()


def test_retry_with_keys_of_its_own_leaves_the_batches_of_the_run_alone(tmp_path: Path) -> None:
    run = BatchRun(tmp_path, 30, min_requests=1)
    run.batches.refuses |= {3}
    run.batches.names_line = True
    with pytest.raises(BatchesOut):
        run.run(waiting="no-wait")
    for one in run.batches.made.values():
        one.ends_at = 0 if one.id == "b0" else 10**6
    with pytest.raises(BatchesOut):
        run.run(waiting="no-wait")
    run.batches.refuses.clear()
    before = len(run.batches.made)
    run.run(retry=Retry(None, ("model.max_output_tokens=99",)))
    assert run.batches.paid[3] == 1
    assert len(run.batches.made) == before + 1
    for one in run.batches.made.values():
        one.ends_at = 0
    run.run()
    assert not run.batches.twice()
    assert run.verify().findings == ()


def test_reread_waits_until_the_batches_are_in(tmp_path: Path) -> None:
    run = out(tmp_path, 10)
    with pytest.raises(OutputError, match="provider batches that are out"):
        reread(LocalFiles(), run.out, ["judge.read=number"])


def test_sample_that_is_narrower_stores_what_was_asked_before(tmp_path: Path) -> None:
    run = out(tmp_path, 20)
    run.run(sample="5")
    assert not run.batches.twice()
    run.run()
    run.whole()
    assert run.batches.sizes == [10, 10]


def test_forgotten_shard_whose_rows_are_out_costs_what_it_costs(tmp_path: Path) -> None:
    run = out(tmp_path, 10, 10)
    status = in_virtual_time(run.job().run(None, Choice(forget=("b",))))
    assert (status.rows, status.scored) == (10, 10)
    assert status.requests == 20
    assert run.verify().findings == ()


def test_another_judge_is_refused_while_batches_are_out(tmp_path: Path) -> None:
    run = out(tmp_path, 20)
    with pytest.raises(OutputError, match="another run"):
        run.run(scale=[1, 12])


def test_mode_online_collects_what_is_out_and_asks_the_rest_online(tmp_path: Path) -> None:
    run = BatchRun(tmp_path, 20)
    run.batches.most = 10
    run.limits = {"max_usd": 0.0018}  # a cap that holds one batch
    with pytest.raises(BatchesOut):
        run.run(waiting="no-wait")
    assert run.batches.sizes == [10]
    run.model, run.limits = {}, {}
    run.run()
    run.whole()
    assert (run.batches.billed, run.wire.billed) == (10, 10)
