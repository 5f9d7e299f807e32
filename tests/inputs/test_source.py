"""Promise: the reader yields each chosen row once, whole, with its number, and bounds memory."""

from __future__ import annotations

import asyncio
import io
import os
import tracemalloc
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.clock import inline, run
from support.readers import reader, rows_of, shard_of, values, write

from scorer.files.local_files import LocalFiles
from scorer.inputs.pieces import BATCH_BYTES, BATCH_ROWS, ReadStalled
from scorer.inputs.source import put_together
from scorer.types import Row, Work


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    mask=st.lists(st.booleans(), max_size=60),
    group=st.integers(1, 20),
    generation=st.integers(0, 3),
)
def test_reader_yields_exactly_the_chosen_rows_in_order_with_their_numbers(
    tmp_path: Path, mask: list[bool], group: int, generation: int
) -> None:
    table = pa.table({"text": pa.array([f"row {n}" for n in range(len(mask))], pa.string())})
    shard = write(tmp_path / "s.parquet", table, row_group_size=group)
    work = Work(shard, np.array(mask, dtype=bool), generation)
    rows = [row for batch in reader(["text"]).read(work) for row in batch]
    wanted = [number for number, todo in enumerate(mask) if todo]
    assert [row.number for row in rows] == wanted
    assert values(rows, "text") == [f"row {number}" for number in wanted]
    assert {row.generation for row in rows} <= {generation}


def test_reader_yields_no_rows_for_empty_shards_and_row_groups(tmp_path: Path) -> None:
    empty = write(tmp_path / "empty.parquet", pa.table({"text": pa.array([], pa.string())}))
    assert (empty.rows, rows_of(reader(["text"]), empty)) == (0, [])
    path = tmp_path / "gaps.parquet"
    schema = pa.schema([("text", pa.string())])
    with pq.ParquetWriter(path, schema) as writer:
        for texts in ([], ["a"], [], [], ["b", "c"], []):
            writer.write_table(pa.table({"text": pa.array(texts, pa.string())}))
    rows = rows_of(reader(["text"]), shard_of(path))
    assert [(row.number, row.values["text"]) for row in rows] == [(0, "a"), (1, "b"), (2, "c")]


def test_reader_batches_hold_at_most_512_rows_of_one_shard(tmp_path: Path) -> None:
    shards = [
        write(tmp_path / f"{n}.parquet", pa.table({"text": ["x"] * count}), row_group_size=2000)
        for n, count in enumerate((1200, 0, 1, 512))
    ]

    async def scenario() -> list[list[Row]]:
        return [batch async for batch in reader(["text"]).batches([Work(shard) for shard in shards], inline)]

    batches = run(scenario())
    assert [len(batch) for batch in batches] == [512, 512, 176, 1, 512]
    assert BATCH_ROWS == 512
    assert [(row.shard, row.number) for batch in batches for row in batch] == [
        (shard.path, number) for shard in shards for number in range(shard.rows)
    ]


