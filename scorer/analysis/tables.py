"""Input tables of the analysis: opened by name, labels joined, columns as numbers and codes.

Everything a user can get wrong about a table is found here and told as a SpecError; no statistic checks its input.
"""

from __future__ import annotations

import difflib
import gzip
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from scorer.analysis.correlation import Codes, Floats
from scorer.config.out_folder import STDIN, folder_of
from scorer.errors import SpecError, StorageError
from scorer.files.files import read
from scorer.files.router import SCHEMES, AnyFiles, scan_options

_SHOWN = 30
_TEXTS = (pl.String, pl.Categorical, pl.Enum)
LARGEST = 1e150
"""Sums of squares of numbers up to it, and down to its inverse, are to be had in float64."""


def open_table(table: str | Path) -> pl.LazyFrame:
    """The rows of a Parquet file, of a folder or a glob of them, or of an OUT folder joined with its input.

    Of an OUT folder: everything finished so far, each row once. Of several files: their rows in the order of their
    paths; a column that some lack is null there, and numbers of several types become one that holds them all. URIs
    (s3://, gs://, az://) name files or globs. A run file (.toml) stands for its output folder.
    Raises SpecError where there is nothing to read, it is no Parquet, or the files' columns do not fit together.
    """
    name = str(table)
    path = Path(name)
    places = AnyFiles()
    remote = name.partition("://")[0] in SCHEMES
    if (out := out_folder(name)) is not None:
        import scorer  # the front door imports the engine, which only an OUT folder needs

        frame: pl.LazyFrame = scorer.scan_scores(out, join_input=True)
        return frame
    if "://" in name and not remote:
        return _scanned(name, [name], glob=True)
    found = [stat.path for stat in places.find([name])]
    if not found:
        what = "holds no run.json and no Parquet file" if path.is_dir() else "is not there"
        if any(mark in name for mark in "*?[") and not path.is_dir():
            what = "matches no file"
        raise SpecError([f"{name} {what}; give a Parquet file, a folder or a glob of them, or an OUT folder."])
    return _scanned(name, found, glob=False)


def out_folder(table: str) -> str | None:
    """The output folder that `table` names, also by a run file; None for a table of another kind."""
    if table == STDIN or table.endswith(".toml"):
        return folder_of(table)
    if Path(table).is_dir():
        return table if Path(table, "run.json").is_file() else None
    remote = table.partition("://")[0] in SCHEMES
    plain = not any(mark in table for mark in "*?[") and not table.endswith(".parquet")
    return table if remote and plain and AnyFiles().find([f"{table.rstrip('/')}/run.json"]) else None


def _scanned(name: str, paths: Sequence[str], *, glob: bool) -> pl.LazyFrame:
    scans, schemas = [], []
    for path in paths:
        scan = pl.scan_parquet(path, glob=glob, **scan_options(path))
        try:
            schemas.append(scan.collect_schema())
        except (pl.exceptions.PolarsError, OSError) as error:
            raise SpecError([f"{path} cannot be read as Parquet: {_first_line(error)}."]) from error
        scans.append(scan)
    if all(schema == schemas[0] for schema in schemas):
        return scans[0] if len(scans) == 1 else _scan_all(list(paths))
    frame = pl.concat(scans, how="diagonal_relaxed")
    try:
        frame.collect_schema()
    except pl.exceptions.PolarsError as error:
        raise SpecError(
            [f"The {len(paths)} files of {name} do not fit together: {_first_line(error)}. Give them one by one."]
        ) from error
    return frame


def _scan_all(paths: list[str]) -> pl.LazyFrame:
    return pl.scan_parquet(paths, glob=False, **scan_options(paths[0]))


def open_labels(labels: str | Path, like: pl.LazyFrame, on: Sequence[str]) -> pl.LazyFrame:
    """The rows of a table of labels: of Parquet as `open_table` has them, or of a CSV file.

    The cells of a CSV (.csv, .tsv, also gzipped; commas, semicolons or tabs) are texts, an empty one null; its columns
    `on` get the types that they have in the table `like`, and a cell that is no such value is null.
    Raises SpecError as `open_table` does, and for a CSV that cannot be read.
    """
    name = str(labels)
    if not name.lower().removesuffix(".gz").endswith((".csv", ".tsv")):
        return open_table(labels)
    try:
        data = read(AnyFiles(), name)
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
        head = data.partition(b"\n")[0]
        marks = {mark: head.count(mark) for mark in (b",", b";", b"\t")}
        separator = max(marks, key=lambda mark: marks[mark]).decode()
        frame = pl.read_csv(io.BytesIO(data), separator=separator, infer_schema=False)
    except FileNotFoundError:
        raise SpecError([f"{name} is not there; give a table of labels: CSV or Parquet."]) from None
    except (pl.exceptions.PolarsError, OSError, EOFError, StorageError) as error:
        raise SpecError(
            [f"{name} cannot be read as CSV: {_first_line(error)}. Write it in UTF-8, with a header."]
        ) from error
    schema = like.collect_schema()
    keys = [name for name in on if name in frame.columns and name in schema and schema[name] not in _TEXTS]
    return frame.lazy().with_columns(pl.col(name).str.strip_chars().cast(schema[name], strict=False) for name in keys)


