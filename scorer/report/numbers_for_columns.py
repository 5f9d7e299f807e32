"""Says what an option takes that was given a number instead of a column's name, and which columns fit it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import polars as pl

from scorer.analysis.reading import TEXTS
from scorer.output.schema import RESULT_COLUMNS

_NUMBER = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?%?")
_MOST = 12
"""So many columns are listed."""


def _numeric(kind: pl.DataType) -> bool:
    return kind.is_numeric() or kind == pl.Boolean


def _text(kind: pl.DataType) -> bool:
    return kind in TEXTS


def may_be_name(kind: pl.DataType) -> bool:
    """Whether rows can be grouped by a column of this type, and its values be written as texts."""
    return not (kind.is_nested() or kind in (pl.Binary, pl.Duration, pl.Object))


_TAKES: Mapping[str, tuple[str, Callable[[pl.DataType], bool]]] = {
    "score": ("the column of scores", _numeric),
    "human": ("the column of human values", _numeric),
    "item": ("the column that names the item", may_be_name),
    "system": ("the column that names the system", may_be_name),
    "task": ("the column that names the task", may_be_name),
    "response": ("the column of the text that was judged", _text),
    "reference": ("the column of the reference answer", _text),
}


def number_for_column(schema: pl.Schema, role: str, given: str, option: str, rows_option: str) -> str | None:
    """A sentence where `given` is a number and no column of the table; None else.

    `option` is how the command names the role, `rows_option` its option for a number of rows, "" where it has none.
    """
    if given in schema or _NUMBER.fullmatch(given) is None:
        return None
    takes, fits = _TAKES[role]
    rows = f", and {rows_option} the number of rows" if rows_option else ""
    of_judge = {name for name in schema if name in RESULT_COLUMNS or name.startswith("score_")}
    if role == "score":
        of_judge -= {name for name in schema if name.startswith("score")}
    names = [name for name, kind in schema.items() if fits(kind) and name not in of_judge]
    if not names:
        return f"{option} {given}: {option} takes {takes}{rows}. The input has no column that could be it."
    listed = ", ".join(names[:_MOST]) + (f" and {len(names) - _MOST} more" if len(names) > _MOST else "")
    return f"{option} {given}: {option} takes {takes}{rows}. Columns that may be it: {listed}."
