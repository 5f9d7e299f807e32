"""A table in memory of a few bytes a row: compressed parts, each read again when it is needed."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import pairwise

import numpy as np
import polars as pl
from polars.io.plugins import register_io_source

from scorer.analysis.correlation import Codes

PART_ROWS = 65_536
"""The rows of a part: what is read at a time takes some MB."""


class Packed:
    """The rows of the frames given, in their order. Every part has the types of `schema`.

    Numbers of one column may come in several types; they get the smallest that holds all of them.
    """

    def __init__(self, frames: Iterable[pl.DataFrame], schema: pl.Schema | None = None) -> None:
        found = schema
        parts: list[bytes] = []
        sizes: list[int] = []
        kinds: list[pl.Schema] = []
        for frame in frames:
            for part in frame.iter_slices(PART_ROWS) if frame.height else ():
                parts.append(_packed(part))
                sizes.append(part.height)
                kinds.append(part.schema)
            found = frame.schema if found is None else _wider(found, frame.schema)
        self.schema = found or pl.Schema()
        self._parts = [
            part if kind == self.schema else _packed(pl.read_ipc_stream(part).cast(self.schema))
            for part, kind in zip(parts, kinds, strict=True)
        ]
        self._ends = np.cumsum(np.array([0, *sizes], dtype=np.int64))

    @property
    def height(self) -> int:
        """The number of rows."""
        return int(self._ends[-1])

    @property
    def nbytes(self) -> int:
        """The bytes that the rows take."""
        return sum(map(len, self._parts))

    def frames(self, columns: Sequence[str] | None = None, *, together: int = 1) -> Iterator[pl.DataFrame]:
        """The rows some parts at a time, at least one frame; of all columns where none are named."""
        names = None if columns is None else list(columns)
        if not self._parts:
            yield pl.DataFrame(schema=self.schema if names is None else {name: self.schema[name] for name in names})
        for first in range(0, len(self._parts), together):
            yield pl.concat([pl.read_ipc_stream(part, columns=names) for part in self._parts[first : first + together]])

    def drained(self) -> Iterator[pl.DataFrame]:
        """The rows a part at a time, none of which is held any longer: for one table made of another."""
        while self._parts:
            yield pl.read_ipc_stream(self._parts.pop(0))
        self._ends = self._ends[:1]

    def parts(self) -> Iterator[tuple[int, int, Callable[[str], pl.Series]]]:
        """The place of each part's first row, how many rows it has, and what reads one of its columns."""
        for part, (first, end) in zip(self._parts, pairwise(self._ends.tolist()), strict=True):
            yield first, end - first, partial(_column, part)

    def column(self, name: str) -> pl.Series:
        """A whole column."""
        return pl.concat([frame[name] for frame in self.frames([name])], rechunk=True)

    @property
    def lazy(self) -> pl.LazyFrame:
        """The rows as a lazy frame, which reads the columns that it needs a part at a time."""

        def read(
            with_columns: list[str] | None, predicate: pl.Expr | None, n_rows: int | None, batch_size: int | None
        ) -> Iterator[pl.DataFrame]:
            wanted = list(self.schema) if with_columns is None else with_columns
            needed = None if with_columns is None else list(dict.fromkeys([*wanted, *_read_by(predicate)]))
            left = self.height if n_rows is None else n_rows
            for frame in self.frames(needed):
                found = (frame if predicate is None else frame.filter(predicate)).select(wanted).head(left)
                left -= found.height
                yield found
                if left <= 0:
                    return

        return register_io_source(read, schema=self.schema, is_pure=True)

    def rows(self, places: Sequence[int] | Codes, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """The rows at these places, from 0, in the order given."""
        wanted = np.asarray(places, dtype=np.int64)
        names = list(self.schema) if columns is None else list(columns)
        order = np.argsort(wanted, kind="stable")
        cuts = np.searchsorted(wanted[order], self._ends)
        found = [pl.DataFrame(schema={name: self.schema[name] for name in names})]
        for part, first, start, end in zip(self._parts, self._ends, cuts, cuts[1:], strict=False):
            if start < end:
                found.append(pl.read_ipc_stream(part, columns=names)[wanted[order[start:end]] - first].select(names))
        return pl.concat(found)[np.argsort(order, kind="stable")]


def _read_by(predicate: pl.Expr | None) -> list[str]:
    return [] if predicate is None else predicate.meta.root_names()


def narrow(values: pl.Series) -> pl.Series:
    """The same values in a smaller type, where it holds each of them exactly."""
    if values.dtype.is_integer():
        return values.shrink_dtype()
    if values.dtype != pl.Float64:
        return values
    small = values.cast(pl.Float32)
    return small if small.cast(pl.Float64).eq_missing(values).all() else values


def _column(part: bytes, name: str) -> pl.Series:
    return pl.read_ipc_stream(part, columns=[name]).to_series()


def _packed(frame: pl.DataFrame) -> bytes:
    file = io.BytesIO()
    frame.write_ipc_stream(file, compression="zstd")
    return file.getvalue()


def _wider(one: pl.Schema, other: pl.Schema) -> pl.Schema:
    """The types that hold the values of both."""
    if one == other:
        return one
    empty = [pl.DataFrame(schema=schema) for schema in (one, other)]
    return pl.concat(empty, how="vertical_relaxed").schema
