"""A Parquet file is known by its footer, of any length, and a small one is read in one piece."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.formats import shard_of

from scorer.files.local_files import LocalFiles
from scorer.inputs.formats.parquet import END_BYTES, Parquet
from scorer.inputs.identity import SMALL_BYTES, opened


def file_of(path: Path, columns: int, rows: int) -> Path:
    pq.write_table(pa.table({f"c{n}": [f"{n}-{row}" * 8 for row in range(rows)] for n in range(columns)}), path)
    return path


@pytest.mark.parametrize(("columns", "rows"), [(1, 1), (3, 5_000), (400, 2), (900, 3)])
def test_the_mark_is_a_hash_of_the_whole_footer(tmp_path: Path, columns: int, rows: int) -> None:
    path = file_of(tmp_path / "a.parquet", columns, rows)
    data = path.read_bytes()
    footer = data[-8 - int.from_bytes(data[-8:-4], "little") : -8]
    assert (len(footer) > END_BYTES) == (columns > 100)
    with path.open("rb") as file:
        found = Parquet().look(file, len(data))
        assert found.mark == Parquet().mark(file, len(data)) == hashlib.sha256(footer).hexdigest()[:16]
    assert (found.rows, len(found.schema)) == (rows, columns)


@pytest.mark.parametrize("rows", [3, 200_000])
def test_a_small_file_is_read_in_one_piece_and_a_large_one_is_not(tmp_path: Path, rows: int) -> None:
    shard = shard_of(file_of(tmp_path / "a.parquet", 3, rows))
    reads = []

    class Watched(LocalFiles):
        def open(self, path: str) -> BinaryIO:
            file = super().open(path)
            real = file.read
            file.read = lambda size=-1: reads.append(size) or real(size)  # type: ignore[method-assign, assignment, func-returns-value]
            return file

    with opened(Watched(), shard) as file:
        assert pq.ParquetFile(file).metadata.num_rows == rows
    assert (reads == [-1]) == (shard.size <= SMALL_BYTES) == (rows == 3)
