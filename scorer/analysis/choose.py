"""Which system to choose: the first by cost that is not worse than the best by more than a margin, and what tips it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import polars as pl

from scorer.analysis.best import Behind, behind_best, items_needed
from scorer.analysis.board import Board, board_of
from scorer.analysis.board_columns import acceptable_columns, refuse_taken, weights_note
from scorer.analysis.board_notes import UNPAIRED, lacking_note, repeated_rows
from scorer.analysis.bootstrap import BOOTSTRAP, Bootstrap
from scorer.analysis.by_people import PeoplesScale
from scorer.analysis.choice_by_weight import MOST_CELLS, WeightScan
from scorer.analysis.choice_rule import Cost, by_margin, chosen, preferred
from scorer.analysis.choose_result import ByMargin, ByWeight, Choice
from scorer.analysis.choose_table import cost_columns, systems_table
from scorer.analysis.columns import listed, missing_columns, not_judged
from scorer.analysis.correlation import Codes, Floats
from scorer.analysis.label_design import label_design
from scorer.analysis.ranks import places_and_leads
from scorer.analysis.reading import TEXTS, collected
from scorer.analysis.repeated_answers import MOST_UNASKED, repeated_answers, text_column
from scorer.analysis.score_range import Range
from scorer.analysis.simultaneous import simultaneous
from scorer.analysis.system_means import SystemMeans, mean_over_tasks
from scorer.analysis.task_weights import Weights, weights_of
from scorer.analysis.tipping import Answer, tipping_points
from scorer.errors import SpecError

LOSES = pl.Schema(
    {
        "task": pl.String(),
        "system": pl.String(),
        **dict.fromkeys(("ahead", "low", "high"), pl.Float64()),
        "sure": pl.Boolean(),
    }
)


OWN = ("on_front", "beaten_by", "labels", "people", "acceptable", "acceptable_people")
"""Columns of the table of systems beside its first ones."""
UNLIKE = 0.05
"""Shares of tasks that differ by less than this are alike."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked of a choice: see `choose`."""

    margin: float = 0.0
    costs: Sequence[str] = ()
    acceptable: float | None = None
    human: Sequence[str] = ()
    text: str | None = None


