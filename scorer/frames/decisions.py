"""The commands that decide as functions: a table or a frame in, a decision with a polars `frame` out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from scorer.analysis import choose as choices
from scorer.analysis import choose_judge as judge_choices
from scorer.analysis import gate as gates
from scorer.analysis.alternative_annotator import EPSILON
from scorer.analysis.bootstrap import Bootstrap
from scorer.analysis.choose_judge import JudgeChoice
from scorer.analysis.choose_result import Choice
from scorer.analysis.gate import Gate
from scorer.analysis.join_labels import join_labels, keys_of, open_labels
from scorer.analysis.run_coverage import run_coverage
from scorer.analysis.score_range import scale_of
from scorer.analysis.task_weights import Weights, read_weights
from scorer.errors import SpecError
from scorer.frames.opened_table import Names, Table, listed, opened

TaskWeights = Weights | str | Path | None
"""The weights of tasks by their names, or the path of a file of them."""


def choose(
    table: Table,
    score: str = "score",
    *,
    system: str,
    task: str | None = None,
    item: str | None = None,
    weights: TaskWeights = None,
    cost: Names = (),
    margin: float = 0.0,
    acceptable: float | None = None,
    human: Names = (),
    labels: str | Path | None = None,
    on: Names = (),
    text: str | None = None,
    bootstrap: int = 1000,
) -> Choice:
    """The cheapest system that is surely not worse than the best by more than a margin: `scorer choose`.

    `system` is the column that names who answered, `item` what was answered, `task` the task, `weights` those of the
    tasks (without them each counts alike). `cost` names columns of numbers, of which less is preferred, or of booleans,
    of which true is; the first counts first. `margin` and `acceptable`, the lowest acceptable value, are in points of
    the score. `human` names columns of labels, null where a row has none, of several their mean; `labels` is a file
    that has it, and `on` the columns that find a row's label, by default shard and row. `text` is the column of
    answers, to find systems that give one answer to many items. `bootstrap` is the number of resamples.

    The result has `chosen` (None: these rows do not tell, or `withheld` says why), `frame` with a row for each system
    (mean, how far behind the best and its upper limit, costs), `by_margin`, `by_weight`, `tipping`, `people`, `loses`,
    `label_next` and `needed`. The limits of all systems hold together in 95 % of tables, whichever is the best, with
    unread rows at either end of the scale.

    Source: Hsu (1984), "Constrained simultaneous confidence intervals for multiple comparisons with the best". Raises
    SpecError for columns, weights or numbers that cannot serve.
    """
    frame, names, is_named = opened(table, score)
    if len(names) > 1:
        raise SpecError([f"A choice is by one judge: {score} is a column of each of {', '.join(names)}."])
    costs, people = listed(cost), listed(human)
    if labels is not None:
        frame = _with_labels(frame, labels, on, people)
    found = choices.choose(
        frame,
        names[0],
        system,
        choices.Wanted(margin, costs, acceptable, people, text),
        task=task,
        item=item,
        weights=_read(weights),
        scale=scale_of(table, names[0]) if is_named else None,
        bootstrap=Bootstrap(bootstrap),
    )
    return found.over(run_coverage(table)) if is_named else found


def choose_judge(
    table: Table,
    judges: Names = "score",
    *,
    human: Names,
    item: str | None = None,
    task: str | None = None,
    cost: str | None = None,
    labels: str | Path | None = None,
    on: Names = (),
    margin: float = 0.0,
    epsilon: float = EPSILON,
    bootstrap: int = 1000,
) -> JudgeChoice:
    """The cheapest judge that is surely not worse than the best in agreement with people: `scorer choose --judges`.

    `judges` are score columns; of several output folders, the column of each. `human` names columns of human values, of
    several their mean. `item` names what was answered: agreement is then Kendall's tau-b within items, else Pearson's r
    over all rows; with `task` its mean over tasks. `cost` is a column of each judge's run, by default cost_microusd;
    without costs the judges are preferred in the order given. `labels` is a file with the human columns, and `on` the
    columns that find a row's label, by default shard and row. `margin` is in points of the correlation, `bootstrap` the
    number of resamples. `epsilon` is how much worse than a person a judge may be in the alternative annotator test,
    which is made where three people or more labelled.

    The result has `chosen` (None: these rows do not tell), `frame` with a row for each judge (agreement, how far below
    the best and its upper limit, cost), `by_margin`, `ceiling`, `replaces` and `needed`.

    Source: Hsu (1984), Annals of Statistics 12(3); Calderon, Reichart and Dror (2025), arXiv 2501.10970. Raises
    SpecError for columns and numbers that cannot serve.
    """
    frame, names, _ = opened(table, judges)
    people = listed(human)
    if labels is not None:
        frame = _with_labels(frame, labels, on, people)
    return judge_choices.choose_judge(
        frame,
        names,
        people,
        item=item,
        task=task,
        cost=cost,
        margin=margin,
        epsilon=epsilon,
        bootstrap=Bootstrap(bootstrap),
    )


def gate(
    table: Table,
    score: str = "score",
    *,
    system: str,
    new: str,
    old: str,
    margin: float = 0.0,
    item: str | None = None,
    task: str | None = None,
    weights: TaskWeights = None,
    bootstrap: int = 1000,
) -> Gate:
    """Whether a new system is not worse than an old one by more than a margin: `scorer gate`.

    `system` is the column that names who answered, `new` and `old` are two of its values, `margin` is in points of the
    score. `item` names what was answered: both are compared on the items that both have. With `task` the difference is
    the mean over tasks, by their `weights`. `bootstrap` is the number of resamples.

    The result has `verdict` ("not worse", "worse" or "undecided"), `difference` with `low` and `high` of its 95 %
    interval, `items_needed` to decide it, and `exit_code` (0, 10 or 11). "Not worse" and "worse" are each false in at
    most 2.5 % of tables, and hold with unread rows at either end of the scale. An unfinished run decides nothing.

    Raises SpecError for columns, systems, weights or a margin that cannot serve.
    """
    frame, names, is_named = opened(table, score)
    if len(names) > 1:
        raise SpecError([f"A gate is about one judge: {score} is a column of each of {', '.join(names)}."])
    found = gates.gate(
        frame,
        names[0],
        system,
        new,
        old,
        margin=margin,
        task=task,
        item=item,
        weights=_read(weights),
        scale=scale_of(table, names[0]) if is_named else None,
        bootstrap=Bootstrap(bootstrap),
    )
    return found.over(run_coverage(table)) if is_named else found


def _read(weights: TaskWeights) -> Mapping[str, Any] | None:
    return weights if weights is None or isinstance(weights, Mapping) else read_weights(weights)


def _with_labels(frame: pl.LazyFrame, labels: str | Path, on: Names, human: Sequence[str]) -> pl.LazyFrame:
    if not human:
        raise SpecError(["labels is a file of human values: name its column with human."])
    keys = listed(on) or keys_of(labels, frame)
    return join_labels(frame, open_labels(labels, frame, keys), keys, human, design=True)
