"""Compares the id and kept columns of an input shard with its results. Reads forward, a window at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from scorer.errors import Damaged
from scorer.files.arrow_take import take
from scorer.files.files import Files
from scorer.inputs.column_windows import ColumnWindows
from scorer.output import segments as seg
from scorer.output.schema import kept_names, modern
from scorer.types import Shard

_NEAR = 65536
"""The most input rows that are held at once for the comparison."""


def kept_in(files: Files, paths: Sequence[str]) -> list[str]:
    """The kept columns that all of these result files have. Raises Broken where one cannot be read."""
    found: set[str] | None = None
    for path in paths:
        with seg.broken(path), files.open(path) as file:
            names = {*kept_names(modern(pq.read_schema(file)).names)}
        found = names if found is None else found & names
    return sorted((found or set()) - {"id"})


class Copied:
    """The copied columns of an input shard, read forward once. `given` maps a result's column to the input's.

    `unread` counts the rows that were not compared, because the input is damaged there. It is no fault of the scores.
    """

    def __init__(self, files: Files, shard: Shard, given: dict[str, str]) -> None:
        self.unread = 0
        self._given = given
        self._input = ColumnWindows(files, shard, list(given.values()))

    @property
    def problem(self) -> str | None:
        """Why the rest of the input could not be read. This is no fault of the scores."""
        return self._input.problem

    def __enter__(self) -> Copied:
        return self

    def __exit__(self, *error: object) -> None:
        self._input.__exit__(*error)

    def differs(self, start: int, found: pa.Table | pa.RecordBatch, stop: int | None = None) -> int | None:
        """The first row whose copied values differ from the input's. `found` has rows `start` to `stop` - 1."""
        if not self._given or not found.num_rows:
            return None
        rows = found.column("row").to_numpy()
        given = self._input.window(start, start + found.num_rows if stop is None else stop)
        if rows[-1] - start >= given.num_rows:
            return int(rows[-1])
        known = ~_array(pc.equal(found.column("error"), Damaged.__name__)).fill_null(False).to_numpy(
            zero_copy_only=False
        )
        for first, end in self._input.lost:
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


def near(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """The batch in parts whose first and last row are less than `_NEAR` apart, so that little input is held at once."""
    rows = batch.column("row").to_numpy()
    at = 0
    while at < len(rows):
        stop = int(np.searchsorted(rows, rows[at] + _NEAR))
        yield batch.slice(at, stop - at)
        at = stop


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
    """Compares values with NaN, which is unequal to itself and yet copied; texts that are not UTF-8 are not copied."""
    try:
        return str(one) == str(other)
    except UnicodeDecodeError:
        return not one.is_valid
    except ValueError:  # nanoseconds, which Python has no object for; and which hold no NaN
        return False