def choose(
    frame: pl.LazyFrame,
    score: str,
    system: str,
    wanted: Wanted,
    *,
    task: str | None = None,
    item: str | None = None,
    weights: Weights | None = None,
    scale: Range | None = None,
    bootstrap: Bootstrap = BOOTSTRAP,
) -> Choice:
    """The first system by `wanted.costs` that is surely less than `wanted.margin` behind the best.

    `costs` are columns of numbers, of which less is preferred, or of booleans (true is preferred), in the order of
    their importance; each may vary by row, and counts by its mean. Systems alike in them, or without any, are preferred
    by their mean score. The limit holds whichever system is the best, with unread rows at either end of the `scale`
    as well, and for all systems together (`scorer.analysis.best`).
    `acceptable` is the lowest acceptable value, `human` the columns of labels, of several their mean, `text` that of
    answers. Raises SpecError
    for columns, weights or numbers that cannot serve.
    """
    named = [score, system, *wanted.costs, *wanted.human, *(name for name in (task, item, wanted.text) if name)]
    problems = missing_columns(frame.collect_schema(), named)
    if not (math.isfinite(wanted.margin) and wanted.margin >= 0):
        problems.append(f"The margin is {wanted.margin:g}; it must be 0 or more, in points of the score.")
    if not bootstrap.resamples:
        problems.append("A choice rests on limits from resamples: --bootstrap must be above 0.")
    if problems:
        raise SpecError(problems)
    frame, booleans = _with_booleans(frame, wanted.costs)
    numbers = [*wanted.costs, *wanted.human]
    rows = board_of(frame, score, system, task=task, item=item, numbers=numbers, scale=scale, bootstrap=bootstrap)
    of_tasks = weights_of(rows.tasks if task else (), weights) if weights is not None else weights_of(rows.tasks, None)
    text = text_column(frame.collect_schema(), wanted.text)
    looked = text is not None and (wanted.text is not None or len(rows.values) <= MOST_UNASKED)
    repeated = repeated_answers(frame, system, text, len(rows.values)) if text and looked else []
    costs = [_cost(rows, name, is_boolean=name in booleans) for name in wanted.costs]

    fillings = _fillings(rows)
    boards = fillings[0]
    overall = mean_over_tasks(boards, of_tasks)
    if not np.isfinite(overall.means).any():
        raise SpecError(
            [f"No system has a {score} in every task that counts: {listed(rows.tasks)}. Weigh fewer tasks."]
        )
    sides = [behind_best(mean_over_tasks(filling, of_tasks).standing(), rows.drawn) for filling in fillings]
    behind, at_most = sides[0], _at_most(sides, overall.means)
    order = preferred(costs, overall.means, of_tasks)
    choice = chosen(at_most, order, wanted.margin)
    ((_, leads),) = places_and_leads([overall.standing()], rows.drawn)

    judged = ~np.logical_or(*not_judged(frame, score))
    theirs, about_labels = None, []
    if wanted.human:
        by_person = np.stack([rows.columns.floats(name) for name in wanted.human])
        given = np.isfinite(by_person).sum(axis=0)
        people = np.where(given > 0, np.nansum(by_person, axis=0) / np.maximum(given, 1), np.nan)
        design = label_design(frame, np.isfinite(people), judged)
        theirs = PeoplesScale(rows, people, judged, design, of_tasks, bootstrap)
        about_labels = [
            *design.notes(int(judged.sum())),
            *theirs.off_scale_note(),
            *(_unlike_weights(rows, of_tasks) if wanted.acceptable is not None else ()),
        ]
    tipping, label_next = tipping_points(rows, overall.means, behind, Answer(choice, order, wanted.margin), theirs)

    table = systems_table(rows, boards, of_tasks, at_most)
    refuse_taken(wanted.costs, [*table.columns, *OWN])
    if costs:
        table = table.with_columns(**cost_columns(rows, costs, of_tasks, overall.means, leads))
    if wanted.acceptable is not None:
        table = table.with_columns(**acceptable_columns(rows, wanted.acceptable, of_tasks))
    if theirs is not None:
        table = table.with_columns(**theirs.columns(wanted.acceptable))
    names, needed = rows.systems, items_needed(behind, overall.items, wanted.margin)
    return Choice(
        score=score,
        chosen=None if choice is None else names[choice],
        margin=wanted.margin,
        items=len(np.unique(rows.item)),
        systems=table.with_columns(chosen=pl.Series([s == choice for s in range(len(names))]))[order.tolist()],
        by_margin=[ByMargin(names[step.system], step.above, step.to) for step in by_margin(at_most, order)],
        weights=dict(zip(rows.tasks, of_tasks.tolist(), strict=True)) if task else {},
        by_weight=_by_weight(rows, fillings, costs, of_tasks, wanted.margin) if task else (),
        needed={names[s]: needed[s] for s in _before(order, choice) if s in needed},
        loses=None if choice is None or not task else _loses(rows, boards, choice),
        tipping=tipping,
        label_next=label_next,
        people=None if theirs is None else theirs.of(None if choice is None else names[choice], wanted.margin),
        repeated=repeated,
        notes=[
            *_notes(rows, overall, costs, of_tasks, wanted, sides, choice, given=weights is not None),
            *about_labels,
            *repeated_rows(frame, score, system, len(rows.values)),
            *([] if looked else ["Whether a system gives one answer to many items was not looked at: --text COL."]),
        ],
    )


def _before(order: Codes, choice: int | None) -> list[int]:
    """The systems that are preferred to the choice; all of them where there is none."""
    every: list[int] = order.tolist()
    return every if choice is None else every[: every.index(choice)]


def _with_booleans(frame: pl.LazyFrame, costs: Sequence[str]) -> tuple[pl.LazyFrame, set[str]]:
    """The table with texts such as true and false, as a CSV has them, as booleans; and which costs are booleans."""
    schema = frame.collect_schema()
    texts = [name for name in dict.fromkeys(costs) if schema[name] in TEXTS]
    meaning = {"true": True, "false": False, "yes": True, "no": False}
    if texts:
        lowered = [pl.col(name).cast(pl.String).str.strip_chars().str.to_lowercase() for name in texts]
        known = collected(frame.select(one.drop_nulls().is_in(list(meaning)).all() for one in lowered)).row(0)
        frame = frame.with_columns(
            one.replace_strict(meaning, return_dtype=pl.Boolean)
            for one, is_known in zip(lowered, known, strict=True)
            if is_known
        )
    schema = frame.collect_schema()
    return frame, {name for name in costs if schema[name] == pl.Boolean}


def _cost(rows: Board, name: str, *, is_boolean: bool) -> Cost:
    means = [part.means for part in rows.by_task(column=name, ends=rows.bounds(name), adjusted=False)]
    return Cost(name, np.stack(means), is_boolean)


