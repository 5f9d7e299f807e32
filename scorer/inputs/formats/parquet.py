"""Parquet files: rows of a row group at a time, known by a hash of the footer."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from scorer.files.parquet_batches import rows_at_once
from scorer.frozen import dataclass
from scorer.inputs.arrow_rows import ArrowRows
from scorer.inputs.column_paths import leaves
from scorer.inputs.formats.protocol import DAMAGE, Contents, Unfinished, Wanted
from scorer.inputs.pieces import BATCH_BYTES, BATCH_ROWS, Batch, UnreadableRows
from scorer.inputs.read_retry import is_systems, short
from scorer.processes.memory import give_memory_back
from scorer.types import Mask

READ_BUFFER = 1024 * 1024
"""With pre_buffer off, pyarrow reads a column chunk through a buffer of this size instead of whole (63 against 403 MB
for the first rows of a 339 MB row group)."""
MAGIC = b"PAR1"
ENCRYPTED_MAGIC = b"PARE"
"""The end of a file whose footer is encrypted."""
SIGNATURE_BYTES = 28
"""A signature behind a plain footer, within its length: columns are encrypted. pyarrow ends the process with signal 6
when it is asked about such a column's metadata."""
ENCRYPTED = "columns of it are encrypted, and scorer takes no key"
TAIL_BYTES = 8
"""The last bytes of a file: the length of the footer, and MAGIC or ENCRYPTED_MAGIC."""
END_BYTES = 64 * 1024
LARGE_GROUP_BYTES = 4 * 1024 * 1024
"""Before a row group of this size, decoded, free memory goes back to the system: .5 MB less at the peak, for 1 ms."""


class Parquet:
    """`Format` of Parquet. Where a read fails twice at one place, the rest of that row group is unreadable."""

    name = "Parquet"

    def look(self, file: BinaryIO, size: int) -> Contents:
        if size == 0:
            raise Unfinished("is empty")
        begins, end = file.read(len(MAGIC)), _end(file, size)
        if begins == MAGIC and (not end.endswith(MAGIC) or size < 3 * len(MAGIC)):
            raise Unfinished("has no footer")
        if end.endswith(ENCRYPTED_MAGIC):
            raise ValueError(ENCRYPTED)
        with pq.ParquetFile(pa.BufferReader(end), pre_buffer=False) as parquet:
            if _footer_bytes(end) - parquet.metadata.serialized_size == SIGNATURE_BYTES:
                raise ValueError(ENCRYPTED)
            schema = parquet.schema_arrow
            return Contents(parquet.metadata.num_rows, _mark(end), schema, schema, ended=True)

    def schema(self, file: BinaryIO) -> pa.Schema:
        return pq.read_schema(file)

    def mark(self, file: BinaryIO, size: int) -> str:
        return _mark(_end(file, size))

    def batches(self, file: BinaryIO, wanted: Wanted) -> Iterator[Batch | UnreadableRows]:
        at = wanted.at
        with pq.ParquetFile(
            file, pre_buffer=False, buffer_size=READ_BUFFER, page_checksum_verification=True
        ) as parquet:
            columns = leaves(wanted.columns, parquet.schema_arrow)
            careful = wanted.careful
            for group in _groups(parquet.metadata, wanted.todo, at):
                yield from (_one_by_one if careful else _batches)(parquet, group, columns, at)
                careful = False  # the damage was in the first group with a row to do


def _end(file: BinaryIO, size: int) -> bytes:
    """The last bytes of a file, the whole footer at least. It is read at once where it is below 64 KiB."""
    file.seek(max(0, size - END_BYTES))
    end = file.read(END_BYTES)
    if len(end) < (least := min(size, _footer_bytes(end) + TAIL_BYTES)):
        file.seek(size - least)
        end = file.read(least)
    return end


def _mark(end: bytes) -> str:
    stop = max(0, len(end) - TAIL_BYTES)
    return hashlib.sha256(end[max(0, stop - _footer_bytes(end)) : stop]).hexdigest()[:16]


def _footer_bytes(end: bytes) -> int:
    """The length of the footer, without the tail that states it."""
    return int.from_bytes(end[-TAIL_BYTES : -len(MAGIC)], "little")


@dataclass(frozen=True, slots=True)
class _Group:
    """One row group: its place, its first row, the row after its last."""

    number: int
    first: int
    stop: int


def _groups(metadata: Any, todo: Mask | None, at: int) -> Iterator[_Group]:
    """The row groups that have a row to do from number `at` on."""
    first = 0
    for number in range(metadata.num_row_groups):
        stop = first + metadata.row_group(number).num_rows
        if stop > max(at, first) and (todo is None or todo[max(at, first) : stop].any()):
            yield _Group(number, first, stop)
        first = stop


def _batches(parquet: pq.ParquetFile, group: _Group, columns: Sequence[str], at: int) -> Iterator[Batch]:
    """The rows of a row group from number `at` on."""
    about = parquet.metadata.row_group(group.number)
    if about.total_byte_size >= LARGE_GROUP_BYTES:
        give_memory_back()
    for first, batch in _read(parquet, group, columns, _batch_rows(about, columns)):
        if (behind := max(0, at - first)) < batch.num_rows:
            yield Batch(first + behind, ArrowRows(batch.slice(behind) if behind else batch))


def _one_by_one(
    parquet: pq.ParquetFile, group: _Group, columns: Sequence[str], at: int
) -> Iterator[Batch | UnreadableRows]:
    """The rows of a damaged row group up to the last one before the damage."""
    most = _batch_rows(parquet.metadata.row_group(group.number), columns)
    rows = (batch for first, batch in _read(parquet, group, columns, 1) if first >= at)
    at, why = max(at, group.first), ""
    while at < group.stop:
        held: list[pa.RecordBatch] = []
        try:
            while len(held) < most and (row := next(rows, None)) is not None:
                held.append(row)
        except DAMAGE as error:
            if is_systems(error):
                raise
            why = short(error)
        if held:
            (whole,) = pa.Table.from_batches(held).combine_chunks().to_batches()
            yield Batch(at, ArrowRows(whole))
            at += len(held)
        if why:
            yield UnreadableRows(at, group.stop, why)
            return


def _read(
    parquet: pq.ParquetFile, group: _Group, columns: Sequence[str], size: int
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """A row group's batches. Raises where they have another number of rows than the footer."""
    at = group.first
    for batch in parquet.iter_batches(
        batch_size=size, row_groups=[group.number], columns=list(columns), use_threads=False
    ):
        if batch.num_rows and at + batch.num_rows <= group.stop:
            yield at, batch
        at += batch.num_rows
    if at != group.stop:
        raise ValueError(f"row group {group.number} has {at - group.first} rows, not {group.stop - group.first}")


def _batch_rows(group: Any, columns: Sequence[str]) -> int:
    return rows_at_once(group, columns, rows=BATCH_ROWS, size=BATCH_BYTES)
