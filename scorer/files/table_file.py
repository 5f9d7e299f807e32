"""Writes a table to a file in the format that its name ends in: Parquet, CSV or JSON Lines."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from scorer.errors import SpecError

SUFFIXES = (".parquet", ".csv", ".jsonl")


def check_table_file(path: str, schema: pa.Schema | None = None) -> None:
    """Raises SpecError where the file's name says no format, or one that cannot hold the columns."""
    if not path.lower().endswith(SUFFIXES):
        raise SpecError(
            [f"-o {path}: the table is written as the name ends: .parquet, .csv or .jsonl. Name a file that ends so."]
        )
    nested = [field.name for field in schema or () if not _is_flat(field.type)]
    if path.lower().endswith(".csv") and nested:
        raise SpecError(
            [f"-o {path}: CSV has no lists, structs or bytes ({', '.join(nested)}). Write .parquet or .jsonl."]
        )


@contextmanager
def table_writer(file: BinaryIO, path: str, schema: pa.Schema) -> Iterator[Callable[[pa.Table], None]]:
    """Yields a function that writes the next rows of a table of this schema, which `check_table_file` accepted."""
    if path.lower().endswith(".parquet"):
        with pq.ParquetWriter(file, schema, compression="zstd") as writer:
            yield writer.write_table
        return

    import polars as pl

    if path.lower().endswith(".csv"):
        file.write(pl.DataFrame(pl.from_arrow(schema.empty_table())).write_csv().encode())
        yield lambda table: pl.DataFrame(pl.from_arrow(table)).write_csv(file, include_header=False)
    else:
        yield lambda table: pl.DataFrame(pl.from_arrow(table)).write_ndjson(file)


def _is_flat(kind: pa.DataType) -> bool:
    binary = pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind)
    return not (pa.types.is_nested(kind) or binary or pa.types.is_binary_view(kind))
