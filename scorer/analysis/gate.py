"""Whether a new system is not worse than an old one by more than a margin: a decision for continuous integration."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, NamedTuple

import numpy as np
import polars as pl

from scorer.analysis.board import Board, board_of
from scorer.analysis.board_columns import weights_note
from scorer.analysis.board_notes import UNPAIRED, repeated_rows
from scorer.analysis.bootstrap import BOOTSTRAP, Bootstrap, Interval, Resamples
from scorer.analysis.columns import listed, require
from scorer.analysis.correlation import Floats
from scorer.analysis.paired import Measure, cells, over_items
from scorer.analysis.ranks import places_and_leads
from scorer.analysis.run_coverage import RunCoverage
from scorer.analysis.sample_size import items_for
from scorer.analysis.score_range import Range
from scorer.analysis.simultaneous import Contrast, Z, studentised, widening
from scorer.analysis.system_means import mean_over_tasks
from scorer.analysis.task_weights import Weights, weights_of
from scorer.errors import SpecError
from scorer.escapes import printable_line
from scorer.html_tables import rows_html

EXIT_CODES = {"not worse": 0, "worse": 10, "undecided": 11}
MISSING = 0.01
"""With a larger share of the old system's items missing in the new one nothing is decided."""


@dataclass(frozen=True, slots=True)
class Gate:
    """The verdict on `new` against `old`, and the difference of their means, new less old, behind it.

    `low` and `high` are its 95 % interval: "not worse" where it lies above -margin, "worse" where it lies below, and
    each of the two is false in at most 2.5 % of tables. `at_lowest` and `at_highest` are the difference with all
    `unread` rows at that end of the scale: the verdict must be the same there. `items` are those that both have, None
    where no items are named. `items_needed` is how many items would decide in 80 % of tables if the difference is what
    it seems; None where it is decided, or too many would. `reasons` say what keeps it undecided.
    """

    verdict: Literal["not worse", "worse", "undecided"]
    new: str
    old: str
    margin: float
    difference: float | None
    low: float | None
    high: float | None
    at_lowest: float | None
    at_highest: float | None
    items: int | None
    rows: int
    unread: int
    items_needed: int | None = None
    reasons: Sequence[str] = field(default=())
    notes: Sequence[str] = field(default=())

    @property
    def exit_code(self) -> int:
        """0 not worse, 10 worse, 11 undecided."""
        return EXIT_CODES[self.verdict]

    def over(self, coverage: RunCoverage | None) -> Gate:
        """The same over a run: undecided where it is not finished, since the rows that finish first are no sample."""
        if coverage is None or coverage.rows >= coverage.rows_total:
            return self
        reason = f"The run is not finished: {coverage.rows:,} of {coverage.rows_total:,} rows."
        if coverage.answer is not None:
            reason = "[stop] ended the run at its answer, so systems were judged on different items."
        return replace(self, verdict="undecided", items_needed=None, reasons=[reason, *self.reasons])

    def json(self) -> dict[str, Any]:
        return {**asdict(self), "exit_code": self.exit_code}

    @property
    def frame(self) -> pl.DataFrame:
        """One row: verdict, new, old, margin, difference, low, high, and the counts behind them."""
        return pl.DataFrame([{key: value for key, value in asdict(self).items() if key not in ("reasons", "notes")}])

    def _repr_html_(self) -> str:
        return rows_html("Gate", self.frame.to_dicts(), [*self.reasons, *self.notes])


def gate(
    frame: pl.LazyFrame,
    score: str,
    system: str,
    new: str,
    old: str,
    *,
    margin: float = 0.0,
    task: str | None = None,
    item: str | None = None,
    weights: Weights | None = None,
    scale: Range | None = None,
    bootstrap: Bootstrap = BOOTSTRAP,
) -> Gate:
    """The difference of two systems, as `leaderboard` takes it, against a margin in points of the score.

    With `item` it is over the items that both have; without, they are independent samples. With `task` it is the mean
    over tasks, by their `weights`. Zeros and ones, one row an item, have Tango's interval (`scorer.analysis.paired`).
    Raises SpecError for columns, systems, weights or a margin that cannot serve.
    """
    kept = _of_two(frame, system, new, old, margin)
    rows = board_of(kept, score, system, task=task, item=item, scale=scale, bootstrap=bootstrap)
    given = weights_of(rows.tasks if task else (), weights) if weights is not None else weights_of(rows.tasks, None)
    unread = int(np.isnan(rows.values).sum())
    notes = [
        *(weights_note(rows.tasks, given) if weights is not None else ()),
        *([rows.ends.note(score)] if unread else ()),
        *([] if item else [UNPAIRED]),
        *repeated_rows(kept, score, system, len(rows.values)),
    ]
    shared, lacking, extra = _items(rows, new, old) if item else (None, 0, 0)
    if lacking or extra:
        notes.append(f"Items that one of them alone has take no part: {extra:,} of {new}, {lacking:,} of {old}.")
    found = _difference(rows, given, new, old, as_shares=bool(item) and not task)
    decided = Gate(
        "undecided", new, old, margin, *found, items=shared, rows=len(rows.values) - unread, unread=unread, notes=notes
    )
    if found.value is None:
        return replace(decided, reasons=[_nothing_shared(rows, new, old)])
    if lacking > MISSING * (lacking + (shared or 0)):
        reason = (
            f"{new} lacks {lacking:,} items that {old} has, more than {MISSING:.0%}: what it would have there is not "
            "known. Score them, or leave these items out of the table."
        )
        return replace(decided, reasons=[reason])
    return _decided(decided)