def join_labels(frame: pl.LazyFrame, labels: pl.LazyFrame, on: Sequence[str], human: Sequence[str]) -> pl.LazyFrame:
    """The frame with the label columns `human` beside each row whose `on` columns are equal; null where none is.

    Keys of one kind (texts and categories, whole numbers of any width) are compared by their value; a label whose key
    is null belongs to no row.
    Raises SpecError where a column is missing or of another type, a key is labelled twice, no row finds a label, or the
    frame has a column of that name already.
    """
    left, right = frame.collect_schema(), labels.collect_schema()
    require(left, on, "the table")
    require(right, [*on, *human], "the labels file")
    problems = [
        f"Column {name} is {left[name]} in the table and {right[name]} in the labels file; give both one type."
        for name in on
        if _kind(left[name]) != _kind(right[name])
    ]
    problems += [
        f"Column {name} is in the table and in the labels file; rename one of them." for name in human if name in left
    ]
    if problems:
        raise SpecError(problems)
    keys = [f"\0{name}" for name in on]
    wanted = labels.drop_nulls(on).select(
        *(pl.col(name).cast(_kind(right[name])).alias(key) for name, key in zip(on, keys, strict=True)), *human
    )
    twice = collected(wanted.group_by(keys).len().filter(pl.col("len") > 1).sort(keys).limit(1))
    if len(twice):
        *key, times = twice.row(0)
        raise SpecError([f"The labels file holds {times} rows with {_pair(on, key)}; a label must be unique by --on."])
    keyed = frame.with_columns(
        pl.col(name).cast(_kind(left[name])).alias(key) for name, key in zip(on, keys, strict=True)
    )
    if collected(keyed.join(wanted, on=keys, how="semi").select(pl.len())).item() == 0:
        raise SpecError([f"No row of the table finds a label: no value of {', '.join(on)} is in both."])
    return keyed.join(wanted, on=keys, how="left", maintain_order="left").drop(keys)


def _kind(dtype: pl.DataType) -> pl.DataType:
    """The type in which a key is compared."""
    if dtype in (pl.String, pl.Categorical, pl.Enum):
        return pl.String()
    return pl.Int128() if dtype.is_integer() else dtype


def collected(frame: pl.LazyFrame) -> pl.DataFrame:
    """The rows. Raises SpecError where a file turns out to be damaged or to differ from the others."""
    try:
        return frame.collect()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise SpecError(
            [f"The table cannot be read to its end: {_first_line(error)}. Write its file again."]
        ) from error


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
        if not (schema[name].is_numeric() or schema[name] in (pl.Boolean, pl.Null, *_TEXTS))
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
    if column.dtype in _TEXTS:
        column = column.cast(pl.String).str.strip_chars()
    return column.cast(pl.Float64, strict=False).fill_nan(None)


def _no_number(given: pl.Series, read: pl.Series) -> Iterator[str]:
    """A sentence where texts are no numbers."""
    odd = given.filter(given.is_not_null() & read.is_null()) if given.dtype in _TEXTS else given.clear()
    odd = odd.filter(odd.cast(pl.String).str.strip_chars().str.to_lowercase() != "nan") if len(odd) else odd
    if len(odd):
        example = odd[0] if len(odd[0]) <= _SHOWN else odd[0][:_SHOWN] + "..."
        yield (
            f"Column {given.name} holds {given.dtype}, not numbers, such as {example!r} in {len(odd)} of {len(given)} "
            "rows; give a numeric column, or map its labels to numbers first."
        )


def _wild(column: pl.Series, largest: float) -> Iterator[str]:
    """A sentence where numbers are infinite, or so large or small that sums over them are not to be had."""
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
    """Which rows of a result table have no score since they had nothing to judge (BadRow), and which are pending.

    In a table of another kind, which says nothing of errors or of when a row was finished, none.
    """
    schema = frame.collect_schema()
    bad = pending = pl.lit(False)
    if schema.get("error") in _TEXTS:
        bad = pl.col(score).is_null() & (pl.col("error").cast(pl.String) == "BadRow").fill_null(False)
        if "finished_at" in schema:
            pending = pl.col("finished_at").is_null()
    found = collected(frame.select(pl.col(score), bad=bad, pending=pending))
    return found["bad"].to_numpy(), found["pending"].to_numpy()


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


def _pair(names: Sequence[str], values: Sequence[object]) -> str:
    return ", ".join(f"{name} = {value!r}" for name, value in zip(names, values, strict=True))


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0].rstrip(".")
