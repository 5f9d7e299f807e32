"""The analyses of a judge as functions: a table or a frame in, results with a polars `frame` out.

`table` is what the commands take (a Parquet file, a folder, a glob, an output folder or its run file; several output
folders as a list or a dict by name), or a frame: polars, pandas, Arrow, a list of dicts. The other arguments are the
commands' options. `bootstrap` is the number of resamples for the intervals, 0 for none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypedDict, Unpack

import polars as pl

from scorer.analysis import agree as agreement
from scorer.analysis import scale_across_tasks
from scorer.analysis.agree_result import Agreement
from scorer.analysis.bias_measures import BiasColumns, measure_bias
from scorer.analysis.bootstrap import Bootstrap
from scorer.analysis.inter_judge import InterJudge, inter_judge
from scorer.analysis.sample_worth import WORTH, SampleWorth
from scorer.analysis.scale_across_tasks import Scale
from scorer.analysis.score_range import Range
from scorer.errors import SpecError
from scorer.frames.analysis_results import Biases, ByScore
from scorer.frames.opened_table import Names, Table, by_score, is_named, listed, opened
from scorer.report.sample_readings import worth_of_samples


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

    `score` and `human` are columns, or lists of them; several human columns count by their mean. `item`, `system` and
    `task` are columns that name what was answered, who answered, and the task. `permutations` above 0 also tests which
    of two scores agrees better (PERM-BOTH; Deutsch, Dror and Roth 2021).

    `frame` has a row for each score (or pair of judges), task, level and statistic: value, low and high of the 95 %
    interval, n rows, and unread ones among them. A null value is undefined, as a correlation of constant values. The
    intervals are those of a bootstrap over items, `bootstrap` times; over rows without `item`; null with `bootstrap=0`.

    Raises SpecError for columns that are missing or cannot serve.
    """
    frame, scores, _ = opened(table, score)
    settings, people = Bootstrap(bootstrap), listed(human)
    if not people:
        if permutations:
            raise SpecError(["permutations tests which score agrees better with human values: give human."])
        return inter_judge(frame, scores, item=item, system=system, task=task, bootstrap=settings)
    return agreement.agree(
        frame, scores, people, item=item, system=system, task=task, bootstrap=settings, permutations=permutations
    )


def samples(
    table: Table,
    score: Names = "score",
    *,
    human: str,
    item: str | None = None,
    task: str | None = None,
    worth: float = WORTH,
    bootstrap: int = 1000,
) -> SampleWorth:
    """What one more sample of the judge is worth in agreement with people, from the stored replies of a run.

    `table` is an output folder, or several over the same input: forms of one question. `score` is a column of scores
    that replies give (score, preference, score_<criterion>), or a list. `human` is the column of human values, null
    where a row has none, `item` names what was answered, and with `task` values are means over tasks. `bootstrap` is
    the number of resamples of items; with 0 there are no intervals and no `stop`.

    `frame` has a row for each form, statistic (pearson over all rows; item_kendall, tau-b within items) and n, from 1
    to all samples: value with low and high of its 95 % interval over items, gain to 2n samples, gain_at_most (its upper
    95 % bound), and unread rows. `stop` is the smallest n whose gain to 2n is below `worth` by that bound, None where
    none is known to be. `forms` has the differences of forms, over rows that both read; their intervals hold together.
    A value of n is the mean over 20 random subsets of each row's samples, without replacement.

    Raises SpecError for columns that are missing or cannot serve, and where replies are not stored or a judge's cannot
    be read one by one.
    """
    if not is_named(table):
        raise SpecError(["samples reads the stored replies of a run: give its output folder or its run file."])
    frame, scores, _ = opened(table, score)
    return worth_of_samples(
        frame, table, scores, human, item=item, task=task, worth=worth, bootstrap=Bootstrap(bootstrap)
    )


def scale(table: Table, score: Names = "score", *, human: str, task: str, system: str | None = None) -> ByScore[Scale]:
    """Whether a judge uses one scale in all tasks.

    `human` and `task` are the columns of human values and of the task; `system`, who answered, also compares the order
    of systems between tasks.

    `frame` has a row for each score and task: n rows, mean_score, mean_human, and two figures in standard deviations of
    the human values: shift (0 in every task on one coherent scale) and spread (1 in every task on one).

    Raises SpecError for columns that are missing or cannot serve, and for fewer than two tasks.
    """

    def found(frame: pl.LazyFrame, name: str, _: Range | None) -> Scale:
        return scale_across_tasks.scale(frame, name, human, task, system=system)

    return by_score(table, score, found)


def bias(
    table: Table, score: Names = "score", *, bootstrap: int = 1000, **columns: Unpack[BiasOptions]
) -> ByScore[Biases]:
    """Biases of a judge: length (`text`), position (`swapped`), self-preference (`own`, `system` and `human`).

    `columns` say what is measured: `text`, the judged text, with `baseline` also the win rate at equal length;
    `swapped`, the preference in the other order, or with `pair` whether this row has it; `own`, systems of the judge's
    family. Rows of an `item` count as one.

    `frame` has a row for each score, bias, system (null: all) and figure: value, low and high of its 95 % interval by
    `bootstrap` resamples. Sends nothing: format bias is measured by the command `scorer bias --format` alone.

    Raises SpecError where no bias is named, and for columns that are missing or cannot serve.
    """
    lists: dict[str, Any] = {name: listed(columns[name]) for name in ("pair", "own") if name in columns}
    given = BiasColumns(**{**columns, **lists})

    def biases(frame: pl.LazyFrame, name: str, _: Range | None) -> Biases:
        return Biases(measure_bias(frame, name, given, bootstrap=Bootstrap(bootstrap)))

    return by_score(table, score, biases)