def _nothing_shared(rows: Board, new: str, old: str) -> str:
    read = np.isfinite(rows.values)
    empty = [name for name in (new, old) if not (read & (rows.system == rows.systems.index(name))).any()]
    if empty:
        return f"{' and '.join(empty)} {'has' if len(empty) == 1 else 'have'} no row with a score: nothing is compared."
    what = "task" if rows.item_column is None else "item"
    return f"{new} and {old} share no {what} with a score: nothing can be compared."


class _Difference(NamedTuple):
    value: float | None
    low: float | None
    high: float | None
    at_lowest: float | None
    at_highest: float | None


def _difference(rows: Board, weights: Floats, new: str, old: str, *, as_shares: bool) -> _Difference:
    """New less old with its interval, and with the unread rows at each end of the scale."""
    board = mean_over_tasks(rows.by_task(), weights)
    if not np.isfinite(board.means).all() or board.part[0] != board.part[1]:
        return _Difference(None, None, None, None, None)
    first, second = rows.systems.index(new), rows.systems.index(old)

    def less(means: Floats) -> float:
        return float(means[first] - means[second])

    ends = map(less, board.ends) if np.isnan(rows.values).any() else (None, None)
    value = less(board.means)
    if rows.drawn is None:
        return _Difference(value, None, None, *ends)
    ((_, leads),) = places_and_leads([board.standing()], rows.drawn)
    half = float(leads.half[0])
    shares = _of_shares(rows, first, second) if as_shares else None
    if not math.isfinite(half) and shares is None:
        return _Difference(value, None, None, *ends)
    skewed = _ends(board.difference(first, second), rows.drawn)
    return _Difference(value, *(shares or skewed or (value - half, value + half)), *ends)


def _ends(one: Contrast, drawn: Resamples) -> Interval | None:
    """The interval of a difference: Student's, and further to a side where the resamples are skewed (bootstrap-t).

    Few bad failures among many equal scores make Student's interval false at one end in up to 6 % instead of 2.5 %.
    None where the items do not differ. Source: Hall (1988), "Theoretical comparison of bootstrap confidence intervals",
    Annals of Statistics 16(3).
    """
    if not one.error > 1e-12 * abs(one.value):
        return None
    items = np.array([one.items])
    t, known = studentised(drawn.weights.astype(np.float32), one.influence[:, None].astype(np.float64), items)
    if not known.all():
        return None
    error = float(widening(items)[0]) * one.error
    above, below = np.quantile(t[:, 0], 0.975), -np.quantile(t[:, 0], 0.025)
    return one.value - error * max(Z, float(above)), one.value + error * max(Z, float(below))


def _decided(found: Gate) -> Gate:
    """The verdict that holds wherever unread rows stand, or why there is none and how many items would give it."""
    value, margin = found.difference, found.margin
    if value is None or found.low is None or found.high is None:
        return replace(
            found,
            reasons=[
                "The difference has no interval: it takes resamples, two items and scores that are not all alike."
            ],
        )
    shifts = [0.0, *(end - value for end in (found.at_lowest, found.at_highest) if end is not None)]
    if all(found.low + shift >= -margin for shift in shifts):
        return replace(found, verdict="not worse")
    if all(found.high + shift < -margin for shift in shifts):
        return replace(found, verdict="worse")
    if found.low >= -margin or found.high < -margin:
        return replace(found, reasons=[f"The verdict depends on the {found.unread:,} rows with no verdict."])
    gap, half = value + margin, (found.high - found.low) / 2
    needed = items_for(found.items or found.rows / 2, half, abs(gap))
    return replace(found, items_needed=needed)


def _of_two(frame: pl.LazyFrame, system: str, new: str, old: str, margin: float) -> pl.LazyFrame:
    """The rows of the two systems. Raises SpecError."""
    require(frame.collect_schema(), [system])
    problems = []
    if not (math.isfinite(margin) and margin >= 0):
        problems.append(f"The margin is {margin:g}; it must be 0 or more, in points of the score.")
    if new == old:
        problems.append(f"--new and --old are both {new}; name two systems.")
    name = pl.col(system).cast(pl.String)
    there = frame.select(name.drop_nulls().unique().sort()).collect().to_series().to_list()
    problems += [
        f"{option} {given} is no value of {system}; "
        f"{f'there are {listed([*map(printable_line, there)], 10)}' if there else 'the column is empty'}."
        for option, given in (("--new", new), ("--old", old))
        if given not in there
    ]
    if problems:
        raise SpecError(problems)
    return frame.filter(name.is_in([new, old]))


def _items(rows: Board, new: str, old: str) -> tuple[int, int, int]:
    """How many items both have read, how many the new system lacks that the old one has, and the old one lacks."""
    place = rows.item * len(rows.tasks) + rows.task
    read = ~np.isnan(rows.values)
    is_new, is_old = (rows.system == rows.systems.index(name) for name in (new, old))
    shared = np.intersect1d(place[read & is_new], place[read & is_old])
    lacking, extra = np.setdiff1d(place[is_old], place[is_new]), np.setdiff1d(place[is_new], place[is_old])
    return len(shared), len(lacking), len(extra)


def _of_shares(rows: Board, new: int, old: int) -> Interval | None:
    """Tango's interval; None where items are not one zero or one of each."""
    measure = Measure(rows.values, np.ones(len(rows.values), dtype=bool), rows.ends.low, rows.ends.high)
    first, second = (cells(measure, rows.system == one, rows.item, rows.item) for one in (old, new))
    pair = over_items(measure, first, second, int(rows.item.max(initial=-1)) + 1, rows.drawn)
    return None if pair.bits is None else pair.interval(Z)
