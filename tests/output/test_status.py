"""Promise: `status` tells the state of a run from its files alone, and never reports an unknown value as zero."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import orjson
import pytest
from support.clock import inline, now, run
from support.outputs import Output, publish, result

from scorer.errors import OutputError, SpecError, TooManyFailed
from scorer.files.files import read, replace
from scorer.files.local_files import LocalFiles
from scorer.limits.load import LimiterStats
from scorer.output.ledger_totals import Totals
from scorer.output.progress import Progress, RunCounters, Snapshot, Snapshots
from scorer.output.row_counts import Counts
from scorer.output.status import Status, last_progress, status, within_share
from scorer.output.status_facts import status_facts


def stands(output: Output) -> Status:
    return status(LocalFiles(), output.layout.out)


def test_status_of_a_run_not_begun_is_interrupted_with_all_rows_pending(tmp_path: Path) -> None:
    found = stands(Output(tmp_path, 3, 0))
    assert (found.state, found.rows, found.scored, found.failed, found.pending) == ("interrupted", 3, 0, 0, 3)
    assert (found.shards, found.sealed, found.requests, found.cost_usd, found.maybe_billed_usd) == (2, 0, 0, 0, 0)


def test_status_counts_rows_of_segments_and_sealed_files_and_ledger_cost(tmp_path: Path) -> None:
    async def scenario() -> None:
        output = Output(tmp_path, 6, 4)
        await output.pay(7, lost=2)
        await output.score({0: [0, 1]}, error="Refused")
        await output.score({0: [2], 1: [0, 1, 2, 3]})
        await output.score({0: [5]}, error="TooLong")
        found = stands(output)
        assert (found.rows, found.scored, found.failed, found.pending) == (10, 5, 3, 2)
        assert found.errors == {"Refused": 2, "TooLong": 1}
        assert (found.shards, found.sealed) == (2, 1)
        assert (found.prompt_tokens, found.completion_tokens, found.cached_tokens, found.requests) == (70, 14, 7, 9)
        assert (found.cost_usd, found.maybe_billed_usd) == (35e-6, 14e-6)
        assert ", up to 40 more possibly billed, in 9 requests" in dict(status_facts(found))["tokens"]

    run(scenario())


def test_status_says_that_no_request_was_billed(tmp_path: Path) -> None:
    async def scenario() -> None:
        output = Output(tmp_path, 2)
        await output.score({0: range(2)})
        assert dict(status_facts(stands(output)))["tokens"] == "none: no request was billed"
        await output.pay(1)
        assert dict(status_facts(stands(output)))["tokens"] == "10 in (1 cached), 2 out, in 1 request"

    run(scenario())


def test_status_counts_a_row_scored_again_once_with_its_newest_result(tmp_path: Path) -> None:
    async def scenario() -> None:
        output = Output(tmp_path, 4, 3)
        await output.score({0: range(4), 1: [0, 1]}, error="Unavailable")
        await output.retry(only=1)
        found = stands(output)
        assert (found.scored, found.failed, found.pending, found.errors) == (2, 4, 1, {"Unavailable": 4})
        assert found.state == "interrupted"
        await output.retry()
        found = stands(output)
        assert (found.scored, found.failed, found.pending, found.errors) == (6, 0, 1, {})

    run(scenario())


def test_status_is_complete_with_every_row_finished_and_not_during_a_retry(tmp_path: Path) -> None:
    async def scenario() -> None:
        output = Output(tmp_path, 3)
        await output.score({0: range(3)}, error="Unavailable")
        assert stands(output).state == "complete"
        await output.retry(only=0)
        assert stands(output).state == "interrupted"

    run(scenario())


MAYBE = Totals(2, 20, 3, 5, maybe_requests=1, maybe_tokens=70, maybe_pico=3_000_000)


def test_status_is_running_while_locked_and_last_written_state_afterwards(tmp_path: Path) -> None:
    async def scenario() -> None:
        output = Output(tmp_path, 5)
        progress = progress_of(
            output,
            RunCounters(Counts(rows=2), MAYBE, LimiterStats(held_back_by={"budget": 0.5})),
        )
        lock = output.files.lock(output.layout.lock, "me")
        await progress.tell("running")
        found = stands(output)
        assert (found.state, found.held_back_by, found.maybe_billed_usd) == ("running", {"budget": 0.5}, 3e-6)
        written = orjson.loads(read(output.files, output.layout.progress))
        names = ("requests", "cached_tokens", "maybe_billed_requests", "maybe_billed_tokens")
        assert [found.maybe_billed_tokens, *(written[name] for name in names)] == [70, 3, 5, 1, 70]
        await progress.tell("stopped")
        lock.release()
        found = stands(output)
        assert (found.state, found.held_back_by, found.maybe_billed_usd) == ("stopped", {}, 0.0)
        await progress.tell("running")  # and killed there
        assert stands(output).state == "interrupted"

    run(scenario())


def test_status_names_a_damaged_file_and_counts_its_rows_as_pending(tmp_path: Path) -> None:
    async def scenario() -> None:
        output = Output(tmp_path, 5, 2)
        await output.score({0: [0, 1], 1: [0, 1]})
        output.segments()[0].write_bytes(b"PAR1 no more")
        found = stands(output)
        assert (found.scored, found.pending, found.unreadable) == (2, 5, [str(output.segments()[0])])
        replace(output.files, output.layout.progress, b"{cut")
        assert stands(output).state == "interrupted"

    run(scenario())


def test_status_refuses_a_folder_without_a_run_and_a_damaged_run_json(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"holds no run: there is no run\.json in it"):
        status(LocalFiles(), str(tmp_path))
    output = Output(tmp_path, 1)
    Path(output.layout.manifest).write_bytes(b"{")
    with pytest.raises(OutputError, match=r"run\.json is damaged"):
        stands(output)


def test_status_counts_rows_by_tier_each_by_its_newest_reply(tmp_path: Path) -> None:
    async def scenario() -> None:
        output = Output(tmp_path, 4, 2)
        await output.score({0: [2]}, error="Refused", tier="flex")
        await output.score({0: [0, 1, 3], 1: [0]}, tier="flex")
        assert stands(output).tiers == {"flex": 5}  # a sealed shard, and a segment
        store = output.store(1)
        (work,) = store.again(output.shards, 1, None)
        await publish(store, [result(work.shard, 2, generation=1, tier="standard")])
        found = stands(output)
        assert found.tiers == {"flex": 4, "standard": 1}
        assert dict(status_facts(found))["tiers"] == "flex 4, standard 1"
        assert "tiers" not in dict(status_facts(dataclasses.replace(found, tiers={"standard": 5})))

    run(scenario())


def test_within_share_refuses_more_failed_rows_than_allowed(tmp_path: Path) -> None:
    async def scenario() -> None:
        output = Output(tmp_path, 4)
        await output.score({0: [0]}, error="Refused")
        await output.score({0: [1, 2, 3]})
        found = stands(output)
        assert within_share(found, 0.25) is found
        with pytest.raises(
            TooManyFailed, match=r"1 of 4 rows failed \(Refused 1\), more than limits\.max_failed_share"
        ):
            within_share(found, 0.2)
        bad = dataclasses.replace(found, errors={"BadRow": found.failed})
        with pytest.raises(TooManyFailed, match="`scorer retry` does not help: it reads the same rows"):
            within_share(bad, 0.2)

    run(scenario())


def test_status_of_counted_shards_equals_that_of_their_files(tmp_path: Path) -> None:
    class Unread(LocalFiles):
        def open(self, path: str) -> BinaryIO:
            assert "/scores/" not in path, path
            return super().open(path)

    async def scenario() -> None:
        output = Output(tmp_path, 2, 3, 1, 2)
        store = output.store()
        list(store.work(output.shards))
        scored = [result(output.shards[0], n) for n in range(2)] + [result(output.shards[2], 0)]
        await publish(store, [*scored, *(result(output.shards[1], n, error="Refused") for n in range(3))])
        assert store.counted.stems == {"a", "b", "c"}
        reported = stands(output)
        assert (reported.scored, reported.failed, reported.pending) == (3, 3, 2)
        assert status(Unread(), output.layout.out, store.counted) == reported
        for n in range(2):
            await publish(store, [result(output.shards[3], n)])
        assert store.counted.stems == {"a", "b", "c", "d"}  # d beside its segments, which stay for ten minutes
        assert output.segments(3)
        assert status(Unread(), output.layout.out, store.counted) == stands(output)
        await output.retry(only=1)
        assert stands(output).scored == 6
        assert status(LocalFiles(), output.layout.out, store.counted) == stands(output)
        (tmp_path / "out/scores/b.parquet").unlink()
        assert status(LocalFiles(), output.layout.out, store.counted) == stands(output)

    run(scenario())


# --- second by second -------------------------------------------------------------------------------------------------


def progress_of(output: Output, counters: RunCounters, seen: list[Snapshot] | None = None) -> Progress:
    snapshots = Snapshots(lambda: counters, rows_total=5, wall_s=lambda: 1e9 + now())
    return Progress(
        snapshots,
        output.files,
        output.layout.progress,
        offload=inline,
        watch=None if seen is None else seen.append,
    )


def test_progress_rates_average_over_the_last_minute(tmp_path: Path) -> None:
    async def scenario() -> None:
        output = Output(tmp_path, 5)
        seen: list[Snapshot] = []
        counters = RunCounters(found=100)
        progress = Progress(
            Snapshots(lambda: counters, rows_total=10_000, wall_s=now),
            output.files,
            output.layout.progress,
            offload=lambda *_: inline(lambda: None),
            watch=seen.append,
        )
        async with asyncio.TaskGroup() as group:
            group.create_task(progress.serve())
            for second in range(200):
                await asyncio.sleep(1)
                if second < 100:  # then it stands still
                    counters.counts.rows += 10
                    counters.totals.prompt_tokens += 1000
            progress.stop()
        assert [snapshot.updated_at for snapshot in seen[:5]] == [0, 1, 2, 3, 4]
        assert seen[90].rows_per_s == pytest.approx(10, rel=0.05)
        assert seen[90].tokens_per_minute == pytest.approx(60_000, rel=0.05)
        assert (seen[90].finished, seen[90].eta_s) == (1000, pytest.approx(900, rel=0.05))
        assert seen[130].rows_per_s == pytest.approx(5, rel=0.1)
        assert (seen[-1].rows_per_s, seen[-1].eta_s) == (0, None)

    run(scenario())


def test_progress_of_a_cancelled_run_ends_with_its_last_state(tmp_path: Path) -> None:
    async def scenario() -> None:
        output = Output(tmp_path, 5)

        async def slow_at_first(fn: Callable[..., object], *args: object) -> None:
            await asyncio.shield(asyncio.ensure_future(written(fn, *args)))  # as a thread, which cannot be cancelled

        async def written(fn: Callable[..., object], *args: object) -> None:
            await asyncio.sleep(5.0 if b"running" in args[-1] else 0.1)  # type: ignore[operator]
            fn(*args)

        snapshots = Snapshots(lambda: RunCounters(), rows_total=5, wall_s=now)
        progress = Progress(snapshots, output.files, output.layout.progress, offload=slow_at_first, watch=None)
        serving = asyncio.ensure_future(progress.serve())
        await asyncio.sleep(1.0)
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving
        await progress.tell("stopped")
        await asyncio.sleep(10.0)
        assert last_progress(output.files, output.layout)["state"] == "stopped"

    run(scenario())


def test_store_counts_results_when_written(tmp_path: Path) -> None:
    async def scenario() -> None:
        output = Output(tmp_path, 5)
        store = output.store()
        list(store.work(output.shards))
        await publish(store, [result(output.shards[0], 0), result(output.shards[0], 1, error="Refused")])
        assert (store.counts.rows, store.counts.scored, store.counts.errors) == (2, 1, {"Refused": 1})

    run(scenario())
