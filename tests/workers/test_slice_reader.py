"""Promise: slices give exactly their rows, and reading on to the next slice does not reopen the shard."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scorer.errors import ShardChanged
from scorer.files.local_files import LocalFiles
from scorer.inputs.identity import look
from scorer.inputs.pieces import Piece, ReadStalled
from scorer.inputs.source import Columns, Reader
from scorer.types import Mask, Shard
from scorer.workers.messages import File, Slice
from scorer.workers.slice_reader import SliceReader

ROWS = 700


class Opens(LocalFiles):
    """Counts how often a file is opened."""

    def __init__(self) -> None:
        super().__init__()
        self.opened = 0

    def open(self, path: str) -> BinaryIO:
        self.opened += 1
        return super().open(path)


@pytest.fixture(scope="module")
def shard(tmp_path_factory: pytest.TempPathFactory) -> Shard:
    path = tmp_path_factory.mktemp("in") / "a.parquet"
    pq.write_table(pa.table({"text": [f"t{n}" for n in range(ROWS)]}), path, row_group_size=300)
    (stat,) = LocalFiles().find([str(path)])
    rows, footer, _ = look(LocalFiles(), stat)
    return Shard(str(path), "a", stat.size, stat.version, rows, footer)


def forward(files: LocalFiles) -> SliceReader:
    columns = Columns(read=("text",), judged=("text",), kept=())
    return SliceReader(Reader(files, columns, count=lambda texts: [1] * len(texts), constant_tokens=0))


def cut(shard: Shard, first: int, stop: int, mask: list[bool] | None = None) -> Slice:
    file = File(shard.path, shard.stem, shard.size, shard.version, shard.rows, shard.footer)
    return Slice(file, 2, first, stop, None if mask is None else np.packbits(mask).tobytes(), 0)


def rows(reading: SliceReader, shard: Shard, leased: Slice) -> list[int]:
    found = [row for batch in reading.read(shard, leased) if not isinstance(batch, ReadStalled) for row in batch]
    assert all(row.values == {"text": f"t{row.number}"} and row.generation == 2 for row in found)
    return [row.number for row in found]


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    slices=st.lists(
        st.tuples(st.integers(0, ROWS - 1), st.integers(1, 300), st.none() | st.integers(0, 2**20)), max_size=5
    )
)
def test_slice_reader_returns_rows_of_any_slices_in_any_order(
    shard: Shard, slices: list[tuple[int, int, int | None]]
) -> None:
    reading = forward(LocalFiles())
    for first, length, seed in slices:
        stop = min(ROWS, first + length)
        mask = None if seed is None else (np.random.default_rng(seed).random(stop - first) < 0.5).tolist()
        wanted = [n for n in range(first, stop) if mask is None or mask[n - first]]
        assert rows(reading, shard, cut(shard, first, stop, mask)) == wanted
    reading.close()


def test_slice_reader_opens_shard_once_when_reading_forwards(shard: Shard) -> None:
    files = Opens()
    reading = forward(files)
    for first in (0, 100, 350, 600):
        assert rows(reading, shard, cut(shard, first, first + 50)) == list(range(first, first + 50))
    assert files.opened == 1
    assert rows(reading, shard, cut(shard, 10, 12)) == [10, 11]  # what a dead worker left lies behind
    assert files.opened == 2
    reading.close()


def test_slice_reader_refuses_changed_shard(shard: Shard, tmp_path: Path) -> None:
    other = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["x"] * ROWS}), other)
    changed = Shard(str(other), "a", shard.size, "1", ROWS, shard.footer)
    with pytest.raises(ShardChanged):
        rows(forward(LocalFiles()), changed, cut(changed, 0, 5))


def test_no_mask_of_a_shard_is_held_where_it_is_read_from_its_first_row_on(
    shard: Shard, monkeypatch: pytest.MonkeyPatch
) -> None:
    masks: list[int | None] = []
    read_shard = Reader.read_shard

    def noted(self: Reader, shard: Shard, todo: Mask | None) -> Iterator[Piece]:
        masks.append(None if todo is None else int(todo.sum()))
        return read_shard(self, shard, todo)

    monkeypatch.setattr(Reader, "read_shard", noted)
    reading = forward(LocalFiles())
    assert rows(reading, shard, cut(shard, 0, 10)) == [*range(10)]
    assert rows(reading, shard, cut(shard, 10, 20)) == [*range(10, 20)]
    assert rows(reading, shard, cut(shard, 5, 8)) == [5, 6, 7]
    assert masks == [None, ROWS - 5]
