"""Promise: a row whose result was stored is never asked again, and every shard ends with each row once, in order.

Over 300 lines: resuming, flushing, sealing, retrying and damage are one store and one promise.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow.parquet as pq
import pytest
from support.clock import now, run
from support.outputs import FINGERPRINT, SCHEMA, Crash, Crashing, Output, publish, result

from scorer.errors import OutputError, StorageError
from scorer.files.files import LocalFiles, read
from scorer.files.files import replace as replace_file
from scorer.output import seal as seal_module
from scorer.output import segment_writer
from scorer.output import segments as seg
from scorer.output.damage import noted
from scorer.output.layout import Segment, shown
from scorer.output.manifest import load
from scorer.output.merge import merge
from scorer.output.row_counts import Counts
from scorer.output.run_files import RunFiles
from scorer.output.seal import MERGE_AT, seal
from scorer.output.sealer import KEEP_HIDDEN_S
from scorer.output.store import Store
from scorer.output.tables import to_table
from scorer.types import Shard


def left(output: Output, store: Store | None = None) -> dict[str, list[int]]:
    """The rows that a start would score, by the stem of their shard."""
    works = (store or output.store()).work(output.shards)
    return {work.shard.stem: work.todo.nonzero()[0].tolist() for work in works if work.todo is not None}


def complete(output: Output, shard: int = 0) -> bool:
    """Each row of the shard is there once, in order."""
    rows = output.rows(shard)
    assert [row["shard"] for row in rows] == [output.shards[shard].path] * len(rows)
    return [row["row"] for row in rows] == list(range(output.shards[shard].rows))


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


# --- sealing ----------------------------------------------------------------------------------------------------------


def test_store_seals_a_shard_in_input_order_with_its_last_row(tmp_path: Path) -> None:
    async def scenario() -> None:
        output = Output(tmp_path, 5, 2)
        await output.score({0: [4, 0, 2]})
        assert not output.sealed().exists()
        store = await output.score({0: [3, 1], 1: [1]})
        assert complete(output)
        assert not output.sealed(1).exists()
        assert store.sealed(output.shards[0])
        table = pq.read_table(output.sealed())
        assert table.schema.remove_metadata() == SCHEMA
        assert table.column("score").to_pylist() == [0.0, 1.0, 2.0, 3.0, 4.0]
        about, counts = seg.read_about(LocalFiles(), str(output.sealed()))
        assert (about["fingerprint"], about["generation"]) == ("0123456789abcdef", 0)
        assert counts == Counts.of(table)

    run(scenario())


def test_store_seals_no_shard_from_two_results_of_one_row_and_seals_those_beside_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        output = Output(tmp_path, 2, 1)
        store = output.store()
        list(store.work(output.shards))
        for shard, row in ((0, 1), (0, 1), (1, 0)):
            store.add(result(output.shards[shard], row))
        with pytest.raises(OutputError, match=r"of rows 0 to 1 only 1 have a result"):
            await store.flush()
        assert not output.sealed(0).exists()
        assert complete(output, 1)

    run(scenario())


@pytest.mark.parametrize("rows", [[0, 1, 2, 4], [1, 2, 3, 4], [0, 1, 2, 3]])
def test_seal_refuses_a_shard_with_a_missing_row(tmp_path: Path, rows: list[int]) -> None:
    async def scenario() -> None:
        output = Output(tmp_path, 5)
        await output.score({0: rows})
        run_files = RunFiles(output.files, output.layout, "", FINGERPRINT, lambda _: SCHEMA)
        with pytest.raises(OutputError, match=r"in/a\.parquet cannot be sealed: .*"):
            seal(run_files, output.shards[0], SCHEMA, sealed_before=False)
        assert not output.sealed().exists()

    run(scenario())


def test_store_seals_empty_shards_without_rows(tmp_path: Path) -> None:
    async def scenario() -> None:
        output = Output(tmp_path, 0)
        await output.score({})
        assert output.rows() == []
        assert left(output) == {}

    run(scenario())


def test_store_seals_a_shard_finished_before_a_kill_at_the_next_start(tmp_path: Path) -> None:
    async def scenario() -> None:
        output = Output(tmp_path, 4)
        store = output.store()
        list(store.work(output.shards))
        for rows in (range(2), range(2, 4)):
            for n in rows:
                store.add(result(output.shards[0], n))
            await store._writer.flush()  # and killed before it tidied up
        assert not output.sealed().exists()
        await output.score({})
        assert complete(output)

    run(scenario())


def test_store_deletes_segments_ten_minutes_after_sealing_or_at_the_next_start(tmp_path: Path) -> None:
    async def scenario() -> None:
        output = Output(tmp_path, 4, 4)
        await output.score({0: range(3), 1: range(3)})
        store = await output.score({0: [3]})
        assert len(output.segments()) == 2
        async with asyncio.TaskGroup() as group:
            group.create_task(store.serve())
            await asyncio.sleep(KEEP_HIDDEN_S - 1)
            assert len(output.segments()) == 2
            await asyncio.sleep(2)
            assert not output.segments_folder().exists()
            store.stop()
        await output.score({1: [3]})
        assert len(output.segments(1)) == 2
        output.store()
        assert not output.segments_folder(1).exists()
        assert complete(output, 1)

    run(scenario())


def test_store_seals_a_shard_flushed_at_once_without_a_segment(tmp_path: Path) -> None:
    async def scenario() -> None:
        output = Output(tmp_path, 4, 3)
        sealed: list[Shard] = []
        store = output.store()
        store.on_sealed(sealed.append)
        list(store.work(output.shards))
        for shard, rows in ((1, [2, 0, 1]), (0, [3, 1, 0])):
            for n in rows:
                store.add(result(output.shards[shard], n))
        await store._writer.flush()
        assert sealed == [output.shards[1]]
        assert output.segments(1) == []
        assert complete(output, 1)
        assert len(output.segments(0)) == 1
        await output.score({0: [2]})
        assert complete(output, 0)

    run(scenario())


@pytest.mark.parametrize("damaged", [False, True])
def test_store_seals_a_single_segment_by_a_copy_where_every_byte_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damaged: bool
) -> None:
    merged: list[str] = []

    def merge_seen(*given: Any) -> Any:
        merged.append("merged")
        return merge(*given)

    monkeypatch.setattr(seal_module, "merge", merge_seen)

    async def scenario() -> None:
        output = Output(tmp_path, 3)
        about = seg.about(output.shards[0], FINGERPRINT, 0, load(output.files, output.layout).id)  # type: ignore[union-attr]
        table = to_table([result(output.shards[0], n) for n in range(3)], SCHEMA, FINGERPRINT)
        path = output.layout.segment(Segment("a", 0, 2, 0, 2, 0, 0))
        with output.files.create(path) as file:
            seg.write(file, iter([table]), SCHEMA, about)
        written = bytearray(read(output.files, path))
        store = output.store()
        list(store.work(output.shards))
        if damaged:
            written[written.index(b"a1")] ^= 1  # an id
            replace_file(output.files, path, bytes(written))
        await store.close()
        assert store.lost == damaged
        assert bool(merged) == damaged
        assert output.sealed().exists() != damaged
        if not damaged:
            assert read(output.files, str(output.sealed())) == written
            assert complete(output)

    run(scenario())


def test_store_writes_results_of_a_failed_seal_at_the_next_flush(tmp_path: Path) -> None:
    class Refusing(LocalFiles):
        refuses = True

        def create(self, path: str) -> Any:
            if "/scores/" in path and self.refuses:
                raise StorageError("the disk is full")
            return super().create(path)

    async def scenario() -> None:
        output, files = Output(tmp_path, 2, 2), Refusing()
        store = output.store(files=files)
        list(store.work(output.shards))
        for shard in output.shards:
            for n in range(2):
                store.add(result(shard, n))
        with pytest.raises(StorageError, match="full"):
            await store._writer.flush()
        files.refuses = False
        await store.close()
        assert complete(output, 0)
        assert complete(output, 1)

    run(scenario())


def test_store_flush_writes_all_at_once_however_short_ago_the_last_write_was(tmp_path: Path) -> None:
    """Batches, seed 273: it waited without end for a write to become due, and let nothing else run."""

    async def scenario() -> None:
        output = Output(tmp_path, 10)
        store = output.store(flush_rows=1000, flush_s=60.0)
        list(store.work(output.shards))
        for n in range(3):
            store.add(result(output.shards[0], n))
            await store._writer.work()
            store.add(result(output.shards[0], 9 - n))
            async with asyncio.timeout(1.0):
                await store.flush()
            assert left(output)["a"] == list(range(n + 1, 9 - n))

    run(scenario())


def test_store_flush_waits_for_the_write_under_way(tmp_path: Path) -> None:
    """It returned at once where a turn had taken all results: their batch was closed before they were durable."""

    async def slow(fn: Callable[..., Any], *args: Any) -> Any:
        await asyncio.sleep(1.0)
        return fn(*args)

    async def scenario() -> None:
        output = Output(tmp_path, 10)
        store = output.store(flush_rows=1000, flush_s=60.0, offload=slow)
        list(store.work(output.shards))
        store.add(result(output.shards[0], 4))
        turn = asyncio.create_task(store._writer.work())
        await asyncio.sleep(0.5)
        await store.flush()
        assert 4 not in left(output)["a"]
        await turn

    run(scenario())


@pytest.mark.slow
def test_store_merges_more_than_64_segments_into_one_that_hides_them(tmp_path: Path) -> None:
    """Slow: it writes 67 segments."""

    async def scenario() -> None:
        output = Output(tmp_path, 200)
        store = output.store()
        list(store.work(output.shards))
        for n in range(MERGE_AT + 1):
            await publish(store, [result(output.shards[0], 199 - n)])
        segments, hidden = shown(output.layout.segments_of(output.files, "a"))
        assert (len(segments), len(hidden)) == (1, MERGE_AT + 1)
        assert segments[0].merged
        await publish(store, [result(output.shards[0], 0)])
        output.store()
        assert len(output.segments()) == 2
        assert left(output)["a"] == list(range(1, 200 - MERGE_AT - 1))
        await output.score({0: range(1, 200 - MERGE_AT - 1)})
        assert complete(output)

    run(scenario())


# --- scoring again ----------------------------------------------------------------------------------------------------


def test_store_retry_asks_only_failed_rows_and_keeps_new_results(tmp_path: Path) -> None:
    async def scenario() -> None:
        output = Output(tmp_path, 6, 3)
        await output.score({0: [1, 4], 1: [2]}, error="Unavailable")
        await output.score({0: [5]}, error="Refused")
        await output.score({0: [0, 2, 3], 1: [0, 1]})
        assert complete(output)
        assert await output.retry(["Unavailable"]) == [1, 4, 2]
        rows = output.rows()
        assert complete(output)
        assert [row["score"] for row in rows] == [0.0, 1.0, 2.0, 3.0, 4.0, None]
        assert [row["generation"] for row in rows] == [0, 1, 0, 0, 1, 0]
        assert await output.retry() == [5]
        assert output.rows()[5]["generation"] == 2
        assert await output.retry() == []

    run(scenario())


def test_store_retry_replaces_an_error_and_allows_further_retries(tmp_path: Path) -> None:
    async def scenario() -> None:
        output = Output(tmp_path, 2)
        await output.score({0: [0, 1]}, error="Unavailable")
        await output.retry(error="Refused")
        assert [(row["error"], row["generation"]) for row in output.rows()] == [("Refused", 1)] * 2
        assert await output.retry() == [0, 1]
        assert [(row["error"], row["generation"]) for row in output.rows()] == [(None, 2)] * 2

    run(scenario())


def test_store_found_excludes_rows_to_score_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        output = Output(tmp_path, 6, 4)
        await output.score({0: [1, 4], 1: [2]}, error="Refused")
        await output.score({0: [0, 2, 3, 5]})  # the first is sealed, of the second one row is done
        store = output.store(1)
        list(store.again(output.shards, 1, None))
        assert store.found == -3 + 1  # whoever counts the rows of sealed shards has counted them
        assert left(output, store)["b"] == [0, 1, 3]
        assert store.found == -3 + 1

    run(scenario())


def test_store_retry_resumes_after_a_kill(tmp_path: Path) -> None:
    async def scenario() -> None:
        output = Output(tmp_path, 8)
        await output.score({0: range(5)}, error="Unavailable")
        await output.score({0: range(5, 8)})
        assert await output.retry(only=2) == [0, 1, 2, 3, 4]
        assert [row["error"] for row in output.rows()[:5]] == ["Unavailable"] * 5
        assert await output.retry(only=1) == [2, 3, 4]
        assert await output.retry() == [3, 4]
        assert complete(output)
        assert [row["generation"] for row in output.rows()] == [1] * 5 + [0] * 3

    run(scenario())


def test_store_retry_of_an_unsealed_shard_seals_once_with_newest_results(tmp_path: Path) -> None:
    async def scenario() -> None:
        output = Output(tmp_path, 6)
        await output.score({0: range(3)}, error="Unavailable")
        assert await output.retry() == [0, 1, 2]
        assert not output.sealed().exists()
        await output.score({0: range(3, 6)})
        assert complete(output)
        assert [row["generation"] for row in output.rows()] == [1, 1, 1, 0, 0, 0]

    run(scenario())


# --- damage and crashes -----------------------------------------------------------------------------------------------


def damage(path: Path, column: str) -> bytes:
    """Flips a bit in the values of one column; the bytes after it."""
    group = pq.read_metadata(path).row_group(0)
    names = [group.column(i).path_in_schema for i in range(group.num_columns)]
    chunk = group.column(names.index(column))
    data = bytearray(path.read_bytes())
    data[(chunk.dictionary_page_offset or chunk.data_page_offset) + chunk.total_compressed_size - 3] ^= 1
    path.write_bytes(data)
    return bytes(data)


def kept(output: Output) -> dict[str, bytes]:
    """The files set aside."""
    return {path.name: path.read_bytes() for path in Path(output.layout.damaged).iterdir()}


def test_store_sets_a_damaged_segment_aside_and_scores_its_rows_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        output = Output(tmp_path, 9)
        for numbers in (range(3), range(3, 6)):
            await output.score({0: numbers})
        damaged = output.segments()[1]
        data = damage(damaged, "row")
        store = output.store()
        assert left(output, store) == {"a": [3, 4, 5, 6, 7, 8]}
        assert store.set_aside == [str(damaged)]
        assert kept(output) == {f"segments--a--{damaged.name}": data}
        await output.score({0: range(3, 9)})
        assert complete(output)

    run(scenario())


def test_store_leaves_a_shard_open_when_sealing_finds_a_damaged_segment(tmp_path: Path) -> None:
    async def scenario() -> None:
        output, said = Output(tmp_path, 9, 2), []
        for numbers in (range(3), range(3, 6)):
            await output.score({0: numbers})
        damaged = output.segments()[1]
        data = damage(damaged, "raw.list.element")
        store = output.store(say=said.append)
        list(store.work(output.shards))
        await publish(store, [result(output.shards[0], n) for n in range(6, 9)])
        await publish(store, [result(output.shards[1], n) for n in range(2)])
        assert store.lost
        assert said == [f"{damaged} is damaged. It is kept in {output.layout.damaged}, and its rows are scored again."]
        assert complete(output, 1)
        assert kept(output) == {f"segments--a--{damaged.name}": data}
        assert not output.sealed().exists()
        assert left(output) == {"a": [3, 4, 5]}
        await output.score({0: range(3, 6)})
        assert complete(output)

    run(scenario())


def test_store_retry_refuses_a_damaged_sealed_file_and_leaves_it_unchanged(tmp_path: Path) -> None:
    async def scenario() -> None:
        output = Output(tmp_path, 3)
        await output.score({0: range(3)}, error="Unavailable")
        data = damage(output.sealed(), "error")
        with pytest.raises(
            OutputError, match=r"scores/a\.parquet is damaged\. Restore it from a copy; or `scorer run`"
        ):
            await output.retry()
        assert output.sealed().read_bytes() == data
        assert noted(output.files, output.layout) == [str(output.sealed())]

    run(scenario())


def test_store_sets_a_segment_of_another_shard_aside(tmp_path: Path) -> None:
    async def scenario() -> None:
        output = Output(tmp_path, 20, 5)
        await output.score({0: [15], 1: [0]})
        foreign = output.segments(1)[0].with_name("g0-w0-000000001-000000001-7.parquet")
        foreign.write_bytes(output.segments(0)[0].read_bytes())
        store = output.store()
        assert left(output, store)["b"] == [1, 2, 3, 4]
        assert len(store.set_aside) == 1

    run(scenario())


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("step", range(12))
def test_store_crash_at_any_step_loses_only_results_not_stored(tmp_path: Path, step: int, *, after: bool) -> None:
    """Two shards in flushes of three, sealed, and tidied up by the next start."""

    async def scored(output: Output, files: LocalFiles) -> int:
        store, asked = output.store(files=files), 0
        for work in store.work(output.shards):
            assert work.todo is not None
            numbers = work.todo.nonzero()[0].tolist()
            asked += len(numbers)
            for start in range(0, len(numbers), 3):
                await publish(store, [result(work.shard, n) for n in numbers[start : start + 3]])
        await store.close()
        output.store(files=files)
        return asked

    async def scenario() -> None:
        output = Output(tmp_path, 9, 4)
        with pytest.raises(Crash):
            await scored(output, Crashing(step, after=after))
        stored = sum(seg.read_about(LocalFiles(), str(path))[1].rows for path in files_of_rows(output))
        assert await scored(output, LocalFiles()) == 13 - stored
        assert complete(output, 0)
        assert complete(output, 1)
        assert [*output.segments(0), *output.segments(1)] == []

    run(scenario())
    assert not any(path.name.startswith(".") for path in tmp_path.rglob("*"))


def files_of_rows(output: Output) -> list[Path]:
    """The sealed files, and the segments of shards without one."""
    sealed = {n: output.sealed(n) for n in range(2) if output.sealed(n).exists()}
    return [*sealed.values(), *(path for n in range(2) if n not in sealed for path in output.segments(n))]


def test_store_serve_raises_sealer_errors(tmp_path: Path) -> None:
    class Sealing(LocalFiles):
        def create(self, path: str) -> Any:
            if "/scores/" in path:
                raise StorageError("the disk is full")
            return super().create(path)

    async def scenario() -> None:
        output = Output(tmp_path, 2)
        store = output.store(files=Sealing(), flush_rows=1)
        list(store.work(output.shards))
        store.add(result(output.shards[0], 0))
        await store._writer.flush()
        store.add(result(output.shards[0], 1))
        with pytest.raises(ExceptionGroup) as caught:
            await store.serve()
        assert caught.group_contains(StorageError, match="full")
        assert len(output.segments()) == 2
        assert left(output) == {"a": []}

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
