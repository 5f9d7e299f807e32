"""Columns of a table as numbers and codes; what is wrong with one is a SpecError, so no statistic checks its input."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from scorer.analysis.correlation import Codes, Floats
from scorer.errors import SpecError

_SHOWN = 30
TEXTS = (pl.String, pl.Categorical, pl.Enum)
LARGEST = 1e150
"""Sums of squares of numbers up to it, and down to its inverse, are exact enough in float64."""


def collected(frame: pl.LazyFrame) -> pl.DataFrame:
    """The rows. Raises SpecError where a file turns out to be damaged or to differ from the others."""
    try:
        return frame.collect()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise SpecError([f"The table cannot be read to its end: {first_line(error)}. Write its file again."]) from error


def require(schema: pl.Schema, names: Iterable[str], where: str = "the table") -> None:
    """Raises SpecError with a sentence for each missing column and what it might have meant."""
    if problems := missing_columns(schema, names, where):
        raise SpecError(problems)


def missing_columns(schema: pl.Schema, names: Iterable[str], where: str = "the table") -> list[str]:
    """A sentence for each column that is not there and what it might have meant; one for all that resemble none."""
    missing = [name for name in dict.fromkeys(names) if name not in schema]
    close = {name: difflib.get_close_matches(name, schema.names(), n=3) for name in missing}
    problems = [
        f"Column {name} is not in {where}; did you mean {' or '.join(meant)}?" for name, meant in close.items() if meant
    ]
    if unlike := [name for name in missing if not close[name]]:
        which = f"Column {unlike[0]} is" if len(unlike) == 1 else f"Columns {', '.join(unlike)} are"
        problems.append(f"{which} not in {where}; there are {', '.join(schema.names())}.")
    return problems


@dataclass(frozen=True, slots=True)
class Columns:
    """Columns taken out of a table: `numbers` as float64, a missing number as null; `names` to group by, never null."""

    numbers: pl.DataFrame
    names: pl.DataFrame

    def floats(self, name: str) -> Floats:
        """A column of numbers, null as NaN."""
        return self.numbers[name].fill_null(float("nan")).to_numpy().astype(np.float64, copy=False)

    def codes(self, *names: str) -> tuple[Codes, list[str]]:
        """Each row's number among the distinct values of the columns in their order, and these values as text."""
        value = pl.col(names[0]) if len(names) == 1 else pl.struct(names)
        code = self.names.select(value.rank("dense").cast(pl.Int64) - 1).to_series()
        distinct = self.names.select(names).with_columns(code.alias("\0code")).unique("\0code").sort("\0code")
        texts = [" / ".join(map(str, values[:-1])) for values in distinct.iter_rows()]
        return code.to_numpy().astype(np.int64, copy=False), texts


def take(
    frame: pl.LazyFrame, numbers: Sequence[str], names: Sequence[str] = (), *, largest: float = LARGEST
) -> Columns:
    """The columns asked for; NaN counts as null. Texts that all are numbers, as in "4" or " 4.5", are numbers.

    Raises SpecError for a missing column, a column of numbers that holds none, a number that is infinite, beyond
    `largest`, or all within its inverse, a column to group by that holds lists or the like, a null name.
    """
    schema = frame.collect_schema()
    require(schema, [*numbers, *names])
    problems = [
        f"Column {name} holds {schema[name]}, not numbers; give a numeric column, or map its labels to numbers first."
        for name in dict.fromkeys(numbers)
        if not (schema[name].is_numeric() or schema[name] in (pl.Boolean, pl.Null, *TEXTS))
    ] + [
        f"Column {name} holds {schema[name]}; rows are grouped by plain values: texts, whole numbers, dates."
        for name in dict.fromkeys(names)
        if schema[name].is_nested() or schema[name] == pl.Object
    ]
    if problems:
        raise SpecError(problems)
    taken = collected(frame.select(*dict.fromkeys([*numbers, *names])))
    columns = Columns(
        numbers=taken.select(_number(taken[name]) for name in dict.fromkeys(numbers)),
        names=taken.select(*dict.fromkeys(names)).with_columns(pl.selectors.float().fill_nan(None)),
    )
    problems = [
        *(problem for column in columns.numbers for problem in _wild(column, largest)),
        *(problem for name in columns.numbers.columns for problem in _no_number(taken[name], columns.numbers[name])),
        *(
            f"Column {column.name} is null in {nulls} rows; every row needs its {column.name} to be grouped by it."
            for column in columns.names
            if (nulls := column.null_count())
        ),
    ]
    if problems:
        raise SpecError(problems)
    return columns


