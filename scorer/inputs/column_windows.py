"""Columns of an input shard as Arrow tables, read forward once, for any ascending windows of rows."""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from functools import partial

import pyarrow as pa

from scorer.errors import InputError, ShardChanged, StorageError
from scorer.files.files import Files
from scorer.inputs.identity import schema_now
from scorer.inputs.pieces import Batch, ReadStalled
from scorer.inputs.read_retry import with_retries
from scorer.inputs.shard_reader import read_shard
from scorer.types import Shard


class ColumnWindows:
    """Some columns of a shard. `lost` are row ranges that cannot be read, whose values are null.

    `problem` says why the rest of the shard could not be read at all; its values are null too. Close it, or use it as a
    context manager.
    """

    def __init__(self, files: Files, shard: Shard, columns: Sequence[str]) -> None:
        self.lost: list[tuple[int, int]] = []
        self.problem: str | None = None
        self._columns = list(dict.fromkeys(columns))
        self._rest: pa.Table | None = None
        self._at = 0
        self._ahead = self._tables(files, shard)

    def __enter__(self) -> ColumnWindows:
        return self

    def __exit__(self, *_: object) -> None:
        self._ahead.close()

    def window(self, start: int, stop: int) -> pa.Table:
        """The rows `start` to `stop` - 1; `start` is never less than in a call before. Blocking."""
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
        columns, at = self._columns, 0
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
        self.lost.append((first, stop))
        nulls = pa.table({"": pa.nulls(stop - first)})  # so that it has rows also where no column is known
        for place, field in enumerate(schema):
            nulls = nulls.add_column(place, field, pa.nulls(stop - first, field.type))
        return nulls.drop_columns([""]) if len(schema) else nulls
