"""Reads Parquet in portions of bounded rows and bytes, however long its values are. Knows no rows of scorer.

A row of 1.5 MB is rare and legal; 4,096 of those are more than a column of text can hold at all (2 GiB, the 32 bits of
Arrow's offsets), and more than a machine may have.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

LONG_DICTIONARY, REPEATED_ROWS = 64 * 1024, 32
"""A small column chunk of over 64 KiB with a dictionary may hold long texts that repeat: 32 rows of those at a time."""


def portions(
    parquet: pq.ParquetFile,
    *,
    rows: int,
    size: int,
    columns: Collection[str] | None = None,
    groups: Sequence[int] | None = None,
    bounded: bool = False,
) -> Iterator[pa.RecordBatch]:
    """The rows of a file, or of some of its row groups, in order.

    At most `rows` at a time, and as many as make about `size` bytes; at least one.
    By the mean of each row group; `bounded` says that each has few bytes once it is decoded, and may be read as such.
    """
    metadata = parquet.metadata
    names = None if columns is None else list(columns)
    for number in range(metadata.num_row_groups) if groups is None else groups:
        group = metadata.row_group(number)
        if group.num_rows:
            yield from parquet.iter_batches(
                batch_size=rows_at_once(group, columns, rows=rows, size=size, bounded=bounded),
                row_groups=[number],
                columns=names,
                use_threads=False,
            )


def rows_at_once(group: Any, columns: Collection[str] | None, *, rows: int, size: int, bounded: bool = False) -> int:
    """As many rows of a row group as make `size` bytes by their mean, and at most `rows`.

    Few where a long text may stand once in a dictionary, and in many rows, unless the group is `bounded`.
    """
    chunks = [group.column(index) for index in range(group.num_columns)]
    if columns is not None:
        wanted = set(columns)
        chunks = [chunk for chunk in chunks if _is_of(chunk.path_in_schema, wanted)]
    held = sum(chunk.total_uncompressed_size for chunk in chunks)
    found = size * group.num_rows // max(1, held)
    small = not bounded and held < max(size, 64 * group.num_rows)
    if small and any(c.has_dictionary_page and c.total_uncompressed_size > LONG_DICTIONARY for c in chunks):
        found = min(found, REPEATED_ROWS)
    return int(max(1, min(rows, found)))


def _is_of(path: str, wanted: Collection[str]) -> bool:
    """Whether a leaf belongs to one of the columns: names may hold dots, and so do the paths of nested leaves."""
    return path in wanted or any(path.startswith(f"{name}.") for name in wanted)