def _number(column: pl.Series) -> pl.Series:
    if column.dtype in TEXTS:
        column = column.cast(pl.String).str.strip_chars()
    return column.cast(pl.Float64, strict=False).fill_nan(None)


def _no_number(given: pl.Series, read: pl.Series) -> Iterator[str]:
    """A sentence where texts are no numbers."""
    odd = given.filter(given.is_not_null() & read.is_null()) if given.dtype in TEXTS else given.clear()
    odd = odd.filter(odd.cast(pl.String).str.strip_chars().str.to_lowercase() != "nan") if len(odd) else odd
    if len(odd):
        example = odd[0] if len(odd[0]) <= _SHOWN else odd[0][:_SHOWN] + "..."
        yield (
            f"Column {given.name} holds {given.dtype}, not numbers, such as {example!r} in {len(odd)} of {len(given)} "
            "rows; give a numeric column, or map its labels to numbers first."
        )


def _wild(column: pl.Series, largest: float) -> Iterator[str]:
    """A sentence where numbers are infinite, or too large or small for sums in float64."""
    if infinite := column.is_infinite().sum():
        yield f"Column {column.name} is infinite in {infinite} rows; make them null or finite."
        return
    peak = column.abs().max()
    if isinstance(peak, float) and not (peak == 0 or 1 / largest <= peak <= largest):
        yield (
            f"Column {column.name} reaches {peak:g}, too close to the ends of float64 for sums: multiply it by a "
            "constant."
        )


def not_judged(frame: pl.LazyFrame, score: str) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which rows of a result table could not be judged (BadRow), and which are pending.

    In a table without these columns, none. In a table of several
    runs the columns of the score's own run count.
    """
    schema = frame.collect_schema()
    bad = pending = pl.lit(False)
    error, finished_at = (same_run(schema, score, name) for name in ("error", "finished_at"))
    if schema.get(error) in TEXTS:
        bad = pl.col(score).is_null() & (pl.col(error).cast(pl.String) == "BadRow").fill_null(False)
        if finished_at in schema:
            pending = pl.col(finished_at).is_null()
    found = collected(frame.select(pl.col(score), bad=bad, pending=pending))
    return found["bad"].to_numpy(), found["pending"].to_numpy()


def same_run(schema: pl.Schema, score: str, name: str) -> str:
    """The column `name` of the run that `score` is a column of: `<run>.<name>` where a table holds several runs."""
    parts = score.split(".")
    prefixes = (".".join(parts[:count]) for count in range(len(parts) - 1, 0, -1))
    return next((f"{prefix}.{name}" for prefix in prefixes if f"{prefix}.{name}" in schema), name)


def listed(names: Sequence[str], most: int = 3) -> str:
    """The first names with commas between, and how many more there are."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more:,} more" if more > 0 else "")


def codes_or_rows(columns: Columns, name: str | None) -> Codes:
    """The codes of a column; without one each row is by itself."""
    return columns.codes(name)[0] if name else np.arange(len(columns.numbers), dtype=np.int64)


def compact(code: NDArray[np.int64]) -> tuple[Codes, Codes]:
    """The codes numbered anew from 0 without gaps, and the old code of each new one."""
    old, new = np.unique(code, return_inverse=True)
    return new.astype(np.int64), old


def first_line(error: Exception) -> str:
    return str(error).splitlines()[0].rstrip(".")
