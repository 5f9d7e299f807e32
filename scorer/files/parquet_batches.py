"""Reads Parquet: a small file whole, or in batches of bounded rows and bytes, however long its values are.

Rows of 1.5 MB are rare and legal. 4,096 of them exceed the 2 GiB of one Arrow string array (32-bit offsets), and may
exceed the machine's memory.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

LONG_DICTIONARY, REPEATED_ROWS = 64 * 1024, 32
REPEATED_BYTES = 256 * LONG_DICTIONARY
"""A column chunk with a dictionary of over 64 KiB may repeat long texts. It is read 32 rows at a time, or so many more
that they have at most 16 MiB where each value is as long as its chunk."""
INDEX_BYTES, TEXT_RATIO = 4, 20
"""Where the pages behind a dictionary have more bytes a value, values stand in them, too. Texts are taken to compress
to a twentieth at best."""


def read_whole(file: Any, columns: Sequence[str] | None = None) -> pa.Table:
    """Some columns of an open file, in this order, with page checksums verified; None for all. KeyError without them.

    Only the calling thread touches the file. `pyarrow.parquet.read_table` lets a thread of Arrow read it, and at times
    the last reference to it ends there. If the interpreter ends in that moment, the process ends with signal 6.
    """
    with pq.ParquetFile(file, pre_buffer=False, page_checksum_verification=True) as parquet:
        table = parquet.read(columns=None if columns is None else [*columns], use_threads=False)
    return table if columns is None else table.select([*columns])


def bounded_batches(
    parquet: pq.ParquetFile,
    *,
    rows: int,
    size: int,
    columns: Collection[str] | None = None,
    groups: Sequence[int] | None = None,
    bounded: bool = False,
) -> Iterator[pa.RecordBatch]:
    """The rows of a file, or of the row groups `groups`, in order, in batches of at most `rows` and about `size` bytes.

    A batch has at least one row. The bytes of a row are estimated by the mean of its row group. `bounded` promises that
    each row group is small once decoded.
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
    """The number of rows that make `size` bytes by the row group's mean, at most `rows`.

    Where dictionaries may repeat long texts, at most REPEATED_ROWS or so many that they have at most REPEATED_BYTES,
    unless the group is `bounded`.
    """
    if group.num_rows <= 1:
        return 1
    chunks = [group.column(index) for index in range(group.num_columns)]
    if columns is not None:
        wanted = set(columns)
        chunks = [chunk for chunk in chunks if _is_of(chunk.path_in_schema, wanted)]
    total = sum(chunk.total_uncompressed_size for chunk in chunks)
    found = size * group.num_rows // max(1, total)
    small = total < max(size, 64 * group.num_rows)
    repeated = [_repeated_bytes(chunk, small=small) for chunk in chunks]
    if not bounded and any(each > LONG_DICTIONARY for each in repeated):
        found = min(found, max(REPEATED_ROWS, REPEATED_BYTES // sum(repeated)))
    return int(max(1, min(rows, found)))


def _repeated_bytes(chunk: Any, *, small: bool) -> int:
    """The bytes that each value of a column chunk may have where its dictionary is one text; 0 where it has none.

    In a row group that is not `small`, a dictionary counts where all values stand in it, and as far as texts compress.
    """
    if not chunk.has_dictionary_page:
        return 0
    dictionary = chunk.data_page_offset - chunk.dictionary_page_offset
    if not small and chunk.total_compressed_size - dictionary > INDEX_BYTES * chunk.num_values:
        return 0
    return int(chunk.total_uncompressed_size if small else min(chunk.total_uncompressed_size, TEXT_RATIO * dictionary))


def _is_of(path: str, wanted: Collection[str]) -> bool:
    """Whether a leaf belongs to one of the columns. Column names may contain dots, as the paths of nested leaves do."""
    return path in wanted or any(path.startswith(f"{name}.") for name in wanted)
