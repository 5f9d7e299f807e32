"""Promise: rows that are scored again and rows of damaged files are asked again, and no others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from support.clock import run
from support.outputs import Crash, Crashing, Output, publish, result
from support.stored_rows import complete, left, row_numbers

from scorer.errors import OutputError, StorageError
from scorer.files.local_files import LocalFiles
from scorer.output import segments as seg
from scorer.output.damage import noted

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
            todo = row_numbers(work)
            asked += len(todo)
            for start in range(0, len(todo), 3):
                await publish(store, [result(work.shard, n) for n in todo[start : start + 3]])
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
