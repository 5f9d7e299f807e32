"""Reads columns of a table some rows at a time into narrow types, and remembers what is wrong with them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl

from scorer.analysis.packed import PART_ROWS, Packed, narrow
from scorer.errors import SpecError

TEXTS = (pl.String, pl.Categorical, pl.Enum)
CODE = "\0code "
"""What the name of a column of codes begins with."""
_SHOWN = 30
_CODES = ((pl.UInt8, 8), (pl.UInt16, 16), (pl.UInt32, 32))


def collected(frame: pl.LazyFrame) -> pl.DataFrame:
    """The rows. Raises SpecError where a file turns out to be damaged or to differ from the others."""
    try:
        return frame.collect()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise _unreadable(error) from error


def batches(frame: pl.LazyFrame) -> Iterator[pl.DataFrame]:
    """The rows, some at a time, after a frame without any. Raises SpecError as `collected` does."""
    try:
        yield pl.DataFrame(schema=frame.collect_schema())
        yield from frame.collect_batches(chunk_size=PART_ROWS, maintain_order=True, engine="streaming")
    except (pl.exceptions.PolarsError, OSError) as error:
        raise _unreadable(error) from error


def _unreadable(error: Exception) -> SpecError:
    mend = encrypted(error) or "Write its file again."
    return SpecError([f"The table cannot be read to its end: {first_line(error)}. {mend}"])


def encrypted(error: Exception) -> str:
    """What to do about a file that is encrypted, where that is the error; else ""."""
    if "encrypt" not in str(error).lower():
        return ""
    return "The file is encrypted, and scorer takes no key: write a copy of it that is not, and give that."


def first_line(error: Exception) -> str:
    return str(error).splitlines()[0].rstrip(".")


class NumbersRead:
    """What is seen of a column of numbers while it is read."""

    def __init__(self, name: str, kind: pl.DataType) -> None:
        self._name, self._kind = name, kind
        self._infinite, self._odd = 0, 0
        self._peak: float | None = None
        self._example = ""

    def read(self, given: pl.Series) -> pl.Series:
        """The numbers, null for NaN, in as narrow a type as holds them."""
        texts = given.cast(pl.String).str.strip_chars() if self._kind in TEXTS else None
        found = (given if texts is None else texts).cast(pl.Float64, strict=False).fill_nan(None)
        self._infinite += int(found.is_infinite().sum() or 0)
        peak = found.abs().max()
        if isinstance(peak, float):
            self._peak = max(peak, self._peak or 0.0)
        if texts is not None:
            odd = given.cast(pl.String).filter(found.is_null() & (texts.str.to_lowercase() != "nan"))
            self._example = str(odd[0]) if len(odd) and not self._odd else self._example
            self._odd += len(odd)
        return narrow(found)

    def wild(self, largest: float) -> Iterator[str]:
        """A sentence where numbers are infinite, or too large or small for sums in float64."""
        if self._infinite:
            yield f"Column {self._name} is infinite in {self._infinite} rows; make them null or finite."
        elif self._peak is not None and not (self._peak == 0 or 1 / largest <= self._peak <= largest):
            yield (
                f"Column {self._name} reaches {self._peak:g}, too close to the ends of float64 for sums: multiply it "
                "by a constant."
            )

    def no_number(self, rows: int) -> Iterator[str]:
        """A sentence where texts are no numbers."""
        if self._odd:
            shown = self._example if len(self._example) <= _SHOWN else self._example[:_SHOWN] + "..."
            yield (
                f"Column {self._name} holds {self._kind}, not numbers, such as {shown!r} in {self._odd} of {rows} "
                "rows; give a numeric column, or map its labels to numbers first."
            )


class NamesRead:
    """What is seen of a column to group by while it is read."""

    def __init__(self, name: str, kind: pl.DataType) -> None:
        self._name, self._kind = name, kind
        self._texts = pl.Categorical(pl.Categories.random()) if kind in (pl.String, pl.Categorical) else None
        self._nulls, self._met = 0, 0
        # Polars forgets the texts of categories that no series has.
        self._held = None if self._texts is None else pl.Series([], dtype=self._texts)
        self._distinct = pl.Series(name, [], kind)
        self._place = pl.Series([], dtype=pl.UInt32)

    def read(self, given: pl.Series) -> pl.Series:
        """The values; of texts the number of each in the order in which they were met."""
        if self._texts is not None:
            given = given.cast(pl.String).cast(self._texts).to_physical()
            most = given.max()
            self._met = max(self._met, 1 + most) if isinstance(most, int) else self._met
        elif self._kind == pl.Enum:
            given = given.to_physical()
        elif given.dtype.is_float():
            given = given.fill_nan(None)
        self._nulls += given.null_count()
        return given.rename(CODE + self._name)

    def missing(self) -> Iterator[str]:
        """A sentence where a row has no value."""
        if self._nulls:
            yield (
                f"Column {self._name} is null in {self._nulls} rows; every row needs its {self._name} to be grouped by "
                "it."
            )

    def distinct(self, rows: Packed) -> pl.Series:
        """The distinct values of all rows that were read, in their order."""
        if self._texts is not None:
            met = pl.Series(range(self._met), dtype=pl.UInt32)
            values = met.cat.to(self._texts).cast(pl.String)
        else:
            code = pl.col(CODE + self._name)
            met = rows.lazy.select(code.drop_nulls().unique()).collect(engine="streaming").to_series()
            values = met.cat.to(self._kind) if self._kind == pl.Enum else met
        order = values.arg_sort()
        self._distinct = values.gather(order).rename(self._name)
        if self._texts is not None or self._kind == pl.Enum:
            codes = met.gather(order).to_numpy()
            place = np.zeros(int(codes.max(initial=0)) + 1, dtype=np.uint32)
            place[codes] = np.arange(len(order), dtype=np.uint32)
            self._place = pl.Series(place)
        return self._distinct

    def coded(self, rows: pl.DataFrame) -> pl.Series:
        """The place of each row's value among the distinct ones; null where it has none."""
        name = CODE + self._name
        kind = next(kind for kind, bits in _CODES if len(self._distinct) <= 2**bits)
        if not rows.height:
            return pl.Series(name, [], kind)
        given = rows[name]
        if len(self._place) or not len(self._distinct):
            places = self._place.gather(given)
        else:
            found = self._distinct.search_sorted(given)
            places = pl.select(pl.when(given.is_not_null()).then(found)).to_series()
        return places.cast(kind).rename(name)
