"""Human labels from a file of their own: read from CSV or Parquet, and joined to the rows of a table by key columns."""

from __future__ import annotations

import gzip
import io
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from scorer.analysis.columns import require
from scorer.analysis.label_design import DESIGN, design_column
from scorer.analysis.label_keys import key_name, match_keys, written_as_text
from scorer.analysis.open_table import open_table
from scorer.analysis.reading import TEXTS, collected, first_line
from scorer.errors import SpecError, StorageError
from scorer.files.files import read
from scorer.files.router import AnyFiles

KEYS = ("shard", "row")
"""The columns that name a row of a run."""


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
            [f"{name} cannot be read as CSV: {first_line(error)}. Write it in UTF-8, with a header."]
        ) from error
    schema = like.collect_schema()
    typed = [name for name in on if name in schema and not (schema[name] in TEXTS or written_as_text(schema[name]))]
    keys = [name for name in typed if name in frame.columns and not schema[name].is_nested()]
    return frame.lazy().with_columns(pl.col(name).str.strip_chars().cast(schema[name], strict=False) for name in keys)


def keys_of(labels: str | Path, frame: pl.LazyFrame) -> list[str]:
    """The columns by which a file of labels is joined where none are named: shard and row, where both tables have them.

    Raises SpecError where they do not.
    """
    known = frame.collect_schema().names()
    columns = open_labels(labels, frame, ()).collect_schema().names()
    if all(name in known and name in columns for name in KEYS):
        return list(KEYS)
    raise SpecError(
        [
            f"--on is missing: {labels} and the table do not both have the columns shard and row, as a file of scorer "
            "label and an output folder have. Say which columns find a row's label."
        ]
    )


def join_labels(
    frame: pl.LazyFrame, labels: pl.LazyFrame, on: Sequence[str], human: Sequence[str], *, design: bool = False
) -> pl.LazyFrame:
    """The frame with the label columns `human` beside each row whose `on` columns are equal; null where none is.

    With `design` the columns that say how the rows were drawn, too, where the labels have them.

    Keys are compared as label_keys.py says; a label whose key is null belongs to no row.
    Raises SpecError where a column is missing or of another type, a key is labelled twice, no row finds a label, or the
    frame has a column of that name already.
    """
    left, right = frame.collect_schema(), labels.collect_schema()
    require(left, on, "the table")
    require(right, [*on, *human], "the labels file")
    of_table, of_labels = match_keys(left, right, on)
    problems = [
        f"Column {name} is in the table and in the labels file; rename one of them." for name in human if name in left
    ]
    if problems:
        raise SpecError(problems)
    keys = [key_name(name) for name in on]
    drawn = {name: design_column(name) for name in DESIGN if design and name in right and name not in human}
    wanted = labels.drop_nulls(on).select(
        *of_labels,
        *human,
        *(pl.col(name).alias(column) for name, column in drawn.items()),
    )
    twice = collected(wanted.group_by(keys).len().filter(pl.col("len") > 1).sort(keys).limit(1))
    if len(twice):
        *key, times = twice.row(0)
        raise SpecError([f"The labels file holds {times} rows with {_pair(on, key)}; a label must be unique by --on."])
    keyed = frame.with_columns(of_table)
    if collected(keyed.join(wanted, on=keys, how="semi").select(pl.len())).item() == 0:
        raise SpecError([f"No row of the table finds a label: no value of {', '.join(on)} is in both."])
    return keyed.join(wanted, on=keys, how="left", maintain_order="left").drop(keys)


def _pair(names: Sequence[str], values: Sequence[object]) -> str:
    return ", ".join(f"{name} = {value!r}" for name, value in zip(names, values, strict=True))
