"""The analysis commands as functions: a table or a frame in, results with a polars `frame` out.

`table` is what the commands take (a Parquet file, a folder, a glob, an output folder or its run file; several output
folders as a list or a dict by name), or a frame: polars, pandas, Arrow, a list of dicts. The other arguments are the
commands' options. `bootstrap` is the number of resamples for the intervals, 0 for none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict, Unpack

import polars as pl

from scorer.analysis import agree as agreement
from scorer.analysis import bradley_terry as pairs
from scorer.analysis import compare as comparison
from scorer.analysis import leaderboard as boards
from scorer.analysis import prediction_powered, scale_across_tasks
from scorer.analysis.agree_result import Agreement
from scorer.analysis.bias_measures import BiasColumns, measure_bias
from scorer.analysis.bootstrap import Bootstrap
from scorer.analysis.compare import Compared
from scorer.analysis.inter_judge import InterJudge, inter_judge
from scorer.analysis.leaderboard import Leaderboard, SystemColumns
from scorer.analysis.open_table import open_table, score_columns
from scorer.analysis.prediction_powered_result import Estimates
from scorer.analysis.scale_across_tasks import Scale
from scorer.analysis.score_range import Range, scale_of
from scorer.errors import SpecError
from scorer.frames.analysis_results import Biases, ByScore, R
from scorer.frames.as_frame import as_frame

Names = str | Sequence[str]
Table = Any
"""A path, several output folders, or a frame."""


class BiasOptions(TypedDict, total=False):
    """The columns that say which biases are measured; see `scorer.analysis.bias_measures.BiasColumns`."""

    text: str
    baseline: str
    difficulty: str
    swapped: str
    pair: Sequence[str]
    own: Sequence[str]
    system: str
    human: str
    item: str


def agree(
    table: Table,
    score: Names = "score",
    human: Names = (),
    *,
    item: str | None = None,
    system: str | None = None,
    task: str | None = None,
    bootstrap: int = 1000,
    permutations: int = 0,
) -> Agreement | InterJudge:
    """Agreement of scores with human values; without `human`, of two or more judges with each other.

    `frame` has a row for each score (or pair), task, level and statistic. Raises SpecError for columns that cannot
    serve.
    """
    frame, scores = _opened(table, score)
    settings, people = Bootstrap(bootstrap), _listed(human)
    if not people:
        if permutations:
            raise SpecError(["permutations tests which score agrees better with human values: give human."])
        return inter_judge(frame, scores, item=item, system=system, task=task, bootstrap=settings)
    return agreement.agree(
        frame, scores, people, item=item, system=system, task=task, bootstrap=settings, permutations=permutations
    )


def leaderboard(
    table: Table,
    score: Names = "score",
    *,
    system: str,
    task: str | None = None,
    item: str | None = None,
    average: Names = (),
    fact: Names = (),
    bootstrap: int = 1000,
) -> ByScore[Leaderboard]:
    """Ranks systems by their mean score, with rank intervals; `average` and `fact` are further columns to show.

    `frame` has a row for each score and system, best first. Raises SpecError for columns that cannot serve.
    """
    beside = SystemColumns(_listed(average), _listed(fact))

    def board(frame: pl.LazyFrame, name: str, scale: Range | None) -> Leaderboard:
        return boards.leaderboard(
            frame, name, system, task=task, item=item, beside=beside, scale=scale, bootstrap=Bootstrap(bootstrap)
        )

    return _by_score(table, score, board)


def bradley_terry(
    table: Table,
    preference: str = "score",
    *,
    system: str,
    against: str,
    item: str | None = None,
    bootstrap: int = 1000,
) -> pl.DataFrame:
    """Ranks systems by pairwise preferences in [0, 1] for `system` over `against`: `scorer leaderboard --against`."""
    frame, (name,) = _opened(table, [preference])
    return pairs.bradley_terry(frame, system, against, name, item=item, bootstrap=Bootstrap(bootstrap))


def compare(
    table: Table,
    score: Names = "score",
    *,
    variant: str,
    item: str | None = None,
    task: str | None = None,
    well_formed: str | None = None,
    bootstrap: int = 1000,
) -> ByScore[Compared]:
    """Differences of variants, or of the steps of a learning curve, paired over items.

    `frame` has a row for each score, task, pair and measure. Raises SpecError for columns that cannot serve.
    """

    def compared(frame: pl.LazyFrame, name: str, scale: Range | None) -> Compared:
        settings = Bootstrap(bootstrap)
        return comparison.compare(
            frame, name, variant, item=item, task=task, well_formed=well_formed, scale=scale, bootstrap=settings
        )

    return _by_score(table, score, compared)


def estimate(
    table: Table, score: Names = "score", *, human: str, system: str | None = None, item: str | None = None
) -> ByScore[Estimates]:
    """The mean human value of all rows, from all scores and a random sample of human labels.

    `frame` has a row for each score and system, and one for all rows (`system` null). Raises SpecError for columns that
    cannot serve, and where fewer than two rows have a label.
    """

    def estimates(frame: pl.LazyFrame, name: str, _: Range | None) -> Estimates:
        return prediction_powered.estimate(frame, name, human, system=system, item=item)

    return _by_score(table, score, estimates)


def scale(table: Table, score: Names = "score", *, human: str, task: str, system: str | None = None) -> ByScore[Scale]:
    """Whether a judge uses one scale in all tasks. `frame` has a row for each score and task.

    Raises SpecError for columns that cannot serve, and for fewer than two tasks.
    """

    def found(frame: pl.LazyFrame, name: str, _: Range | None) -> Scale:
        return scale_across_tasks.scale(frame, name, human, task, system=system)

    return _by_score(table, score, found)


def bias(
    table: Table, score: Names = "score", *, bootstrap: int = 1000, **columns: Unpack[BiasOptions]
) -> ByScore[Biases]:
    """Biases of a judge: length (`text`), position (`swapped`), self-preference (`own`, `system` and `human`).

    `frame` has a row for each score, bias and figure. Sends nothing: format bias is the command's.
    Raises SpecError where no bias is named, and for columns that cannot serve.
    """
    lists: dict[str, Any] = {name: _listed(columns[name]) for name in ("pair", "own") if name in columns}
    given = BiasColumns(**{**columns, **lists})

    def biases(frame: pl.LazyFrame, name: str, _: Range | None) -> Biases:
        return Biases(measure_bias(frame, name, given, bootstrap=Bootstrap(bootstrap)))

    return _by_score(table, score, biases)


def _by_score(table: Table, score: Names, answer: Callable[[pl.LazyFrame, str, Range | None], R]) -> ByScore[R]:
    frame, scores = _opened(table, score)
    named = _is_named(table)
    return ByScore({name: answer(frame, name, scale_of(table, name) if named else None) for name in scores})


def _opened(table: Table, score: Names) -> tuple[pl.LazyFrame, list[str]]:
    """The rows of a table, and the score columns that `score` names. Raises SpecError."""
    scores = _listed(score)
    if not scores:
        raise SpecError(["Give at least one score column."])
    if not _is_named(table):
        return as_frame(table).lazy(), list(dict.fromkeys(scores))
    frame = open_table(table)
    return frame, score_columns(frame, table, scores)


def _is_named(table: Table) -> bool:
    """Whether a table is a path or several, and no frame."""
    paths = table.values() if isinstance(table, Mapping) else table if isinstance(table, list | tuple) else [table]
    return bool(paths) and all(isinstance(path, str | Path) for path in paths)


def _listed(names: Names) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)
