"""Files of rows to label: CSV with the texts that the judge saw, an empty column, and how the rows were drawn."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypedDict, Unpack

import numpy as np
import orjson
import polars as pl

from scorer.analysis.columns import require
from scorer.analysis.correlation import Codes
from scorer.analysis.join_labels import KEYS, open_labels
from scorer.analysis.label_design import PICKED, RANDOM
from scorer.analysis.label_keys import key_name, key_text, match_keys, written_as_text
from scorer.analysis.label_plan import LabelPlan, label_plan
from scorer.analysis.open_table import Tables, out_folder, several_folders, single
from scorer.analysis.reading import TEXTS, collected
from scorer.analysis.row_chance import row_chance
from scorer.errors import SpecError
from scorer.files.files import Files
from scorer.files.router import AnyFiles
from scorer.report.sample_readings import stored_judges

HUMAN = "human_label"
"""The column that a person fills in: the name of the report page's labels, too."""
AGAIN = "again"
"""How a row was picked that is labelled a second time."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


class DrawOptions(TypedDict, total=False):
    """The options of `label_plan` that say which rows are drawn, and how many."""

    system: str | None
    task: str | None
    n: int | None
    within: float | None
    simple: bool
    seed: int


@dataclass(frozen=True, slots=True)
class LabelColumns:
    """Which columns name a row (`keys`), and which a person sees (`shown`)."""

    keys: Sequence[str]
    shown: Sequence[str]


def label_columns(frame: pl.LazyFrame, tables: Tables, on: Sequence[str], show: Sequence[str]) -> LabelColumns:
    """The columns asked for, else shard and row, and what the judge's prompt shows.

    Raises SpecError where a column is missing, and where the table is no output folder and they are not named.
    """
    known = frame.collect_schema()
    keys = list(on) or [name for name in KEYS if name in known]
    is_run = several_folders(tables) is not None or out_folder(single(tables)) is not None
    problems = []
    if not on and len(keys) < len(KEYS):
        problems.append(
            "--on is missing: the table has no columns shard and row. Say which columns name a row: --on id."
        )
    shown = [name for name in dict.fromkeys(show) if name not in keys]
    if not show and is_run:
        judge = next(iter(stored_judges(tables).values()))
        shown = [name for name in judge.shown if name in known and name not in keys]
        if judge.problem is not None:
            problems.append(f"{judge.problem} Say with --show which columns a person sees.")
    if not shown and not show and not problems:
        problems.append("--show is missing: say which columns a person sees, such as --show question --show response.")
    if problems:
        raise SpecError(problems)
    require(known, [*keys, *shown])
    return LabelColumns(keys, shown)


def draw_labels(
    frame: pl.LazyFrame,
    tables: Tables,
    score: str,
    output: str | None,
    *,
    show: Sequence[str] = (),
    on: Sequence[str] = (),
    human: str | None = None,
    **options: Unpack[DrawOptions],
) -> LabelPlan:
    """Draws rows to label by `scorer.analysis.label_plan`, and writes them to `output`, if it is not None.

    `human` is the column of `frame` with the labels so far. Raises SpecError as `label_plan`, `label_columns` and
    `write_label_file` do.
    """
    columns = None if output is None else label_columns(frame, tables, on, show)
    plan = label_plan(frame, score, on or KEYS, human=human, **options)
    if columns is not None and output is not None:
        so_far = None if human is None else collected(frame.select(human))[human]
        write_label_file(AnyFiles(), output, frame, columns, plan.rows, plan.design, so_far)
    return plan


def write_label_file(
    files: Files,
    path: str,
    frame: pl.LazyFrame,
    columns: LabelColumns,
    rows: Codes,
    design: pl.DataFrame,
    labels: pl.Series | None = None,
) -> None:
    """Writes the CSV: keys, texts, `human_label` (empty, or what `labels` has), and the design. Never over a file.

    A text that a spreadsheet would take for a formula begins with an apostrophe. Raises SpecError where `path` is
    there, StorageError where it cannot be written.
    """
    if not path.lower().endswith(".csv"):
        raise SpecError([f"-o {path}: rows to label are written as CSV. Name a file that ends in .csv."])
    if _is_there(files, path):
        raise SpecError(
            [f"-o {path} is there, and may hold labels. Name another file; --labels {path} takes its labels over."]
        )
    texts = _texts(frame, [*columns.keys, *columns.shown], rows)
    given = pl.Series(HUMAN, [None] * len(rows), pl.Float64) if labels is None else labels[rows].alias(HUMAN)
    table = pl.DataFrame(
        [*(_key(texts[name]) for name in columns.keys), *(_shown(texts[name]) for name in columns.shown), given]
    )
    table = table.hstack(design.get_columns()).with_columns(blind=pl.lit(1))
    data = io.BytesIO()
    table.write_csv(data)
    with files.create(path) as file:
        file.write(data.getvalue())


def rows_again(
    frame: pl.LazyFrame, labels: str, columns: LabelColumns, human: str, n: int, seed: int = 0
) -> tuple[Codes, pl.DataFrame]:
    """`n` random rows of those that a file of labels has labelled, to be labelled a second time, and their design.

    Where the file says how its rows were picked, only those drawn at random. Raises SpecError where there is none.
    """
    given = open_labels(labels, frame, columns.keys)
    require(given.collect_schema(), [*columns.keys, human], labels)
    filled = given.filter(pl.col(human).cast(pl.String).str.strip_chars().str.len_chars() > 0)
    if PICKED in given.collect_schema():
        filled = filled.filter(pl.col(PICKED).cast(pl.String) == RANDOM)
    of_table, of_labels = match_keys(frame.collect_schema(), given.collect_schema(), columns.keys)
    wanted, names = filled.select(of_labels).unique(), [key_name(name) for name in columns.keys]
    place = frame.select(columns.keys).with_row_index("\0place").with_columns(of_table)
    found = collected(place.join(wanted, on=names, how="semi"))
    if not len(found):
        raise SpecError(
            [f"--again {labels} has no label in {human} of a row of the table: there is nothing to repeat."]
        )
    chance = row_chance(found, columns.keys, seed + 1)
    drawn = found["\0place"].to_numpy()[np.argsort(chance, kind="stable")[:n]].astype(np.int64)
    return drawn, pl.DataFrame({PICKED: [AGAIN] * len(drawn)})


def _texts(frame: pl.LazyFrame, names: Sequence[str], rows: Codes) -> pl.DataFrame:
    """These columns of these rows, in their order; the texts of other rows are not kept in memory."""
    place = "\0place"
    wanted = pl.LazyFrame({place: pl.Series(rows, dtype=pl.Int64)}).with_row_index("\0order")
    numbered = frame.select(names).with_row_index(place).with_columns(pl.col(place).cast(pl.Int64))
    return collected(numbered.join(wanted, on=place).sort("\0order").select(names))


def _is_there(files: Files, path: str) -> bool:
    try:
        with files.open(path):
            return True
    except FileNotFoundError:
        return False


def _key(column: pl.Series) -> pl.Series:
    return key_text(column) if written_as_text(column.dtype) else column


def _shown(column: pl.Series) -> pl.Series:
    """The column as a person reads it: nested values as JSON, and no text that a spreadsheet would compute."""
    if column.dtype.is_nested():
        return pl.Series(column.name, [None if v is None else orjson.dumps(_plain(v)).decode() for v in column])
    if column.dtype not in (*TEXTS, pl.Binary):
        return column
    text = key_text(column)
    formula = text.str.slice(0, 1).is_in(_FORMULA)
    return pl.select(pl.when(formula).then("'" + text).otherwise(text).alias(column.name)).to_series()


def _plain(value: Any) -> Any:
    return value.to_list() if isinstance(value, pl.Series) else value
