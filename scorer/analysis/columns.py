"""Columns of a table as numbers and codes; what is wrong with one is a SpecError, so no statistic checks its input."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from scorer.analysis.correlation import Codes, Floats
from scorer.analysis.packed import Packed
from scorer.analysis.reading import CODE, TEXTS, NamesRead, NumbersRead, batches, collected
from scorer.errors import SpecError

LARGEST = 1e150
"""Sums of squares of numbers up to it, and down to its inverse, are exact enough in float64."""


def require(schema: pl.Schema, names: Iterable[str], where: str = "the table") -> None:
    """Raises SpecError with a sentence for each missing column and what it might have meant."""
    if problems := missing_columns(schema, names, where):
        raise SpecError(problems)


def missing_columns(schema: pl.Schema, names: Iterable[str], where: str = "the table") -> list[str]:
    """A sentence for each column that is not there and what it might have meant; one for all that resemble none."""
    missing = [name for name in dict.fromkeys(names) if name not in schema]
    if not missing:
        return []
    from scorer.inputs.column_paths import split  # loads pyarrow, which a plain table does without

    within = {name: root for name in missing if (root := split(name, tuple(schema.names()))[0]) != name}
    problems = [
        f"Column {name} is not in {where}: it would be a value within {root}, and analyses take whole columns. "
        "Write it as a column of its own."
        for name, root in within.items()
    ]
    missing = [name for name in missing if name not in within]
    close = {name: difflib.get_close_matches(name, schema.names(), n=3) for name in missing}
    problems += [
        f"Column {name} is not in {where}; did you mean {' or '.join(meant)}?" for name, meant in close.items() if meant
    ]
    if unlike := [name for name in missing if not close[name]]:
        which = f"Column {unlike[0]} is" if len(unlike) == 1 else f"Columns {', '.join(unlike)} are"
        problems.append(f"{which} not in {where}; there are {', '.join(schema.names())}.")
    return problems


@dataclass(frozen=True)
class Columns:
    """Columns taken out of a table: numbers, a missing number as null, and the codes of `names` to group by.

    A code is a row's place among the distinct values of a column in their order, which `values` has; no row lacks one.
    """

    rows: Packed
    values: Mapping[str, pl.Series]

    def floats(self, name: str) -> Floats:
        """A column of numbers, null as NaN."""
        return _floats(self.rows.column(name))

    def numbers(self, name: str) -> pl.Series:
        """A column of numbers as float64."""
        return self.rows.column(name).cast(pl.Float64)

    def names(self, name: str) -> pl.Series:
        """A column to group by, with its values."""
        return self.values[name].gather(self.rows.column(CODE + name)).rename(name)

    def coded(self, name: str | None) -> Codes:
        """The codes of a column; without one each row is by itself."""
        if name is None:
            return np.arange(self.rows.height, dtype=np.int64)
        return self.rows.column(CODE + name).to_numpy().astype(np.int64)

    def texts(self, name: str) -> list[str]:
        """The values of a column to group by as texts, by their codes."""
        return list(map(str, self.values[name]))

    def codes(self, *names: str) -> tuple[Codes, list[str]]:
        """Each row's number among the distinct values of the columns in their order, and these values as text."""
        if len(names) == 1:
            return self.coded(names[0]), self.texts(names[0])
        code = np.zeros(self.rows.height, dtype=np.int64)
        for name in names:
            code = code * len(self.values[name]) + self.coded(name)
        code, kept = compact(code)
        sizes = [len(self.values[name]) for name in names]
        places = np.unravel_index(kept, sizes)
        parts = [self.values[name].gather(at).to_list() for name, at in zip(names, places, strict=True)]
        return code, [" / ".join(map(str, values)) for values in zip(*parts, strict=True)]

    def parts(self, numbers: Sequence[str], names: Sequence[str | None]) -> Iterator[tuple[list[Floats], list[Codes]]]:
        """`floats` of some columns and `coded` of others, some rows at a time."""
        read = [*dict.fromkeys([*numbers, *(CODE + name for name in names if name is not None)])]
        first = 0
        for frame in self.rows.frames(read or None):
            row = np.arange(first, first + frame.height, dtype=np.int64)
            first += frame.height
            yield (
                [_floats(frame[name]) for name in numbers],
                [row if name is None else frame[CODE + name].to_numpy().astype(np.int64) for name in names],
            )


def _floats(column: pl.Series) -> Floats:
    return column.fill_null(float("nan")).to_numpy().astype(np.float64)


def take(
    frame: pl.LazyFrame, numbers: Sequence[str], names: Sequence[str] = (), *, largest: float = LARGEST
) -> Columns:
    """The columns asked for; NaN counts as null. Texts that all are numbers, as in "4" or " 4.5", are numbers.

    They are read some rows at a time. Raises SpecError for a missing column, a column of numbers that holds none, a
    number that is infinite, beyond `largest`, or all within its inverse, a column to group by that holds lists or the
    like, a null name.
    """
    schema = frame.collect_schema()
    require(schema, [*numbers, *names])
    numbers, names = list(dict.fromkeys(numbers)), list(dict.fromkeys(names))
    problems = [
        f"Column {name} holds {schema[name]}, not numbers; give a numeric column, or map its labels to numbers first."
        for name in numbers
        if not (schema[name].is_numeric() or schema[name] in (pl.Boolean, pl.Null, *TEXTS))
    ] + [
        f"Column {name} holds {schema[name]}; rows are grouped by plain values: texts, whole numbers, dates."
        for name in names
        if schema[name].is_nested() or schema[name] == pl.Object
    ]
    if problems:
        raise SpecError(problems)
    seen = {name: NumbersRead(name, schema[name]) for name in numbers}
    groups = {name: NamesRead(name, schema[name]) for name in names}
    wanted = frame.select(*dict.fromkeys([*numbers, *names]))
    rows = Packed(
        pl.DataFrame(
            [
                *(one.read(part[name]) for name, one in seen.items()),
                *(one.read(part[name]) for name, one in groups.items()),
            ]
        )
        for part in batches(wanted)
    )
    problems = [
        *(problem for one in seen.values() for problem in one.wild(largest)),
        *(problem for one in seen.values() for problem in one.no_number(rows.height)),
        *(problem for one in groups.values() for problem in one.missing()),
    ]
    if problems:
        raise SpecError(problems)
    distinct = {name: one.distinct(rows) for name, one in groups.items()}
    coded = Packed(part.with_columns(one.coded(part) for one in groups.values()) for part in rows.frames())
    return Columns(coded, distinct)


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


def compact(code: NDArray[np.int64]) -> tuple[Codes, Codes]:
    """The codes numbered anew from 0 without gaps, and the old code of each new one."""
    old, new = np.unique(code, return_inverse=True)
    return new.astype(np.int64), old
