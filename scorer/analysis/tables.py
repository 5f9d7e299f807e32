"""Tables to ask questions of: opened by name, labels joined on, columns taken out as numbers and codes.

Everything a user can get wrong about a table is found here and told as a SpecError; no statistic checks its input.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from scorer.analysis.correlation import Codes, Floats
from scorer.errors import SpecError


def open_table(table: str | Path) -> pl.LazyFrame:
    """The rows of a Parquet file, of a glob of them, or of an OUT folder joined with its input.

    Of an OUT folder: everything finished so far, each row once. URIs (s3://, gs://, az://) name files or globs.
    Raises SpecError where there is nothing to read or it is no Parquet.
    """
    name = str(table)
    path = Path(name)
    if path.is_dir():
        if not (path / "run.json").is_file():
            raise SpecError(
                [f"{name} is a folder without run.json, so no OUT folder; give its files as {name}/*.parquet."]
            )
        import scorer  # the front door imports the engine, which only an OUT folder needs

        frame: pl.LazyFrame = scorer.scan_scores(name, join_input=True)
        return frame
    is_glob = any(mark in name for mark in "*?[")
    if not is_glob and "://" not in name and not path.is_file():
        raise SpecError([f"{name} is not there; give a Parquet file, a glob of them or an OUT folder."])
    try:
        frame = pl.scan_parquet(name)
        frame.collect_schema()
    except (pl.exceptions.PolarsError, OSError) as error:
        what = "matches no file" if is_glob else "cannot be read as Parquet"
        raise SpecError([f"{name} {what}: {str(error).splitlines()[0]}"]) from error
    return frame


def join_labels(frame: pl.LazyFrame, labels: pl.LazyFrame, on: Sequence[str], human: Sequence[str]) -> pl.LazyFrame:
    """The frame with the label columns `human` beside each row whose `on` columns are equal; null where none is.

    Raises SpecError where a column is missing or of another type, a key is labelled twice, no row finds a label, or the
    frame has a column of that name already.
    """
    left, right = frame.collect_schema(), labels.collect_schema()
    require(left, on, "the table")
    require(right, [*on, *human], "the labels file")
    problems = [
        f"Column {name} is {left[name]} in the table and {right[name]} in the labels file; give both one type."
        for name in on
        if left[name] != right[name]
    ]
    problems += [
        f"Column {name} is in the table and in the labels file; rename one of them." for name in human if name in left
    ]
    if problems:
        raise SpecError(problems)
    wanted = labels.select(*on, *human)
    keys = wanted.group_by(on).len()
    twice = keys.filter(pl.col("len") > 1).select(*on, "len").limit(1).collect()
    if len(twice):
        *key, times = twice.row(0)
        raise SpecError([f"The labels file holds {times} rows with {_pair(on, key)}; a label must be unique by --on."])
    if frame.join(wanted, on=on, how="semi").select(pl.len()).collect().item() == 0:
        raise SpecError([f"No row of the table finds a label: no value of {', '.join(on)} is in both."])
    return frame.join(wanted, on=on, how="left", maintain_order="left")


def require(schema: pl.Schema, names: Iterable[str], where: str = "the table") -> None:
    """Raises SpecError with a sentence for each missing column and what it might have meant."""
    problems = []
    for name in dict.fromkeys(names):
        if name in schema:
            continue
        close = difflib.get_close_matches(name, schema.names(), n=3)
        meant = f"did you mean {' or '.join(close)}?" if close else f"there are {', '.join(schema.names())}."
        problems.append(f"Column {name} is not in {where}; {meant}")
    if problems:
        raise SpecError(problems)


@dataclass(frozen=True, slots=True)
class Columns:
    """Columns taken out of a table: `numbers` as float64, a missing number as null; `names` to group by, never null."""

    numbers: pl.DataFrame
    names: pl.DataFrame

    def floats(self, name: str) -> Floats:
        """A column of numbers, null as NaN."""
        return self.numbers[name].fill_null(float("nan")).to_numpy().astype(np.float64)

    def codes(self, *names: str) -> tuple[Codes, list[str]]:
        """Each row's number among the distinct values of the columns in their order, and these values as text."""
        code = self.names.select(pl.struct(names).rank("dense").cast(pl.Int64) - 1).to_series()
        distinct = self.names.select(names).with_columns(code.alias("\0code")).unique("\0code").sort("\0code")
        texts = [" / ".join(map(str, values[:-1])) for values in distinct.iter_rows()]
        return code.to_numpy().astype(np.int64), texts


def take(frame: pl.LazyFrame, numbers: Sequence[str], names: Sequence[str] = ()) -> Columns:
    """The columns asked for; NaN counts as null.

    Raises SpecError for a missing column, a column of numbers that holds none, an infinite number, a null name.
    """
    schema = frame.collect_schema()
    require(schema, [*numbers, *names])
    problems = [
        f"Column {name} holds {schema[name]}, not numbers; give a numeric column, or map its labels to numbers first."
        for name in dict.fromkeys(numbers)
        if not (schema[name].is_numeric() or schema[name] in (pl.Boolean, pl.Null))
    ]
    if problems:
        raise SpecError(problems)
    taken = frame.select(*dict.fromkeys([*numbers, *names])).collect()
    columns = Columns(
        numbers=taken.select(pl.col(name).cast(pl.Float64).fill_nan(None) for name in dict.fromkeys(numbers)),
        names=taken.select(*dict.fromkeys(names)),
    )
    problems = [
        f"Column {column.name} is infinite in {infinite} rows; make them null or finite."
        for column in columns.numbers
        if (infinite := column.is_infinite().sum())
    ] + [
        f"Column {column.name} is null in {nulls} rows; every row needs its {column.name} to be grouped by it."
        for column in columns.names
        if (nulls := column.null_count())
    ]
    if problems:
        raise SpecError(problems)
    return columns


def codes_or_rows(columns: Columns, name: str | None) -> Codes:
    """The codes of a column; without one each row is by itself."""
    return columns.codes(name)[0] if name else np.arange(len(columns.numbers), dtype=np.int64)


def compact(code: NDArray[np.int64]) -> tuple[Codes, Codes]:
    """The codes numbered anew from 0 without gaps, and the old code of each new one."""
    old, new = np.unique(code, return_inverse=True)
    return new.astype(np.int64), old


def _pair(names: Sequence[str], values: Sequence[object]) -> str:
    return ", ".join(f"{name} = {value!r}" for name, value in zip(names, values, strict=True))
