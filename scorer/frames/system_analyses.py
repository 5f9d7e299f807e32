"""The analyses of systems as functions: a table or a frame in, results with a polars `frame` out.

`table` is what the commands take (a Parquet file, a folder, a glob, an output folder or its run file; several output
folders as a list or a dict by name), or a frame: polars, pandas, Arrow, a list of dicts. The other arguments are the
commands' options. `bootstrap` is the number of resamples for the intervals, 0 for none.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from scorer.analysis import bradley_terry as pairs
from scorer.analysis import compare as comparison
from scorer.analysis import leaderboard as boards
from scorer.analysis import prediction_powered
from scorer.analysis.bootstrap import Bootstrap
from scorer.analysis.compare import Compared
from scorer.analysis.join_labels import join_labels, keys_of, open_labels
from scorer.analysis.leaderboard import Leaderboard, SystemColumns
from scorer.analysis.prediction_powered_result import Estimates
from scorer.analysis.score_range import Range
from scorer.analysis.task_weights import Weights, read_weights
from scorer.frames.analysis_results import ByScore
from scorer.frames.opened_table import Names, Table, by_score, listed, opened


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
    beside = SystemColumns(listed(average), listed(fact))
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

    return by_score(table, score, board)


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

    return by_score(table, score, compared)


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
            keys = listed(on) or keys_of(labels, frame)
            frame = join_labels(frame, open_labels(labels, frame, keys), keys, [human], design=True)
        return prediction_powered.estimate(frame, name, human, system=system, item=item)

    return by_score(table, score, estimates)
