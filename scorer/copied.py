"""The id and kept columns of an input shard, beside those that its results hold. Reads forward, a window at a time."""

from __future__ import annotations

import pyarrow as pa

from scorer.files import Files
from scorer.schema import Shard
from scorer.source import arrow_batches
from scorer.views import take


class Unread(Exception):
    """The input cannot be read: no fault of the scores."""


class Copied:
    """The copied columns of an input shard, read forward once. `given` maps a result's column to the input's."""

    def __init__(self, files: Files, shard: Shard, given: dict[str, str]) -> None:
        self._given = given
        self._rest: pa.Table | None = None
        self._at = 0
        self._file = files.open(shard.path) if given else None
        columns = list(dict.fromkeys(given.values()))
        self._ahead = arrow_batches(self._file, columns) if self._file is not None else iter(())

    def __enter__(self) -> Copied:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def differs(self, start: int, found: pa.Table | pa.RecordBatch, stop: int | None = None) -> int | None:
        """The first row whose copied values are not the input's; `found` lies in rows `start` to `stop` - 1."""
        if not self._given or not found.num_rows:
            return None
        rows = found.column("row").to_numpy()
        given = self._window(start, start + found.num_rows if stop is None else stop)
        if rows[-1] - start >= given.num_rows:
            return int(rows[-1])
        given = take(given, pa.array(rows - start))
        first = [
            _first_difference(_array(found.column(name)), _array(given.column(column)))
            for name, column in self._given.items()
            if name in found.schema.names
        ]
        places = [place for place in first if place is not None]
        return int(rows[min(places)]) if places else None

    def _window(self, start: int, stop: int) -> pa.Table:
        try:
            held = [self._rest.slice(start - self._at)] if self._rest is not None else []
            rows = sum(table.num_rows for table in held)
            while start + rows < stop and (batch := next(self._ahead, None)) is not None:
                table = pa.Table.from_batches([batch[1]]).slice(max(0, start - batch[0]))
                held.append(table)
                rows += table.num_rows
        except (pa.ArrowException, OSError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise Unread(f"the input shard cannot be read to compare ({reason})") from error
        self._rest, self._at = pa.concat_tables(held) if held else None, start
        return self._rest.slice(0, stop - start) if self._rest is not None else pa.table({})


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
    """For what holds a NaN, which equals nothing and is copied all the same."""
    try:
        return str(one) == str(other)
    except ValueError:  # nanoseconds, which Python has no object for; and which hold no NaN
        return False
