"""Shards to numbered rows: a batch ahead, only the needed columns, only the rows to do, bounded in rows and bytes.

Knows Parquet and nothing of judges, limits or what becomes of a row. Shards are only ever opened for reading.
"""

from __future__ import annotations

import hashlib
import io
import zlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from scorer.errors import InputError, ShardChanged
from scorer.files import Files, Stat
from scorer.schema import Mask, Offload, Row, Shard, Work
from scorer.views import owned, take

BATCH_ROWS = 256
BATCH_BYTES = 4 * 1024 * 1024
LONG_DICTIONARY, REPEATED_ROWS = 64 * 1024, 32
"""A small column chunk of over 64 KiB with a dictionary may hold long texts that repeat: 32 rows of those at a time."""
READ_BUFFER = 1024 * 1024
"""With pre_buffer off, pyarrow reads a column chunk through a buffer of this size instead of whole (NOTES: 63 against
403 MB for the first rows of a 339 MB row group)."""


@dataclass(frozen=True, slots=True)
class Columns:
    """What to read of each row. `judged` are the columns whose text is sent, for counting tokens."""

    read: tuple[str, ...]
    judged: tuple[str, ...]
    kept: tuple[str, ...]

    @property
    def all(self) -> list[str]:
        return list(dict.fromkeys((*self.read, *self.judged, *self.kept)))


def look(files: Files, stat: Stat) -> tuple[int, str, pa.Schema]:
    """Rows, footer hash and schema of one shard. Raises InputError where it is no readable Parquet file."""
    try:
        with files.open(stat.path) as file, pq.ParquetFile(file, pre_buffer=False) as parquet:
            return parquet.metadata.num_rows, _footer_hash(file, stat.size), parquet.schema_arrow
    except (pa.ArrowException, OSError, EOFError) as error:
        raise InputError(
            f"{stat.path} is not a readable Parquet file ({_short(error)}). input.shards takes Parquet files: take "
            "this one out or write it again."
        ) from error


def same_rows(files: Files, shard: Shard, stat: Stat) -> bool:
    """True where a shard still holds the rows it held: its size and footer are what they were; it was only touched."""
    if (stat.size, stat.version) == (shard.size, shard.version):
        return True
    try:
        return stat.size == shard.size and look(files, stat)[1] == shard.footer
    except InputError:
        return False


def find(files: Files, patterns: Sequence[str]) -> list[Stat]:
    """The shards that `input.shards` matches. Raises InputError where it is none."""
    if found := files.find(patterns):
        return found
    raise InputError(
        f"input.shards = {', '.join(patterns)} matches no file. Give Parquet files, folders of them, or globs."
    )


def first_look(
    files: Files, stats: Sequence[Stat], names: Mapping[str, str], wanted: Sequence[str], kept: Sequence[str] = ()
) -> list[Shard]:
    """Shards with their rows and footers; `names` are their stems by path, `wanted` the columns they must have.

    `kept` are those of them that the results keep.

    Raises InputError with every mistake in all of them.
    """
    shards, problems = [], []
    for stat in stats:
        try:
            rows, footer, schema = look(files, stat)
        except InputError as error:
            problems.append(str(error))
            continue
        if missing := missing_columns(schema, wanted):
            problems.append(
                f"{stat.path} has no column {', '.join(map(repr, missing))}, which the run file asks for. It has: "
                f"{', '.join(schema.names[:20])}."
            )
        if several := [name for name in dict.fromkeys(wanted) if schema.names.count(name) > 1]:
            problems.append(
                f"{stat.path} has several columns called {', '.join(map(repr, several))}, so that nobody can tell "
                "which is meant. Write it again with a name for each."
            )
        types = "" if missing or several else _types(schema, kept)
        shards.append(Shard(stat.path, names[stat.path], stat.size, stat.version, rows, footer, types))
    if problems:
        raise InputError("\n".join(problems))
    return shards