def test_reader_batches_are_bounded_by_bytes(tmp_path: Path) -> None:
    texts = [str(n) * (BATCH_BYTES // 3) for n in range(5)]
    shard = write(tmp_path / "s.parquet", pa.table({"text": texts}), use_dictionary=False)
    batches = list(reader(["text"]).read(Work(shard)))
    assert max(sum(row.size for row in batch) for batch in batches) <= BATCH_BYTES
    assert [row.values["text"] for batch in batches for row in batch] == texts


def test_reader_reads_one_batch_ahead(tmp_path: Path) -> None:
    shard = write(tmp_path / "s.parquet", pa.table({"text": ["x"] * BATCH_ROWS * 5}))
    done = 0

    def counted(fn: Callable[..., Any], *args: Any) -> Any:
        nonlocal done
        done += 1
        return inline(fn, *args)

    async def scenario() -> None:
        batches: AsyncIterator[list[Row]] = reader(["text"]).batches([Work(shard)], counted)
        async with aclosing(batches):  # type: ignore[type-var]
            async for batch in batches:
                assert len(batch) == BATCH_ROWS
                await asyncio.sleep(0)
                if done == 4:
                    break
                assert done == batch[0].number // BATCH_ROWS + 2

    run(scenario())
    assert done == 4


class Counting(LocalFiles):
    """Files that count the bytes read."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def open(self, path: str) -> BinaryIO:
        return _Counted(path, self)


class _Counted(io.FileIO):
    def __init__(self, path: str, files: Counting) -> None:
        super().__init__(path, "rb")
        self._files = files

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(-1 if size is None else size) or b""
        self._files.bytes += len(data)
        return data

    def readinto(self, buffer: Any) -> int:
        count = super().readinto(buffer) or 0
        self._files.bytes += count
        return count


def noise(rows: int, size: int, seed: int = 0) -> list[str]:
    """Texts that no compression makes smaller than half."""
    data = np.random.default_rng(seed).bytes(rows * size // 2).hex()
    return [data[start : start + size] for start in range(0, rows * size, size)]


def test_reader_reads_only_needed_columns_and_row_groups(tmp_path: Path) -> None:
    rows, size = 1000, 2000
    table = pa.table({"text": noise(rows, size), "other": noise(rows, size, 1), "id": list(range(rows))})
    shard = write(tmp_path / "s.parquet", table, row_group_size=100)
    files = Counting()
    assert len(rows_of(reader(["text"], kept=["id"], files=files), shard)) == rows
    assert files.bytes < 0.6 * shard.size
    files.bytes = 0
    todo = np.zeros(rows, dtype=bool)
    todo[550] = True
    (row,) = rows_of(reader(["text"], files=files), shard, todo)
    assert (row.number, row.values["text"]) == (550, noise(rows, size)[550])
    assert files.bytes < 0.2 * shard.size
    files.bytes = 0
    assert rows_of(reader(["text"], files=files), shard, np.zeros(rows, dtype=bool)) == []
    assert files.bytes == 0


@pytest.mark.slow
def test_reader_memory_is_bounded_for_a_huge_row_group(tmp_path: Path) -> None:
    """Slow: it takes a file of 64 MB to tell reading through a buffer from reading the whole column chunk."""
    text = pa.array(noise(16_000, 4000))
    path = tmp_path / "s.parquet"
    pq.write_table(pa.table({"text": text}), path, compression="none", use_dictionary=False, row_group_size=10**6)
    assert pq.read_metadata(path).num_row_groups == 1
    del text
    shard, before, most = shard_of(path), pa.total_allocated_bytes(), 0
    tracemalloc.start()  # what Arrow reads through a Python file lies in Python's memory
    try:
        for _ in reader(["text"]).read(Work(shard)):
            most = max(most, pa.total_allocated_bytes() - before)
        python = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert shard.size > 60_000_000
    assert most + python < 24_000_000


@pytest.mark.slow
def test_reader_memory_is_bounded_for_long_repeated_text(tmp_path: Path) -> None:
    """Slow: 400 MB of text, of which the file holds one and memory at most some tens."""
    path = tmp_path / "s.parquet"
    pq.write_table(pa.table({"text": pa.array(["x" * 1_000_000]).take(pa.array([0] * 400))}), path)
    shard, most = shard_of(path), 0
    assert shard.size < 1_000_000
    for batch in reader(["text"]).read(Work(shard)):
        most = max(most, sum(len(row.values["text"]) for row in batch))
    assert most <= 32_000_000


def test_reader_never_writes_to_shards(tmp_path: Path) -> None:
    shard = write(tmp_path / "s.parquet", pa.table({"text": ["a"] * 1000}))
    before = (Path(shard.path).read_bytes(), os.stat(shard.path).st_mtime_ns)
    os.chmod(shard.path, 0o444)
    assert len(rows_of(reader(["text"]), shard)) == 1000
    assert (Path(shard.path).read_bytes(), os.stat(shard.path).st_mtime_ns) == before
    assert os.listdir(tmp_path) == ["s.parquet"]


def test_put_together_joins_short_batches_and_flushes_at_a_stall() -> None:
    def rows(*numbers: int, size: int = 1) -> list[Row]:
        return [Row("a", number, {}, kept=(), size=size) for number in numbers]

    stalled = ReadStalled(1.0)
    pieces = [rows(0), rows(1), rows(2), rows(3), stalled, rows(4), rows(5, 6), rows(7, size=BATCH_BYTES), rows(8)]
    found = list(put_together(iter(pieces)))
    assert [one if one is stalled else [row.number for row in one] for one in found] == [
        [0], [1, 2], [3], stalled, [4, 5, 6], [7], [8],
    ]  # fmt: skip
    assert max(len(one) for one in put_together(rows(number) for number in range(2000))) == BATCH_ROWS


def test_put_together_of_whole_batches_holds_the_first_rows_back_too() -> None:
    found = [len(batch) for batch in put_together(([Row("a", n, {}, kept=(), size=1)] for n in range(600)), BATCH_ROWS)]
    assert found == [512, 88]


def test_put_together_keeps_every_row_in_order() -> None:
    lengths = [3, 1, 600, 512, 1, 1, 2]
    numbers = iter(range(sum(lengths)))
    pieces = [[Row("a", next(numbers), {}, kept=()) for _ in range(length)] for length in lengths]
    assert [row.number for batch in put_together(iter(pieces)) for row in batch] == list(range(sum(lengths)))
