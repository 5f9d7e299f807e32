"""The table that an analysis is given, a path or a frame, as its rows and its score columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from scorer.analysis.open_table import open_table, score_columns
from scorer.analysis.score_range import Range, scale_of
from scorer.errors import SpecError
from scorer.frames.analysis_results import ByScore, R
from scorer.frames.as_frame import as_frame

Names = str | Sequence[str]
Table = Any
"""A path, several output folders, or a frame."""


def by_score(table: Table, score: Names, answer: Callable[[pl.LazyFrame, str, Range | None], R]) -> ByScore[R]:
    """The answer for each score column of a table; `answer` gets the rows, the column, and its scale or None."""
    frame, scores, named = opened(table, score)
    return ByScore({name: answer(frame, name, scale_of(table, name) if named else None) for name in scores})


def opened(table: Table, score: Names) -> tuple[pl.LazyFrame, list[str], bool]:
    """The rows of a table, the score columns that `score` names, and whether the table is named by a path.

    Raises SpecError.
    """
    scores = listed(score)
    if not scores:
        raise SpecError(["Give at least one score column."])
    if not is_named(table):
        return as_frame(table).lazy(), list(dict.fromkeys(scores)), False
    frame = open_table(table)
    return frame, score_columns(frame, table, scores), True


def is_named(table: Table) -> bool:
    """Whether a table is a path or several, and no frame."""
    paths = table.values() if isinstance(table, Mapping) else table if isinstance(table, list | tuple) else [table]
    return bool(paths) and all(isinstance(path, str | Path) for path in paths)


def listed(names: Names) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)
