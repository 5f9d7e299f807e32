"""Promise: a row whose result was stored is never asked again; a flush loses and doubles no result."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from support.clock import now, run
from support.outputs import Output, publish, result
from support.stored_rows import complete, left

from scorer.errors import StorageError
from scorer.files.files import PARTIAL
from scorer.files.local_files import LocalFiles
from scorer.output import segment_writer

# --- resuming ---------------------------------------------------------------------------------------------------------


def test_store_start_finds_remaining_rows_of_each_shard(tmp_path: Path) -> None:
    async def scenario() -> None:
        output = Output(tmp_path, 6, 3, 0)
        assert left(output) == {"a": [0, 1, 2, 3, 4, 5], "b": [0, 1, 2], "c": []}
        await output.score({0: [4, 1]})
        await output.score({0: [5], 1: [0]})
        store = output.store()
        assert left(output, store) == {"a": [0, 2, 3], "b": [1, 2]}  # c, without rows, is sealed
        assert store.found == 4
        assert store.counts.rows == 0

    run(scenario())


def test_store_scores_again_only_rows_not_flushed(tmp_path: Path) -> None:
    async def scenario() -> None:
        output = Output(tmp_path, 10)
        killed = output.store()
        list(killed.work(output.shards))
        await publish(killed, [result(output.shards[0], n) for n in (3, 7)])
        killed.add(result(output.shards[0], 5))
        assert left(output) == {"a": [0, 1, 2, 4, 5, 6, 8, 9]}

    run(scenario())


def test_store_start_deletes_what_a_kill_left_and_no_file_that_a_command_writes_beside_it(tmp_path: Path) -> None:
    output = Output(tmp_path, 1)
    list(output.store().work(output.shards))
    out = Path(output.layout.out)
    left_by_kill = [out / f"{PARTIAL}{name}-1-0" for name in ("run.json", "progress.json")]
    written_now = [out / f"{PARTIAL}metrics.parquet-1-0", out / f"{PARTIAL}report"]
    for path in (*left_by_kill, *written_now):
        path.write_bytes(b"begun")
    list(output.store().work(output.shards))
    assert sorted(out.glob(f"{PARTIAL}*")) == written_now


def test_store_holds_nothing_for_each_row_of_a_shard_without_results(tmp_path: Path) -> None:
    """Masks of 4,000,000 rows would stay for the whole run."""
    output = Output(tmp_path, 1)
    works = output.store().work([replace(output.shards[0], rows=4_000_000)])
    tracemalloc.start()
    try:
        work = next(works)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert work.todo is None
    assert held < 1_000_000


def test_store_never_opens_a_sealed_shard(tmp_path: Path) -> None:
    class Sealed(LocalFiles):
        def open(self, path: str) -> BinaryIO:
            assert "/scores/" not in path
            assert "/in/a" not in path
            return super().open(path)

    async def scenario() -> None:
        output = Output(tmp_path, 4, 4)
        await output.score({0: range(4)})
        assert left(output, output.store(files=Sealed())) == {"b": [0, 1, 2, 3]}

    run(scenario())


def test_store_resume_gives_segments_unused_names(tmp_path: Path) -> None:
    async def scenario() -> None:
        output = Output(tmp_path, 100)
        for n in range(8):
            await output.score({0: [n, 99 - n]})
        assert len(output.segments()) == 8
        assert len(left(output)["a"]) == 84

    run(scenario())


# --- flushing ---------------------------------------------------------------------------------------------------------


def test_store_flushes_at_flush_rows_or_after_flush_s(tmp_path: Path) -> None:
    async def scenario() -> None:
        output = Output(tmp_path, 1000)
        store = output.store(flush_rows=10, flush_s=1.0)
        list(store.work(output.shards))
        async with asyncio.TaskGroup() as group:
            group.create_task(store.serve())
            for n in range(10):
                store.add(result(output.shards[0], n))
            await asyncio.sleep(0.01)
            assert len(output.segments()) == 1
            store.add(result(output.shards[0], 10))
            await asyncio.sleep(0.9)
            assert len(output.segments()) == 1
            await asyncio.sleep(0.2)
            assert len(output.segments()) == 2
            await asyncio.sleep(60)
            assert len(output.segments()) == 2  # nothing came: nothing is written
            store.stop()
        assert now() < 62

    run(scenario())


def test_store_holds_an_unfinished_shard_back_where_most_results_are_of_finished_ones(tmp_path: Path) -> None:
    async def scenario() -> None:
        output = Output(tmp_path, 6, 1000)
        store = output.store(flush_rows=10, flush_s=1.0)
        list(store.work(output.shards))
        async with asyncio.TaskGroup() as group:
            group.create_task(store.serve())
            await asyncio.sleep(1.5)  # half a second after a flush
            for n in range(6):
                store.add(result(output.shards[0], n))
            for n in range(4):
                store.add(result(output.shards[1], n))
            await asyncio.sleep(0.01)
            assert complete(output, 0)
            assert output.segments(0) == output.segments(1) == []
            await asyncio.sleep(0.5)  # a second after it
            assert len(output.segments(1)) == 1
            store.stop()

    run(scenario())


def test_store_writes_all_where_most_results_are_of_unfinished_shards(tmp_path: Path) -> None:
    async def scenario() -> None:
        output = Output(tmp_path, 4, 1000)
        store = output.store(flush_rows=10, flush_s=1.0)
        list(store.work(output.shards))
        async with asyncio.TaskGroup() as group:
            group.create_task(store.serve())
            for shard, rows in ((0, 4), (1, 6)):
                for n in range(rows):
                    store.add(result(output.shards[shard], n))
            await asyncio.sleep(0.01)
            assert complete(output, 0)
            assert len(output.segments(1)) == 1
            store.stop()

    run(scenario())


def test_store_room_bounds_held_results_to_two_flushes(tmp_path: Path) -> None:
    disk = 0.0

    async def slow(fn: Callable[..., Any], *args: Any) -> Any:
        await asyncio.sleep(disk)
        return fn(*args)

    async def scenario() -> None:
        nonlocal disk
        output = Output(tmp_path, 1000)
        store = output.store(flush_rows=10, flush_s=100, offload=slow)
        list(store.work(output.shards))
        disk = 5.0
        async with asyncio.TaskGroup() as group:
            group.create_task(store.serve())
            for n in range(60):
                await store.room()
                store.add(result(output.shards[0], n))
                assert store._writer._held <= 20
            assert now() == pytest.approx(10.0)  # it waited for the disk twice
            store.stop()

    run(scenario())


def test_store_keeps_results_of_a_failed_write_for_the_next_flush(tmp_path: Path) -> None:
    class Full(LocalFiles):
        full = True

        def create(self, path: str) -> Any:
            if self.full and "segments" in path:
                raise StorageError("the disk is full")
            return super().create(path)

    async def scenario() -> None:
        output, files = Output(tmp_path, 4), Full()
        store = output.store(files=files)
        list(store.work(output.shards))
        with pytest.raises(StorageError):
            await publish(store, [result(output.shards[0], n) for n in (0, 1)])
        store.add(result(output.shards[0], 2))
        files.full = False
        await store.close()
        assert left(output) == {"a": [3]}

    run(scenario())


def test_store_finishes_a_cancelled_flush(tmp_path: Path) -> None:
    async def slow(fn: Callable[..., Any], *args: Any) -> Any:
        await asyncio.sleep(1.0)
        return fn(*args)

    async def scenario() -> None:
        output = Output(tmp_path, 4)
        store = output.store(offload=slow)
        list(store.work(output.shards))
        store.add(result(output.shards[0], 0))
        flush = asyncio.create_task(store.close())
        await asyncio.sleep(0.5)
        flush.cancel()
        with pytest.raises(asyncio.CancelledError):
            await flush
        await publish(store, [result(output.shards[0], n) for n in (1, 2, 3)])
        assert len(output.segments()) == 2
        assert complete(output)

    run(scenario())


# --- long results -----------------------------------------------------------------------------------------------------


def test_store_flushes_at_flush_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segment_writer, "FLUSH_BYTES", 10_000)

    async def scenario() -> None:
        output = Output(tmp_path, 100)
        store = output.store(flush_rows=1000, flush_s=100.0)
        list(store.work(output.shards))
        async with asyncio.TaskGroup() as group:
            group.create_task(store.serve())
            for n in range(100):
                await store.room()
                store.add(replace(result(output.shards[0], n), raw=("x" * 3_000,)))
                assert store._writer._held_bytes < 2 * 10_000 + 3_000
            await asyncio.sleep(1.0)
            store.stop()
        assert now() < 10  # nothing waited for flush_s
        await store.close()
        assert complete(output)
        assert store._writer._held_bytes == 0

    run(scenario())
