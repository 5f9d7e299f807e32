"""Reads one shard from its first row to its last: batches, damaged row ranges, and pauses while storage fails.

What fails twice in the same place is damage, and costs the rows of that row group from there on. An error of the system
(EIO, a network that is away) is the moment's, and is waited for. Knows Parquet and files, and nothing of results.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from scorer.errors import InputError, ShardChanged
from scorer.files.portions import rows_at_once
from scorer.inputs.patience import FIRST_PAUSE_S, Patience, is_systems, short
from scorer.types import Mask

BATCH_ROWS = 256
BATCH_BYTES = 4 * 1024 * 1024
READ_BUFFER = 1024 * 1024
"""With pre_buffer off, pyarrow reads a column chunk through a buffer of this size instead of whole (NOTES: 63 against
403 MB for the first rows of a 339 MB row group)."""

DAMAGE = (pa.ArrowException, OSError, EOFError, ValueError, IndexError, KeyError, OverflowError)
"""What pyarrow raises over bytes that are no Parquet, or no longer. An OSError with a number is the system's."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows from number `first` on."""

    first: int
    rows: pa.RecordBatch

    @property
    def stop(self) -> int:
        return self.first + int(self.rows.num_rows)


@dataclass(frozen=True, slots=True)
class UnreadableRows:
    """Rows `first` to `stop` - 1: read twice, and not to be read."""

    first: int
    stop: int
    why: str


@dataclass(frozen=True, slots=True)
class ReadStalled:
    """The system fails: the next piece is to be asked for in `pause_s` seconds."""

    pause_s: float


Piece = Batch | UnreadableRows | ReadStalled


def read_shard(
    opened: Callable[[], AbstractContextManager[BinaryIO]], path: str, columns: list[str], todo: Mask | None = None
) -> Iterator[Piece]:
    """The rows of a shard in order, each in a Batch or in a Lost; row groups without a row to do are in neither.

    `opened` opens the shard and raises ShardChanged where it is not what it was, which is raised after the second time.
    Raises StorageError where the system fails for longer than `PATIENCE_S`.
    """
    at = tries = changes = 0
    patience = Patience(path)
    while True:
        begun_at = at
        try:
            with opened() as file, _parquet(file) as parquet:
                for group in _groups(parquet.metadata, todo, at):
                    for piece in (
                        _one_by_one(parquet, group, columns, at) if tries > 1 else _batches(parquet, group, columns, at)
                    ):
                        yield piece
                        at = piece.stop
                        patience.over()
                    tries = 0
            return
        except ShardChanged:
            changes += 1
            if changes > 1:
                raise
            yield ReadStalled(FIRST_PAUSE_S)
        except DAMAGE as error:
            if is_systems(error):
                yield ReadStalled(patience.pause_s(error))
            elif tries > 1:
                raise InputError(f"{path} cannot be read ({short(error)}), though it is what it was.") from error
            else:
                tries = 1 if at > begun_at else tries + 1


def arrow_batches(file: Any, columns: list[str]) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Every batch of an open shard with the number of its first row. Raises one of DAMAGE."""
    with _parquet(file) as parquet:
        for group in _groups(parquet.metadata, None, 0):
            for batch in _batches(parquet, group, columns, 0):
                yield batch.first, batch.rows


@dataclass(frozen=True, slots=True)
class _Group:
    """One row group: its place, its first row, the row after its last."""

    number: int
    first: int
    stop: int


def _parquet(file: Any) -> pq.ParquetFile:
    return pq.ParquetFile(file, pre_buffer=False, buffer_size=READ_BUFFER, page_checksum_verification=True)


def _groups(metadata: Any, todo: Mask | None, at: int) -> Iterator[_Group]:
    """The row groups that have a row to do from number `at` on."""
    first = 0
    for number in range(metadata.num_row_groups):
        stop = first + metadata.row_group(number).num_rows
        if stop > max(at, first) and (todo is None or todo[max(at, first) : stop].any()):
            yield _Group(number, first, stop)
        first = stop


def _batches(parquet: pq.ParquetFile, group: _Group, columns: list[str], at: int) -> Iterator[Batch]:
    """The rows of a row group from number `at` on."""
    size = _batch_rows(parquet.metadata.row_group(group.number), columns)
    for first, batch in _read(parquet, group, columns, size):
        if (behind := max(0, at - first)) < batch.num_rows:
            yield Batch(first + behind, batch.slice(behind) if behind else batch)


def _one_by_one(
    parquet: pq.ParquetFile, group: _Group, columns: list[str], at: int
) -> Iterator[Batch | UnreadableRows]:
    """The same of a damaged row group, up to the last row before the damage; the rest is lost."""
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
            yield Batch(at, whole)
            at += len(held)
        if why:
            yield UnreadableRows(at, group.stop, why)
            return


def _read(
    parquet: pq.ParquetFile, group: _Group, columns: list[str], size: int
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """A row group's batches, which are as many rows as the footer says."""
    at = group.first
    for batch in parquet.iter_batches(batch_size=size, row_groups=[group.number], columns=columns, use_threads=False):
        if batch.num_rows and at + batch.num_rows <= group.stop:
            yield at, batch
        at += batch.num_rows
    if at != group.stop:
        raise ValueError(f"row group {group.number} has {at - group.first} rows, not {group.stop - group.first}")


def _batch_rows(group: Any, columns: list[str]) -> int:
    return rows_at_once(group, columns, rows=BATCH_ROWS, size=BATCH_BYTES)
