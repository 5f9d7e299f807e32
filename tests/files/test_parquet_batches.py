"""Promise: a file with values of any length is read in bounded batches, each row once."""

from __future__ import annotations

import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scorer.files.parquet_batches import REPEATED_BYTES, REPEATED_ROWS, bounded_batches, rows_at_once

SIZE = 20_000


def read(path: Path, **options: object) -> list[pa.RecordBatch]:
    with pq.ParquetFile(path) as parquet:
        return list(bounded_batches(parquet, **{"rows": 100, "size": SIZE, **options}))  # type: ignore[arg-type]


@pytest.mark.parametrize("length", [1, 100, 1_000, 50_000])
@pytest.mark.parametrize("alike", [False, True])
@pytest.mark.parametrize("group", [7, 300])
def test_bounded_batches_have_bounded_bytes_or_one_row(tmp_path: Path, length: int, alike: bool, group: int) -> None:
    texts = ["x" * length if alike else f"{n:05d}" * (length // 5 + 1) for n in range(300)]
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"n": range(300), "meta.text": texts}), path, row_group_size=group)
    found = read(path)
    assert [n for batch in found for n in batch.column("n").to_pylist()] == list(range(300))
    for batch in found:
        assert batch.num_rows <= 100
        # A long text that repeats stands once in the file, which then does not tell how long its rows are.
        assert batch.nbytes <= (100 * 64 * 1024 if alike else 2 * SIZE) or batch.num_rows <= (32 if alike else 1)
    assert sum(batch.num_rows for batch in read(path, columns=["meta.text"])) == 300
    assert max(batch.nbytes for batch in read(path, columns=["n"])) <= 100 * 9


@pytest.mark.parametrize("columns", [1, 2])
@pytest.mark.parametrize("length", [80_000, 300_000, 900_000])
def test_bounded_batches_of_a_long_text_that_repeats_have_bounded_bytes_or_few_rows(
    tmp_path: Path, length: int, columns: int
) -> None:
    """A chunk of 80 kB in which no text repeats is common: 32 rows at a time took a third more to read."""
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({f"text{n}": ["x" * length] * 300 for n in range(columns)}), path, compression="zstd")
    found = read(path, size=4 * 1024 * 1024)
    assert sum(batch.num_rows for batch in found) == 300
    most = max(batch.num_rows for batch in found)
    assert most == min(100, max(REPEATED_ROWS, REPEATED_BYTES // length // columns))
    assert max(batch.nbytes for batch in found) <= max(REPEATED_BYTES + 4096, REPEATED_ROWS * columns * (length + 8))


def distinct(length: int, count: int) -> list[str]:
    """Texts that compress no better than real ones."""
    drawn = random.Random(0)
    return [drawn.randbytes(length // 2).hex() for _ in range(count)]


@pytest.mark.parametrize(
    ("context", "least", "most"),
    [
        (distinct(900_000, 1), 32, 32),  # one book, and questions about it
        (distinct(300, 500), 90, 110),  # the dictionary may be one text
        (["short"], 512, 512),  # the questions have a dictionary that is full, and then each its own text
    ],
)
def test_a_large_row_group_that_repeats_a_long_text_is_read_in_bounded_bytes(
    tmp_path: Path, context: list[str], least: int, most: int
) -> None:
    path, rows = tmp_path / "t.parquet", 10_000
    repeated = pa.DictionaryArray.from_arrays(pa.array([n % len(context) for n in range(rows)]), pa.array(context))
    table = {"context": repeated, "kind": ["a", "b"] * (rows // 2), "question": distinct(600, rows)}
    pq.write_table(pa.table(table), path, row_group_size=rows)
    with pq.ParquetFile(path) as parquet:
        group = parquet.metadata.row_group(0)
        assert least <= rows_at_once(group, None, rows=512, size=4 * 1024 * 1024) <= most
        assert rows_at_once(group, None, rows=512, size=4 * 1024 * 1024, bounded=True) == 512


def test_bounded_batches_skip_empty_row_groups_and_take_chosen_ones(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"n": pa.array([], pa.int64())}), path)
    assert read(path) == []
    pq.write_table(pa.table({"n": range(10)}), path, row_group_size=4)
    assert [batch.column("n").to_pylist() for batch in read(path, groups=[0, 2])] == [[0, 1, 2, 3], [8, 9]]
