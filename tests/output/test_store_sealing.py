"""Promise: every shard ends with each row once, in input order, whenever the process dies."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from support.clock import run
from support.outputs import FINGERPRINT, SCHEMA, Output, publish, result
from support.stored_rows import complete, left

from scorer.errors import OutputError, StorageError
from scorer.files.files import read
from scorer.files.files import replace as replace_file
from scorer.files.local_files import LocalFiles
from scorer.output import seal as seal_module
from scorer.output import sealer as sealer_module
from scorer.output import segments as seg
from scorer.output.layout import Segment, shown
from scorer.output.manifest import load
from scorer.output.merge import merge
from scorer.output.row_counts import Counts
from scorer.output.run_files import RunFiles
from scorer.output.seal import MERGE_AT, seal
from scorer.output.sealer import KEEP_HIDDEN_S
from scorer.output.tables import to_table
from scorer.types import Shard


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


def test_store_seals_a_shard_of_one_segment_by_a_copy_and_knows_its_counts(tmp_path: Path) -> None:
    async def scenario() -> None:
        output = Output(tmp_path, 3)
        await output.score({0: range(3)})
        written = output.sealed().read_bytes()
        output.segments_folder().mkdir(parents=True, exist_ok=True)
        output.sealed().rename(output.segments_folder() / "g0-w0-000000000-000000002-0.parquet")
        store = await output.score({})
        assert output.sealed().read_bytes() == written
        assert store.counted.stems == {"a"}
        assert store.counted.counts == seg.read_about(LocalFiles(), str(output.sealed()))[1]

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


@pytest.mark.parametrize("links", [False, True])
@pytest.mark.parametrize("damaged", [False, True])
def test_store_seals_a_single_segment_as_it_is_where_every_byte_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damaged: bool, links: bool
) -> None:
    merged: list[str] = []
    if not links:
        monkeypatch.setattr(LocalFiles, "link", lambda *_: False)

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
            assert output.sealed().samefile(path) == links
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


@pytest.mark.parametrize("there", [True, False])
def test_store_deletes_what_a_merged_segment_hides_ten_minutes_later_where_that_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    for module in (seal_module, sealer_module):
        monkeypatch.setattr(module, "MERGE_AT", 4)

    async def scenario() -> None:
        output = Output(tmp_path, 9)
        store = output.store()
        list(store.work(output.shards))
        for n in range(5):
            await publish(store, [result(output.shards[0], n)])
        (merged,), hidden = shown(output.layout.segments_of(output.files, "a"))
        assert len(hidden) == 5
        async with asyncio.TaskGroup() as group:
            group.create_task(store.serve())
            await asyncio.sleep(KEEP_HIDDEN_S - 1)
            assert len(output.segments()) == 6
            if not there:
                output.files.delete(output.layout.segment(merged))
            await asyncio.sleep(2)
            assert len(output.segments()) == (1 if there else 5)
            store.stop()
        assert left(output)["a"] == [5, 6, 7, 8]

    run(scenario())
