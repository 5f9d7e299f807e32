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
from scorer.analysis.join_labels import join_labels, keys_of, open_labels
from scorer.analysis.leaderboard import Leaderboard, SystemColumns
from scorer.analysis.open_table import open_table, score_columns
from scorer.analysis.prediction_powered_result import Estimates
from scorer.analysis.sample_worth import WORTH, SampleWorth
from scorer.analysis.scale_across_tasks import Scale
from scorer.analysis.score_range import Range, scale_of
from scorer.analysis.task_weights import Weights, read_weights
from scorer.errors import SpecError
from scorer.frames.analysis_results import Biases, ByScore, R
from scorer.frames.as_frame import as_frame
from scorer.report.sample_readings import worth_of_samples

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

    `score` and `human` are columns, or lists of them; several human columns count by their mean. `item`, `system` and
    `task` are columns that name what was answered, who answered, and the task. `permutations` above 0 also tests which
    of two scores agrees better (PERM-BOTH; Deutsch, Dror and Roth 2021).

    `frame` has a row for each score (or pair of judges), task, level and statistic: value, low and high of the 95 %
    interval, n rows, and unread ones among them. A null value is undefined, as a correlation of constant values. The
    intervals are those of a bootstrap over items, `bootstrap` times; over rows without `item`; null with `bootstrap=0`.

    Raises SpecError for columns that are missing or cannot serve.
    """
    frame, scores, _ = opened(table, score)
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
    weights: Weights | str | Path | None = None,
    acceptable: float | None = None,
    text: str | None = None,
    bootstrap: int = 1000,
) -> ByScore[Leaderboard]:
    """Systems in the order of their mean score, each with the interval of ranks that it may have.

    `system` is the column that names who answered, `item` what was answered: with it systems are compared on the same
    items. `task` ranks within each task, too. `average` columns are averaged for each system, `fact` columns, one value
    a system, are shown as they are. `weights` are those of the tasks, by name or in a file of them; without them each
    task counts alike. `acceptable` is the lowest acceptable score: the frame has the share of rows that reach it.
    `text` is the column of answers: `repeated` of a score's result then names systems that give one answer to many.

    `frame` has a row for each score and system, best first: rank and rank_last, the mean with low and high of its 95 %
    interval, raw (the plain mean, where `mean` is adjusted for missing items), at_lowest and at_highest (the mean with
    each unread row at an end of the scale), rows, and unread ones among them, acceptable and each average with columns
    <name>_low and <name>_high beside them; the ranks by task are in `tasks` of a score's result. Ranks hold together in
    95 % of tables, the interval of a mean by itself. Both come from `bootstrap` resamples of items; with 0 the
    intervals are null and the ranks those of the means. With `task` the mean is that of the task means.

    Source of the ranks: Mogstad, Romano, Shaikh and Wilhelm (2024), "Inference for ranks". Raises SpecError for columns
    that are missing or cannot serve.
    """
    beside = SystemColumns(_listed(average), _listed(fact))
    of_tasks = weights if weights is None or isinstance(weights, Mapping) else read_weights(weights)

    def board(frame: pl.LazyFrame, name: str, scale: Range | None) -> Leaderboard:
        return boards.leaderboard(
            frame,
            name,
            system,
            task=task,
            item=item,
            beside=beside,
            scale=scale,
            weights=of_tasks,
            acceptable=acceptable,
            text=text,
            bootstrap=Bootstrap(bootstrap),
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
    """Systems by their strength in pairwise preferences: `scorer leaderboard --against`.

    `preference` is a column in [0, 1], 0.5 for a tie: how far the system in the column `system` is preferred to that in
    the column `against`. `item` names what was answered, and items are resampled `bootstrap` times; 0 for no intervals.

    The frame has a row for each system, best first: rank, rank_last, system, strength (log-odds about their mean) with
    low and high of its 95 % interval, win_rate and comparisons.

    Source: Bradley and Terry (1952); Hunter (2004), "MM algorithms for generalized Bradley-Terry models". Raises
    SpecError for columns that are missing or cannot serve, for preferences outside [0, 1], and where no finite
    strengths exist: some systems never lost to the others, or never met them.
    """
    frame, (name,), _ = opened(table, [preference])
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

    `variant` is the column that names the variant. Of names every two are compared, of numbers (steps, examples trained
    on) each with the one before. `item` names what was answered and pairs the variants; without it they are independent
    samples. `task` compares within each task, too. `well_formed`, a column of booleans or of 0 and 1, separates the
    share of answers in the right form from the score of those.

    `frame` has a row for each score, task (null: all), variant, measure and the variant that it is compared `against`:
    value, the difference, with low and high of its 95 % interval, at_lowest and at_highest (each unread row at an end
    of the scale), items (null without `item`), rows, unread, and `better`, the variant that surely leads whatever the
    unread rows would have (null: neither). The intervals of all differences of a table hold together (max-t over
    `bootstrap` resamples of items; Romano and Wolf 2005). `levels` of a score's result are the variants' own means.

    Raises SpecError for columns that are missing or cannot serve, and for fewer than two variants.
    """

    def compared(frame: pl.LazyFrame, name: str, scale: Range | None) -> Compared:
        settings = Bootstrap(bootstrap)
        return comparison.compare(
            frame, name, variant, item=item, task=task, well_formed=well_formed, scale=scale, bootstrap=settings
        )

    return _by_score(table, score, compared)


