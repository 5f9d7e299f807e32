"""Promise: a run through provider batches scores every row once, pays for it once, and has its money in the ledger."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.batch_provider import BatchProvider
from support.batch_runs import BatchRun
from support.clock import now
from support.clock import run as in_virtual_time

from scorer.errors import BatchesOut, BudgetSpent, Interrupted
from scorer.files.local_files import LocalFiles
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


def test_caps_cut_the_chunks_and_end_the_run_only_when_nothing_is_out(tmp_path: Path) -> None:
    run = BatchRun(tmp_path, 40, provider=BatchProvider(takes_s=3), poll_s=3, min_requests=1)
    run.limits = {"max_tokens": None, "max_usd": 0.0003}
    with pytest.raises(BudgetSpent):
        run.run()
    totals = ledger.totals(LocalFiles(), f"{run.out}/ledger")
    assert totals.pico + totals.maybe_pico <= 300_000_000
    assert run.batches.billed
    run.limits = {}
    run.run()
    run.whole()


def test_what_a_cap_leaves_below_min_requests_goes_online(tmp_path: Path) -> None:
    """Else each batch is a bit smaller than the last one: 18, 14, 11 requests, and each takes hours."""
    run = BatchRun(tmp_path, 60, max_requests=20, min_requests=8)
    run.limits = {"max_tokens": 2600}  # the worst case of some nine requests; all of them are billed at 720
    run.run()
    run.whole()
    assert min(run.batches.sizes) >= 8
    assert len(run.wire.asked) > 8
    assert any(
        "since the caps leave a batch fewer requests than model.batch.min_requests = 8." in one for one in run.said
    )


def test_rest_of_few_requests_says_what_it_costs_online_and_in_a_batch(tmp_path: Path) -> None:
    run = BatchRun(tmp_path, 13, min_requests=5)
    run.run()
    (said,) = [one for one in run.said if one.startswith("Asked online")]
    assert "3 rows, since they need fewer requests than model.batch.min_requests = 5." in said
    online, in_batch = (
        float(text.strip(" .")) for text in said.split("That is")[1].split("USD at most; in a batch it is")
    )
    assert online == pytest.approx(2 * in_batch, rel=0.01)
    assert online > 3 * 14e-6, "the worst case"


def test_rest_that_a_money_cap_may_not_hold_online_goes_into_one_more_batch(tmp_path: Path) -> None:
    """A cap cuts the first batch. What is left costs twice as much online, and could end the run too early."""
    run = BatchRun(tmp_path, 14, max_requests=20, min_requests=8)
    run.limits = {"max_tokens": None, "max_usd": 0.0015}
    run.run()
    run.whole()
    assert (len(run.batches.sizes), run.wire.asked.total()) == (2, 0)
    assert run.batches.sizes[1] < 8
    assert not [one for one in run.said if one.startswith("Asked online")]


def test_deadline_cancels_and_asks_the_rest_online(tmp_path: Path) -> None:
    run = BatchRun(tmp_path, 20, provider=BatchProvider(takes_s=10**6))
    run.limits = {"deadline": "2026-09-21T14:14:00Z"}
    run.wall_s = lambda: 1_790_000_000.0 + now()
    run.run()
    run.whole()
    assert all(one.cancelled for one in run.batches.made.values())
    assert run.wire.asked.total() == 20


def test_a_deadline_that_is_over_sends_all_rows_online(tmp_path: Path) -> None:
    """The first start may have been killed before it wrote run.json."""
    run = BatchRun(tmp_path, 5)
    run.limits = {"deadline": "2026-09-21T14:14:00Z"}
    run.wall_s = lambda: 1_800_000_000.0
    run.run()
    run.whole()
    assert run.wire.asked.total() == 5
    assert any("is over: rows that are in no batch are asked online" in said for said in run.said)


def panel(root: Path, rows: int, **batch: object) -> tuple[BatchRun, dict[str, object]]:
    """A run with a panel of two models, and its judge."""
    run = BatchRun(root, rows, **batch)
    run.models = [{**run.model, "alias": alias, "name": alias} for alias in ("x", "y")]
    return run, {"kind": "panel", "models": ["x", "y"]}


def test_panel_asks_each_model_in_batches_of_its_own_at_once(tmp_path: Path) -> None:
    run, judge = panel(tmp_path, 15)
    status = run.run(**judge)
    assert (status.scored, status.requests) == (15, 30)
    assert sorted(run.batches.sizes) == [5, 5, 10, 10]
    assert set(run.batches.paid.values()) == {2}
    one_model = [{body["model"] for _, body in made.requests} for made in run.batches.made.values()]
    assert sorted(map(sorted, one_model)) == [["x"], ["x"], ["y"], ["y"]]
    assert max(made.at for made in run.batches.made.values()) < run.batches.takes_s, "none waited for another"
    found = pq.read_table(run.sealed("a"), columns=["score_x", "score_y", "score"]).to_pylist()
    assert [row["score_x"] for row in found] == [row["score_y"] for row in found] == [row["score"] for row in found]


def test_panel_that_is_started_again_and_again_pays_each_model_once(tmp_path: Path) -> None:
    run, judge = panel(tmp_path, 15, min_requests=1)
    run.batches.texts.update({3: 1, 7: 2})
    run.batches.unexecuted |= {5}
    for at in range(12):
        for n, made in enumerate(run.batches.made.values()):
            made.ends_at = 0 if n <= at else 10**6  # one batch more has ended at each start
        try:
            run.run(waiting="no-wait", **judge)
            break
        except BatchesOut:
            continue
    run.verify()
    assert {row: times for row, times in run.batches.paid.items() if times != 2} == {3: 3, 7: 4}
    assert ledger.totals(LocalFiles(), f"{run.out}/ledger").requests == run.batches.billed
    assert run.verify().findings == ()


def sampled(root: Path, choices: int | None, **model: object) -> tuple[BatchRun, list[dict[str, object]]]:
    """A run of six rows with three samples each, and what its rows say of what they took."""
    run = BatchRun(root, 6, provider=BatchProvider(choices=choices), min_requests=1)
    run.model = {**run.model, "temperature": 0.7, **model}
    status = run.run(samples=3)
    assert (status.scored, run.verify().findings) == (6, ())
    columns = ["samples", "attempts", "prompt_tokens", "completion_tokens", "cost_microusd", "raw"]
    found = pq.read_table(run.sealed("a"), columns=columns).to_pylist()
    assert all(len(row.pop("raw")) == 3 for row in found)
    totals = ledger.totals(LocalFiles(), f"{run.out}/ledger")
    assert totals.pico == sum(10**6 * row["cost_microusd"] for row in found)
    return run, found


def test_samples_are_choices_of_one_request_whose_prompt_is_paid_once(tmp_path: Path) -> None:
    run, rows = sampled(tmp_path, 100)
    assert (run.batches.sizes, run.batches.paid.total()) == ([6], 6)
    assert rows == [{"samples": 3, "attempts": 1, "prompt_tokens": 10, "completion_tokens": 6, "cost_microusd": 11}] * 6


@pytest.mark.parametrize(("choices", "attempts"), [(None, 4), (1, 3), (2, 2)])
def test_samples_without_a_choice_are_asked_one_by_one(tmp_path: Path, choices: int | None, attempts: int) -> None:
    run, rows = sampled(tmp_path, choices)
    assert run.batches.sizes == ([6, 6] if choices == 2 else [6, 9, 9] if choices is None else [6, 10, 2])
    paid = 10 * (attempts - (choices is None))
    assert (
        rows
        == [
            {
                "samples": 3,
                "attempts": attempts,
                "prompt_tokens": paid,
                "completion_tokens": 6,
                "cost_microusd": paid // 2 + 6,
            }
        ]
        * 6
    )


def test_samples_at_an_unknown_server_are_requests_of_their_own(tmp_path: Path) -> None:
    run, rows = sampled(tmp_path, 100, base_url="https://judge.test/v1", api_key_env=None)
    assert (run.batches.sizes, run.batches.paid.total()) == ([9, 9], 18)
    assert {(row["attempts"], row["prompt_tokens"]) for row in rows} == {(3, 30)}


def test_paused_run_submits_nothing_until_it_is_resumed(tmp_path: Path) -> None:
    run = BatchRun(tmp_path, 20)
    job, made_by_then = run.job(), []

    async def paused() -> None:
        loop = asyncio.get_running_loop()
        job.control.change("paused", True, "test")
        loop.call_later(40, lambda: made_by_then.append(len(run.batches.made)))
        loop.call_later(50, job.control.change, "paused", False, "test")
        await job.run()

    in_virtual_time(paused())
    assert made_by_then == [0]
    run.whole()


def test_bad_rows_need_no_batch(tmp_path: Path) -> None:
    run = BatchRun(tmp_path, 10)
    table = pq.read_table(tmp_path / "in/a.parquet")
    ids = table["id"].to_pylist()
    ids[2] = None
    pq.write_table(table.set_column(0, "id", pa.array(ids, pa.string())), tmp_path / "in/a.parquet")
    assert run.run().errors == {"BadRow": 1}
    assert run.batches.sizes == [9]


def test_requests_with_a_prefix_that_repeats_name_the_key_of_its_cache(tmp_path: Path) -> None:
    run = BatchRun(tmp_path, 20, max_requests=20)
    run.model["cache"] = "auto"
    run.run(prompt="Rules. " * 400 + "{response}\n[row:{id}] Score:")
    run.whole()
    (made,) = run.batches.made.values()
    keys = [body.get("prompt_cache_key") for _, body in made.requests]
    assert keys[:8] == [None] * 8, "too few were seen to know that it repeats"
    assert None not in keys[10:]
    assert len(set(keys[10:])) == 1


def test_batch_reserves_a_write_for_an_hour_at_its_price(tmp_path: Path) -> None:
    def reserved(**model: object) -> int:
        run = BatchRun(tmp_path / str(len(model)), 4)
        run.model |= {"provider": "anthropic", "name": "claude-sonnet-4-5", **model}
        with pytest.raises(BatchesOut):
            run.run(waiting="no-wait", prompt="Rules. " * 400 + "[row:{id}] {response}")
        (chunk,) = Path(run.out, "batches").glob("*.parquet")
        return sum(pq.read_table(chunk)["pico"].to_pylist())

    (tmp_path / "0").mkdir()
    (tmp_path / "1").mkdir()
    assert reserved(cache="auto") == pytest.approx(2 * reserved(), rel=0.1)