def _fillings(rows: Board) -> list[list[SystemMeans]]:
    """The boards by task: of the read rows, and where some are unread with all of these at each end of the scale."""
    ends = (rows.ends.low, rows.ends.high) if rows.unread else ()
    return [rows.by_task(), *(rows.by_task(partial(np.nan_to_num, nan=end)) for end in ends)]


def _at_most(sides: Sequence[Behind], means: Floats) -> Floats:
    """By how much the best is ahead of each system at most, wherever unread rows are; systems without a mean apart."""
    known = np.flatnonzero(np.isfinite(means))
    found = np.full(len(means), np.inf)
    kept = [Behind(side.gap[np.ix_(known, known)], side.half[np.ix_(known, known)]) for side in sides]
    found[known] = np.max([side.at_most() for side in kept], axis=0)
    return found


def _by_weight(
    rows: Board, fillings: Sequence[Sequence[SystemMeans]], costs: Sequence[Cost], weights: Floats, margin: float
) -> list[ByWeight]:
    if len(rows.tasks) < 2 or len(rows.tasks) * len(rows.systems) > MOST_CELLS:
        return []
    scan = WeightScan(fillings, costs, rows.drawn, margin)
    return [
        ByWeight(rows.tasks[one.task], one.low, one.high, None if one.system is None else rows.systems[one.system])
        for one in scan.steps(weights)
    ]


def _loses(rows: Board, boards: Sequence[SystemMeans], choice: int) -> pl.DataFrame:
    """Where another system is ahead of the choice in a task; the intervals of all tasks and systems hold together."""
    places = [
        (t, j)
        for t, board in enumerate(boards)
        for j in range(len(rows.systems))
        if j != choice and math.isfinite(board.means[j] - board.means[choice]) and board.part[j] == board.part[choice]
    ]
    contrasts = [boards[t].difference(j, choice) for t, j in places]
    intervals = simultaneous(contrasts, rows.drawn) if rows.drawn is not None else [None] * len(contrasts)
    found = [
        (rows.tasks[t], rows.systems[j], one.value, *(ends or (None, None)), ends is not None and ends[0] > 0)
        for (t, j), one, ends in zip(places, contrasts, intervals, strict=True)
        if one.value > 0
    ]
    return pl.DataFrame(found, schema=LOSES, orient="row").sort("ahead", descending=True)


def _unlike_weights(rows: Board, weights: Floats) -> Iterator[str]:
    """A sentence where rows, which count alike, stand for other shares of tasks than the weights."""
    shares = np.bincount(rows.task, minlength=len(rows.tasks)) / max(len(rows.task), 1)
    if np.abs(shares - weights).max() > UNLIKE:
        yield "The share acceptable to people is over all rows, each counting alike, and not by the weights of tasks."


def _notes(
    rows: Board,
    overall: SystemMeans,
    costs: Sequence[Cost],
    weights: Floats,
    wanted: Wanted,
    sides: Sequence[Behind],
    choice: int | None,
    *,
    given: bool,
) -> Iterator[str]:
    if given:
        yield from weights_note(rows.tasks, weights)
    lacking = [rows.systems[s] for s in np.flatnonzero(np.isnan(overall.means)).tolist()]
    if lacking:
        yield f"{lacking_note(lacking, rows.tasks)} They are left out."
    if rows.item_column is None and len(rows.systems) > 1:
        yield UNPAIRED
    elif len(np.unique(overall.part[(overall.part >= 0) & np.isfinite(overall.means)])) > 1:
        yield "Some systems share no items: none of them is surely within a margin of the other. Leave out --item."
    if len(rows.tasks) * len(rows.systems) > MOST_CELLS:
        yield f"How the choice moves with the weights is not computed for more than {MOST_CELLS:,} systems times tasks."
    if overall.adjusted:
        yield "Some systems lack a score for items that others have: means are adjusted for the items."
    if len(sides) > 1:
        yield rows.ends.note("score")
        if (
            choice is None
            and chosen(sides[0].at_most(), preferred(costs, overall.means, weights), wanted.margin) is not None
        ):
            yield "Rows with no verdict alone keep the choice open: read them again (scorer reread, scorer retry)."
    for cost in costs:
        if cost.name.rpartition(".")[2] == "cost_microusd":
            yield f"{cost.name} is what judging the rows cost, not what the systems cost to run."
        unknown = [rows.systems[s] for s in np.flatnonzero(np.isnan(cost.by_system(weights))).tolist()]
        if unknown:
            yield f"The {cost.name} of {listed(unknown)} is not known: they are preferred last."