def estimate(
    table: Table,
    score: Names = "score",
    *,
    human: str,
    system: str | None = None,
    item: str | None = None,
    labels: str | Path | None = None,
    on: Names = (),
) -> ByScore[Estimates]:
    """The mean human value of all rows, from all scores and a random sample of human labels.

    `human` is the column of labels, null where a row has none. The interval is valid for any judge, as long as the
    labelled rows are a random sample of all rows: nothing here can check that. `system` names who answered: a row for
    each. `item` names what was answered: rows of an item count as one, and systems are compared over common items.
    `labels` is a file of labels, CSV or Parquet, with the column `human`, and `on` the columns that find a row's label,
    by default shard and row. Where it says how its rows were drawn (`scorer label`, the report page), rows that were
    not drawn at random are left out, and each label weighs as many rows as it stands for.

    `frame` has a row for each score and system, and one for all rows (`system` null): rows, labels, unread, the mean
    with low and high of its 95 % interval, the same from the labels alone (labels_only) and from the judge alone
    (judge_only), the judge's weight, and labels_worth: how many labels without a judge would be as precise.

    Source: Angelopoulos et al. (2023), "Prediction-powered inference", Science 382; weights: Angelopoulos, Duchi and
    Zrnic (2023), "PPI++", section 6. Raises SpecError for columns that are missing or cannot serve, and where fewer
    than two rows have a label.
    """

    def estimates(frame: pl.LazyFrame, name: str, _: Range | None) -> Estimates:
        if labels is not None:
            keys = _listed(on) or keys_of(labels, frame)
            frame = join_labels(frame, open_labels(labels, frame, keys), keys, [human], design=True)
        return prediction_powered.estimate(frame, name, human, system=system, item=item)

    return _by_score(table, score, estimates)


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
    if not _is_named(table):
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

    return _by_score(table, score, found)


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
    lists: dict[str, Any] = {name: _listed(columns[name]) for name in ("pair", "own") if name in columns}
    given = BiasColumns(**{**columns, **lists})

    def biases(frame: pl.LazyFrame, name: str, _: Range | None) -> Biases:
        return Biases(measure_bias(frame, name, given, bootstrap=Bootstrap(bootstrap)))

    return _by_score(table, score, biases)


def _by_score(table: Table, score: Names, answer: Callable[[pl.LazyFrame, str, Range | None], R]) -> ByScore[R]:
    frame, scores, is_named = opened(table, score)
    return ByScore({name: answer(frame, name, scale_of(table, name) if is_named else None) for name in scores})


def opened(table: Table, score: Names) -> tuple[pl.LazyFrame, list[str], bool]:
    """The rows of a table, the score columns that `score` names, and whether the table is named by a path.

    Raises SpecError.
    """
    scores = _listed(score)
    if not scores:
        raise SpecError(["Give at least one score column."])
    if not _is_named(table):
        return as_frame(table).lazy(), list(dict.fromkeys(scores)), False
    frame = open_table(table)
    return frame, score_columns(frame, table, scores), True


def _is_named(table: Table) -> bool:
    """Whether a table is a path or several, and no frame."""
    paths = table.values() if isinstance(table, Mapping) else table if isinstance(table, list | tuple) else [table]
    return bool(paths) and all(isinstance(path, str | Path) for path in paths)


def _listed(names: Names) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)
