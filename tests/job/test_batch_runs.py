"""Promise: a run through provider batches scores every row once, pays for it once, and has its money in the ledger."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from support.batch_provider import BatchProvider
from support.batch_runs import BatchRun
from support.clock import now
from support.clock import run as in_virtual_time

from scorer.errors import BatchesOut, BudgetSpent, Interrupted
from scorer.files.files import LocalFiles
from scorer.output import ledger


@pytest.mark.parametrize("names", [True, False])
def test_run_through_batches_scores_every_row_at_half_price(tmp_path: Path, names: bool) -> None:
    run = BatchRun(tmp_path, 23, 9, provider=BatchProvider(names=names))
    status = run.run()
    run.whole()
    assert (status.state, status.cost_usd, status.batches) == ("complete", pytest.approx(32 * 7e-6), None)
    assert run.batches.sizes == [10, 10, 10, 2]
    found = pq.read_table(run.sealed("a"), columns=["batch", "cost_microusd", "attempts"]).to_pylist()
    assert [row["batch"] for row in found] == ["b0"] * 10 + ["b1"] * 10 + ["b2"] * 3
    assert {(row["cost_microusd"], row["attempts"]) for row in found} == {(7, 1)}
    assert not run.wire.asked


def test_no_wait_submits_and_ends_with_9_and_the_next_start_collects(tmp_path: Path) -> None:
    run = BatchRun(tmp_path, 20)
    with pytest.raises(BatchesOut, match="2 batches out, 20 rows") as ended:
        run.run(waiting="no-wait")
    assert ended.value.exit_code == 9
    run.batches.takes_s = 0
    for one in run.batches.made.values():
        one.ends_at = 0
    assert run.run(waiting="no-wait").state == "complete"
    run.whole()


def test_what_is_below_min_requests_goes_online_at_the_online_price(tmp_path: Path) -> None:
    run = BatchRun(tmp_path, 13, min_requests=5)
    run.run()
    run.whole()
    assert (run.batches.sizes, sorted(run.wire.asked)) == ([10], [10, 11, 12])
    found = pq.read_table(run.sealed("a"), columns=["batch", "cost_microusd"]).to_pylist()
    assert found[9:11] == [{"batch": "b0", "cost_microusd": 7}, {"batch": None, "cost_microusd": 14}]


def test_stop_leaves_batches_out_and_the_next_start_takes_them(tmp_path: Path) -> None:
    run = BatchRun(tmp_path, 20)
    job = run.job()

    async def stopped() -> None:
        asyncio.get_running_loop().call_later(15, job.stop)
        await job.run()

    with pytest.raises(Interrupted):
        in_virtual_time(stopped())
    assert len(run.batches.running) == 2
    run.run()
    run.whole()


def test_rows_that_fail_are_asked_again_alone(tmp_path: Path) -> None:
    run = BatchRun(tmp_path, 20, min_requests=1)
    run.batches.errors.update({3: 2, 11: 1})
    run.batches.unexecuted |= {4, 5}
    run.batches.missing |= {17}
    run.run()
    run.whole(maybe=1)
    assert run.batches.sizes == [10, 10, 5, 1]
    attempts = dict(enumerate(pq.read_table(run.sealed("a"), columns=["attempts"]).column(0).to_pylist()))
    assert (attempts[3], attempts[11], attempts[4], attempts[0]) == (3, 2, 1, 1)


def test_rows_that_are_asked_again_go_in_the_next_wave_with_what_was_answered(tmp_path: Path) -> None:
    run = BatchRun(tmp_path, 20, min_requests=1)
    run.batches.texts.update({3: 1, 7: 2})
    run.run()
    run.exact()
    assert run.batches.sizes == [10, 10, 2, 1]
    assert (run.batches.paid[3], run.batches.paid[7]) == (2, 3)
    found = pq.read_table(run.sealed("a"), columns=["raw", "attempts", "cost_microusd", "prompt_tokens"]).to_pylist()
    assert found[7] == {
        "raw": ["no idea", "no idea", "Score: 8"],
        "attempts": 3,
        "cost_microusd": 21,
        "prompt_tokens": 30,
    }


@pytest.mark.parametrize("names", [True, False])
def test_create_without_an_answer_is_found_and_not_sent_again(tmp_path: Path, names: bool) -> None:
    run = BatchRun(tmp_path, 20, provider=BatchProvider(names=names, lost_creates=1, lag_s=30))
    run.run()
    run.whole()
    assert run.batches.sizes == [10, 10]


@pytest.mark.parametrize("line", [True, False])
def test_row_that_fails_a_whole_batch_is_rejected_alone(tmp_path: Path, line: bool) -> None:
    run = BatchRun(tmp_path, 20, min_requests=1)
    run.batches.refuses |= {13}
    run.batches.names_line = line
    status = run.run()
    assert (status.scored, status.errors) == (19, {"Rejected": 1})
    assert not run.batches.twice()
    assert run.verify().findings == ()


def test_token_limit_halves_the_next_chunk(tmp_path: Path) -> None:
    run = BatchRun(tmp_path, 20, min_requests=1)
    run.batches.most = 4
    run.run()
    run.whole()
    assert max(size for size in run.batches.sizes[2:]) <= 5


def test_caps_cut_the_chunks_and_end_the_run_only_when_nothing_is_out(tmp_path: Path) -> None:
    run = BatchRun(tmp_path, 40, provider=BatchProvider(takes_s=5), poll_s=5)
    run.limits = {"max_tokens": None, "max_usd": 0.0004}
    with pytest.raises(BudgetSpent):
        run.run()
    totals = ledger.totals(LocalFiles(), f"{run.out}/ledger")
    assert totals.pico + totals.maybe_pico <= 400_000_000
    assert run.batches.billed
    run.limits = {}
    run.run()
    run.whole()


def test_deadline_cancels_and_asks_the_rest_online(tmp_path: Path) -> None:
    run = BatchRun(tmp_path, 20, provider=BatchProvider(takes_s=10**6))
    run.limits = {"deadline": "2026-09-21T14:14:00Z"}
    run.wall_s = lambda: 1_790_000_000.0 + now()
    run.run()
    run.whole()
    assert all(one.cancelled for one in run.batches.made.values())
    assert run.wire.asked.total() == 20
