"""Reads shards as numbered rows: only needed columns and rows, one batch ahead, bounded in rows and bytes.

Knows Parquet and nothing of judges, limits or what becomes of a row. Shards are only ever opened for reading.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from math import ceil
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from scorer.errors import BadRow, Damaged, ShardChanged
from scorer.files.files import Files
from scorer.frozen import dataclass
from scorer.inputs.pieces import BATCH_BYTES, BATCH_ROWS, Batch, Piece, ReadStalled, Rows, UnreadableRows
from scorer.inputs.shard_reader import read_shard
from scorer.types import Mask, Offload, Row, Shard, Work


@dataclass(frozen=True, slots=True)
class Columns:
    """What to read of each row. `judged` are the columns whose text is sent, for counting tokens."""

    read: tuple[str, ...]
    judged: tuple[str, ...]
    kept: tuple[str, ...]

    @property
    def all(self) -> list[str]:
        return list(dict.fromkeys((*self.read, *self.judged, *self.kept)))


class Reader:
    """Reads batches of rows. `count` counts the tokens of texts; `constant_tokens` are added to each row.

    `unread` has, by the path of its shard, why rows were left out by `batches`: the shard is gone, or another one.
    """

    def __init__(
        self,
        files: Files,
        columns: Columns,
        *,
        count: Callable[[Sequence[str]], Sequence[int]],
        constant_tokens: int,
    ) -> None:
        self.columns = columns
        self.unread: dict[str, str] = {}
        self._files = files
        self._count = count
        self._constant = constant_tokens

    def batches(self, work: Iterable[Work], offload: Offload) -> AsyncIterator[list[Row]]:
        """The rows of each piece of work in order, at most 512 rows or 4 MiB at a time, the next batch read ahead.

        A row that cannot be read, or holds a text that is no UTF-8, comes with its `problem`. A batch is empty while
        the system fails to read. A shard that is gone or changed is noted in `unread`, and the next one read. Raises
        StorageError where the system goes on failing.
        """
        return ahead(put_together(self._rows(work)), offload)

    def _rows(self, work: Iterable[Work]) -> Iterator[list[Row] | ReadStalled]:
        for piece in work:
            try:
                yield from self.pieces(piece)
            except ShardChanged as error:
                self.unread[piece.shard.path] = str(error)

    def read(self, work: Work) -> Iterator[list[Row]]:
        """Blocking: the batches of one piece of work. Raises ShardChanged where the shard has changed."""
        for piece in self.pieces(work):
            if isinstance(piece, ReadStalled):
                time.sleep(piece.pause_s)
            else:
                yield piece

    def pieces(self, work: Work) -> Iterator[list[Row] | ReadStalled]:
        """Blocking: the same, with a ReadStalled where the system fails, which says how long to wait."""
        shard = work.shard
        if work.pause_s:
            yield ReadStalled(work.pause_s)
        if shard.rows == 0 or (work.todo is not None and not work.todo.any()):
            return
        for piece in self.read_shard(shard, work.todo):
            if isinstance(piece, ReadStalled):
                yield piece
                continue
            numbers = np.arange(piece.first, piece.stop)
            yield from self.chosen(work, piece, numbers if work.todo is None else numbers[work.todo[numbers]])

    def read_shard(self, shard: Shard, todo: Mask | None) -> Iterator[Piece]:
        """What a shard's rows are, or why not. Raises ShardChanged, StorageError."""
        return read_shard(self._files, shard, self.columns.all, todo)

    def chosen(self, work: Work, piece: Batch | UnreadableRows, numbers: npt.NDArray[np.int64]) -> Iterator[list[Row]]:
        """Those rows of a piece, at most 512 or 4 MiB at a time."""
        if isinstance(piece, UnreadableRows):
            yield from self._lost(work, numbers, piece.why)
        elif len(numbers):
            rows = piece.rows
            if len(numbers) < rows.num_rows:
                rows = rows.take(numbers - piece.first)
            step = max(1, min(rows.num_rows, BATCH_BYTES * rows.num_rows // max(1, rows.nbytes)))
            for offset in range(0, rows.num_rows, step):
                yield self._make(work, numbers[offset : offset + step].tolist(), rows.slice(offset, step))

    def _lost(self, work: Work, numbers: npt.NDArray[np.int64], why: str) -> Iterator[list[Row]]:
        """Rows of damaged bytes, of which only the numbers are known."""
        detail = f"this part of {work.shard.path} cannot be read ({why}). Restore the file, then `scorer retry`."
        values = dict.fromkeys((*self.columns.read, *self.columns.judged))
        kept = (None,) * len(self.columns.kept)
        for first in range(0, len(numbers), BATCH_ROWS):
            yield [
                Row(work.shard.path, number, values, kept, generation=work.generation, problem=Damaged(detail))
                for number in numbers[first : first + BATCH_ROWS].tolist()
            ]

    def _make(self, work: Work, numbers: list[int], batch: Rows) -> list[Row]:
        columns = self.columns
        bad: dict[int, str] = {}  # by its place in the batch, why a row cannot be judged
        lists = {
            name: batch.values(name, bad, typed=name not in columns.judged)
            for name in dict.fromkeys((*columns.read, *columns.judged))
        }
        kept = [batch.exact(name, bad) for name in columns.kept]
        bad.update((place, problem) for place, problem in enumerate(batch.problems) if problem is not None)
        sent = zip(*(lists[name] for name in columns.judged), strict=True)
        texts = [_joined(values) for values in sent] or [""] * len(numbers)
        tokens = self._count(texts)
        mean = batch.nbytes // len(numbers)  # what is kept or measured and not sent is held all the same
        values_of = _by_row(lists, len(numbers))
        kept_of = zip(*kept, strict=True) if kept else iter([()] * len(numbers))
        rows = [
            Row(
                shard=work.shard.path,
                number=number,
                values=values,
                kept=keep,
                tokens=count + self._constant,
                size=max(len(text), mean),
                generation=work.generation,
            )
            for number, values, keep, count, text in zip(numbers, values_of, kept_of, tokens, texts, strict=True)
        ]
        for place, problem in bad.items():
            rows[place] = replace(rows[place], problem=BadRow(problem))
        return rows


def put_together(pieces: Iterator[list[Row] | ReadStalled], least: int = 1) -> Iterator[list[Row] | ReadStalled]:
    """Short batches as one, so that not each costs a turn of a thread: of `least` rows at least, then of twice as many.

    So up to 512 rows. None has more than 512 rows or 4 MiB that had not before.
    """
    held: list[Row] = []
    size = 0
    for piece in pieces:
        more = 0 if isinstance(piece, ReadStalled) else sum(row.size for row in piece)
        if held and (
            isinstance(piece, ReadStalled) or len(held) + len(piece) > BATCH_ROWS or size + more > BATCH_BYTES
        ):
            yield held
            held, size = [], 0
        if isinstance(piece, ReadStalled):
            yield piece
            continue
        held, size = held + piece if held else piece, size + more
        if len(held) >= least:
            yield held
            held, size, least = [], 0, min(2 * least, BATCH_ROWS)
    if held:
        yield held


async def ahead(pieces: Iterator[list[Row] | ReadStalled], offload: Offload) -> AsyncGenerator[list[Row]]:
    """Batches, read one ahead; an empty one at least every second while the system fails."""
    coming = offload(next, pieces, None)
    while (piece := await coming) is not None:
        if isinstance(piece, ReadStalled):
            for _ in range(ceil(piece.pause_s)):
                await asyncio.sleep(piece.pause_s / ceil(piece.pause_s))
                yield []
        coming = offload(next, pieces, None)
        if not isinstance(piece, ReadStalled):
            yield piece


def _by_row(columns: Mapping[str, list[Any]], rows: int) -> list[dict[str, Any]]:
    """The values of each row by the names of the columns. Filled column by column: a third of the time."""
    blank: dict[str, Any] = dict.fromkeys(columns)
    found = [blank.copy() for _ in range(rows)]
    for name, values in columns.items():
        for row, value in zip(found, values, strict=True):
            row[name] = value
    return found


def _joined(values: tuple[Any, ...]) -> str:
    try:
        return "\n".join(values)
    except TypeError:  # not all of them are texts
        return "\n".join([value if isinstance(value, str) else _shown(value) for value in values if value is not None])


def _shown(value: Any) -> str:
    """As in a prompt, which shows no scalar of Arrow; some cannot even be written as text."""
    return "" if isinstance(value, pa.Scalar) else str(value)