def missing_columns(schema: pa.Schema, wanted: Sequence[str]) -> list[str]:
    """Those of `wanted` that a shard does not have."""
    return [name for name in dict.fromkeys(wanted) if name not in schema.names]


def _types(schema: pa.Schema, kept: Sequence[str]) -> str:
    return f"{zlib.crc32(str([schema.field(name).type for name in kept]).encode()):08x}"


def _footer_hash(file: Any, size: int) -> str:
    file.seek(size - 8)
    length = int.from_bytes(file.read(4), "little")
    file.seek(max(0, size - 8 - length))
    return hashlib.sha256(file.read(length)).hexdigest()[:16]


def _short(error: Exception) -> str:
    return str(error).split("\n")[0][:200] or type(error).__name__


class Reader:
    """Batches of rows of a run. `count` tells the tokens of texts; `constant_tokens` are added to each row."""

    def __init__(
        self,
        files: Files,
        columns: Columns,
        *,
        count: Callable[[Sequence[str]], Sequence[int]],
        constant_tokens: int,
    ) -> None:
        self._files = files
        self.columns = columns
        self._count = count
        self._constant = constant_tokens

    async def batches(self, work: Iterable[Work], offload: Offload) -> AsyncIterator[list[Row]]:
        """The rows of each piece of work in order, at most 256 rows or 4 MiB at a time, the next batch read ahead.

        Raises OutputError for a shard that changed since it was first seen, InputError for one that cannot be read.
        """
        rows = self._rows(work)
        ahead = offload(next, rows, None)
        while (batch := await ahead) is not None:
            ahead = offload(next, rows, None)
            yield batch

    def _rows(self, work: Iterable[Work]) -> Iterator[list[Row]]:
        for piece in work:
            yield from self.read(piece)

    def read(self, work: Work) -> Iterator[list[Row]]:
        """Blocking: the batches of one piece of work."""
        shard = work.shard
        if shard.rows == 0 or (work.todo is not None and not work.todo.any()):
            return
        with readable(shard), self.opened(shard) as file:
            for start, batch in arrow_batches(file, self.columns.all, work.todo):
                yield from self._slices(work, start, batch)

    @contextmanager
    def opened(self, shard: Shard) -> Iterator[BinaryIO]:
        """The shard's file, proven to be what it was when first seen. Raises ShardChanged where it is not."""
        with self._files.open(shard.path) as file:
            if file.seek(0, io.SEEK_END) != shard.size or _footer_hash(file, shard.size) != shard.footer:
                raise ShardChanged(shard.path)
            file.seek(0)
            yield file

    def _slices(self, work: Work, start: int, batch: pa.RecordBatch) -> Iterator[list[Row]]:
        numbers = np.arange(start, start + batch.num_rows)
        if work.todo is not None:
            wanted = np.flatnonzero(work.todo[start : start + batch.num_rows])
            if len(wanted) < batch.num_rows:
                numbers, batch = numbers[wanted], take(batch, pa.array(wanted))
        yield from self.rows_of(work, numbers, batch)

    def rows_of(self, work: Work, numbers: npt.NDArray[np.int64], batch: pa.RecordBatch) -> Iterator[list[Row]]:
        """The rows of a batch that holds exactly the rows `numbers` of a shard, at most 4 MiB at a time."""
        if batch.num_rows == 0:
            return
        step = max(1, min(batch.num_rows, BATCH_BYTES * batch.num_rows // max(1, batch.nbytes)))
        for offset in range(0, batch.num_rows, step):
            yield self._make(work, numbers[offset : offset + step].tolist(), batch.slice(offset, step))

    def _make(self, work: Work, numbers: list[int], batch: pa.RecordBatch) -> list[Row]:
        columns = self.columns
        lists = {name: _plain(batch.column(name)) for name in dict.fromkeys((*columns.read, *columns.judged))}
        kept = [_exact(batch.column(name)) for name in columns.kept]
        texts = [
            "\n".join([value if isinstance(value, str) else _shown(value) for value in values if value is not None])
            for values in zip(*(lists[name] for name in columns.judged), strict=True)
        ] or [""] * len(numbers)
        tokens = self._count(texts)
        names = tuple(lists)
        values_of = zip(*lists.values(), strict=True) if lists else iter([()] * len(numbers))
        kept_of = zip(*kept, strict=True) if kept else iter([()] * len(numbers))
        return [
            Row(
                shard=work.shard.path,
                number=number,
                values=dict(zip(names, values, strict=True)),
                kept=tuple(keep),
                tokens=count + self._constant,
                size=len(text),
                generation=work.generation,
            )
            for number, values, keep, count, text in zip(numbers, values_of, kept_of, tokens, texts, strict=True)
        ]


@contextmanager
def readable(shard: Shard) -> Iterator[None]:
    """Turns what pyarrow and the disk raise over a shard into InputError."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise InputError(
            f"{shard.path} cannot be read further ({_short(error)}). What is scored is kept; write the shard again "
            "as it was, or leave it out of input.shards of a new run."
        ) from error


def arrow_batches(file: Any, columns: list[str], todo: Mask | None = None) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Each batch with the number of its first row; row groups without a row to do are not read."""
    with pq.ParquetFile(file, pre_buffer=False, buffer_size=READ_BUFFER) as parquet:
        metadata, start = parquet.metadata, 0
        for group in range(metadata.num_row_groups):
            rows = metadata.row_group(group).num_rows
            if rows and (todo is None or todo[start : start + rows].any()):
                at = start
                for batch in parquet.iter_batches(
                    batch_size=_batch_rows(metadata.row_group(group), columns),
                    row_groups=[group],
                    columns=columns,
                    use_threads=False,
                ):
                    yield at, batch
                    at += batch.num_rows
            start += rows


def _batch_rows(group: Any, columns: list[str]) -> int:
    """As many as their mean size allows; few where a long text may stand once in a dictionary, and in many rows."""
    wanted = set(columns)
    chunks = [group.column(index) for index in range(group.num_columns)]
    chunks = [chunk for chunk in chunks if chunk.path_in_schema.split(".")[0] in wanted]
    size = sum(chunk.total_uncompressed_size for chunk in chunks)
    rows: int = BATCH_BYTES * group.num_rows // max(1, size)
    small = size < max(BATCH_BYTES, 64 * group.num_rows)
    if small and any(c.has_dictionary_page and c.total_uncompressed_size > LONG_DICTIONARY for c in chunks):
        rows = min(rows, REPEATED_ROWS)
    return max(1, min(BATCH_ROWS, rows))


def _exact(column: pa.Array) -> list[Any]:
    """Values that go back into the column's own type unchanged: scalars where Python has no exact object."""
    kind = owned(column.type)
    if pa.types.is_nested(kind) and kind != column.type:  # no list is made of scalars that are views
        column = column.cast(kind)
    if pa.types.is_temporal(kind) or pa.types.is_dictionary(kind) or pa.types.is_nested(kind):
        return [scalar if scalar.is_valid else None for scalar in column]
    return _plain(column)


def _plain(column: pa.Array) -> list[Any]:
    """Python objects; scalars of Arrow where there is none, as for nanoseconds. Raises ArrowInvalid for text that is
    no UTF-8."""
    try:
        values: list[Any] = column.to_pylist()
    except ValueError as error:
        if pa.types.is_temporal(column.type) or pa.types.is_nested(column.type):
            return [scalar if scalar.is_valid else None for scalar in column]
        raise pa.ArrowInvalid(str(error)) from error
    return values


def _shown(value: Any) -> str:
    """As in a prompt, which shows no scalar of Arrow; some cannot even be written as text."""
    return "" if isinstance(value, pa.Scalar) else str(value)
