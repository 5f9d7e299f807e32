"""Compares the id and kept columns of an input shard with its results. Reads forward, a window at a time."""

from __future__ import annotations

import time
from collections.abc import Generator
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scorer.errors import Damaged, InputError, ShardChanged, StorageError
from scorer.files.arrow import take
from scorer.files.files import Files
from scorer.inputs.identity import schema_now
from scorer.inputs.patience import with_retries
from scorer.inputs.pieces import Batch, ReadStalled
from scorer.inputs.shard_reader import read_shard
from scorer.types import Shard


class Copied:
    """The copied columns of an input shard, read forward once. `given` maps a result's column to the input's.

    `unread` counts the rows that were not compared, because the input is damaged there; `problem` is why it could not
    be read further at all. Neither is a fault of the scores.
    """

    def __init__(self, files: Files, shard: Shard, given: dict[str, str]) -> None:
        self.unread = 0
        self.problem: str | None = None
        self._given = given
        self._rest: pa.Table | None = None
        self._at = 0
        self._lost: list[tuple[int, int]] = []
        self._ahead = self._tables(files, shard) if given else iter(())

    def __enter__(self) -> Copied:
        return self

    def __exit__(self, *_: object) -> None:
        if isinstance(self._ahead, Generator):
            self._ahead.close()

    def differs(self, start: int, found: pa.Table | pa.RecordBatch, stop: int | None = None) -> int | None:
        """The first row whose copied values are not the input's; `found` lies in rows `start` to `stop` - 1."""
        if not self._given or not found.num_rows:
            return None
        rows = found.column("row").to_numpy()
        given = self._window(start, start + found.num_rows if stop is None else stop)
        if rows[-1] - start >= given.num_rows:
            return int(rows[-1])
        known = ~_array(pc.equal(found.column("error"), Damaged.__name__)).fill_null(False).to_numpy(
            zero_copy_only=False
        )
        for first, end in self._lost:
            lost = known & (rows >= first) & (rows < end)
            self.unread += int(lost.sum())
            known &= ~lost
        if not known.all():
            found, rows = take(found, pa.array(np.flatnonzero(known))), rows[known]
        given = take(given, pa.array(rows - start))
        first_of = [
            _first_difference(_array(found.column(name)), _array(given.column(column)))
            for name, column in self._given.items()
            if name in found.schema.names
        ]
        places = [place for place in first_of if place is not None]
        return int(rows[min(places)]) if places else None

    def _window(self, start: int, stop: int) -> pa.Table:
        held = [self._rest.slice(start - self._at)] if self._rest is not None else []
        rows = sum(table.num_rows for table in held)
        while start + rows < stop and (piece := next(self._ahead, None)) is not None:
            table = piece[1].slice(max(0, start - piece[0]))
            held.append(table)
            rows += table.num_rows
        self._rest, self._at = pa.concat_tables(held) if held else None, start
        return self._rest.slice(0, stop - start) if self._rest is not None else pa.table({})

    def _tables(self, files: Files, shard: Shard) -> Generator[tuple[int, pa.Table]]:
        """The columns from each piece's first row on, null where the input cannot be read."""
        columns, at = list(dict.fromkeys(self._given.values())), 0
        schema = pa.schema([])
        try:
            found = with_retries(shard.path, partial(schema_now, files, shard))
            schema = pa.schema([found.field(name) for name in columns])
            for piece in read_shard(files, shard, columns):
                if isinstance(piece, ReadStalled):
                    time.sleep(piece.pause_s)
                    continue
                at = piece.stop
                if isinstance(piece, Batch):
                    yield piece.first, pa.Table.from_batches([piece.rows.arrow(schema)])
                else:
                    yield piece.first, self._nulls(piece.first, piece.stop, schema)
        except (InputError, ShardChanged, StorageError) as error:
            self.problem = str(error)
        if at < shard.rows:
            yield at, self._nulls(at, shard.rows, schema)

    def _nulls(self, first: int, stop: int, schema: pa.Schema) -> pa.Table:
        self._lost.append((first, stop))
        nulls = pa.table({"": pa.nulls(stop - first)})  # so that it has rows also where no column is known
        for place, field in enumerate(schema):
            nulls = nulls.add_column(place, field, pa.nulls(stop - first, field.type))
        return nulls.drop_columns([""]) if len(schema) else nulls


def _array(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return whole.dictionary_decode() if pa.types.is_dictionary(whole.type) else whole


def _first_difference(found: pa.Array, given: pa.Array) -> int | None:
    if found.equals(given):
        return None
    for place, (one, other) in enumerate(zip(found, given, strict=True)):
        if not one.equals(other) and not _read_alike(one, other):
            return place
    return None


def _read_alike(one: pa.Scalar, other: pa.Scalar) -> bool:
    """For what holds a NaN, which equals nothing and is copied all the same; and what is no UTF-8, which is not."""
    try:
        return str(one) == str(other)
    except UnicodeDecodeError:
        return not one.is_valid
    except ValueError:  # nanoseconds, which Python has no object for; and which hold no NaN
        return False
