"""What human labels say of a choice of systems: means on people's scale, and whether people would choose alike."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from scorer.analysis.board import Board
from scorer.analysis.bootstrap import Bootstrap, Interval, wilson
from scorer.analysis.choose_result import ByPeople
from scorer.analysis.correlation import Floats
from scorer.analysis.label_design import LabelDesign
from scorer.analysis.prediction_powered_fit import LabelledRows, error_of, fit_mean
from scorer.analysis.prediction_powered_pairs import differences_of
from scorer.analysis.rank_table import nullable
from scorer.analysis.simultaneous import Z, tango


class PeoplesScale:
    """The rows of a board with human values `people`, NaN without a label; `judged` are those of the population.

    `same_scale`: people's values are on the judge's scale, so that a margin in its points is one in theirs. `design`
    says which labels are a random sample, and how many rows each stands for. `weights` are those of the tasks: a mean
    on people's scale is the weighted mean of the tasks' means, as the judge's is.
    """

    def __init__(
        self,
        rows: Board,
        people: Floats,
        judged: NDArray[np.bool_],
        design: LabelDesign,
        weights: Floats,
        bootstrap: Bootstrap,
    ) -> None:
        self._rows, self._judged, self._design, self._bootstrap = rows, judged, design, bootstrap
        self._of_row = _row_weights(rows, judged, weights)
        self.people = np.where(design.usable & judged, people, np.nan)
        self.labels = int(np.isfinite(self.people).sum())
        self.same_scale = on_scale(rows, self.people)

    def off_scale_note(self) -> Iterator[str]:
        """A sentence where labels lie beyond the judge's scale, so that they do not say whom the judge favours."""
        if self.labels and not self.same_scale:
            ends = self._rows.ends
            yield (
                f"Labels reach from {np.nanmin(self.people):g} to {np.nanmax(self.people):g}, beyond the "
                f"{'scale' if ends.is_scale else 'scores'} of the judge ({ends.low:g} to {ends.high:g}): they are "
                "taken for another scale, and do not say by how much the judge favours a system. Correct a label that "
                "is a slip."
            )

    def leads(self) -> list[LabelledRows]:
        """By system, score less human value of the rows that have both."""
        return [_weighed(part, of, 0.0) for part, of in self._weighted(self._rows.values - self.people)]

    def columns(self, bar: float | None) -> dict[str, pl.Series]:
        """Columns of a table of systems: labels, people, people_low, people_high; with a bar acceptable_people, too."""
        k = len(self._rows.systems)
        found = {name: np.full(k, np.nan) for name in ("people", "people_low", "people_high")}
        labels = np.bincount(self._rows.system[np.isfinite(self.people)], minlength=k)
        for s, part in enumerate(self._by_weight()):
            fit = fit_mean(part)
            if fit is not None:
                found["people"][s] = fit.value
                found["people_low"][s], found["people_high"][s] = fit.error.interval(fit.value) or (np.nan, np.nan)
        columns = {"labels": pl.Series(labels), **{name: nullable(values) for name, values in found.items()}}
        return columns if bar is None else {**columns, **self._acceptable(bar)}

    def _acceptable(self, bar: float) -> dict[str, pl.Series]:
        """The share of rows that people would find acceptable, by system; each row counts alike."""
        found = {f"acceptable_people{end}": np.full(len(self._rows.systems), np.nan) for end in ("", "_low", "_high")}
        for s, part in enumerate(self._parts(self.people)):
            share = share_reaching(part, bar, same_scale=self.same_scale)
            if share is not None:
                for name, value in zip(found, share, strict=True):
                    found[name][s] = value
        return {name: nullable(values) for name, values in found.items()}

    def of(self, chosen: str | None, margin: float) -> ByPeople:
        """Whether people would find the choice less than the margin behind every other system."""
        parts = dict(zip(self._rows.systems, self._by_weight(), strict=True))
        found, _ = differences_of(parts, paired=self._rows.item_column is not None, bootstrap=self._bootstrap)
        ahead: list[tuple[float, Interval | None, str]] = []
        for one in found:
            if one.a == chosen:
                turned = None if one.interval is None else (-one.interval[1], -one.interval[0])
                ahead.append((-one.difference, turned, one.b))
            elif one.b == chosen:
                ahead.append((one.difference, one.interval, one.a))
        if not ahead:
            return ByPeople(self.labels, None, None, None, None, self.same_scale)
        value, interval, rival = max(ahead, key=lambda one: math.inf if one[1] is None else one[1][1])
        agrees: bool | None = None
        if self.same_scale and len(ahead) == len(parts) - 1:
            if all(ends is not None and ends[1] < margin for _, ends, _ in ahead):
                agrees = True
            elif worse := [one for one in ahead if one[1] is not None and one[1][0] >= max(margin, 1e-12)]:
                agrees = False
                value, interval, rival = max(worse)
        return ByPeople(self.labels, agrees, rival, value, interval, self.same_scale)

    def _parts(self, y: Floats) -> list[LabelledRows]:
        return [part for part, _ in self._weighted(y)]

    def _by_weight(self) -> list[LabelledRows]:
        """Rows whose plain mean is the weighted mean of tasks: each is moved away from the judge's mean by its weight.

        That is c + w (y - c) with c the judge's weighted mean and w of mean 1, so its mean is that of w y, whatever c.
        """
        found = []
        for part, of in self._weighted(self.people):
            read = np.isfinite(part.f)
            center = float(np.average(part.f[read], weights=of[read])) if of[read].sum() > 0 else 0.0
            found.append(_weighed(part, of, center))
        return found

    def _weighted(self, y: Floats) -> list[tuple[LabelledRows, Floats]]:
        """By system its rows with these values, and their weights."""
        items = int(self._rows.item.max(initial=-1)) + 1
        whole = LabelledRows(self._rows.values, y, self._rows.item, items, self._design.weight, self._design.stratum)
        masks = [self._judged & (self._rows.system == s) for s in range(len(self._rows.systems))]
        return [(whole.where(mask), self._of_row[mask]) for mask in masks]


def _row_weights(rows: Board, judged: NDArray[np.bool_], weights: Floats) -> Floats:
    """By row its task's weight over the task's share of the system's judged rows; NaN where the system lacks a task."""
    count = np.zeros((len(rows.systems), len(rows.tasks)))
    np.add.at(count, (rows.system[judged], rows.task[judged]), 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        by_task = np.where(weights > 0, weights * count.sum(axis=1, keepdims=True) / count, 0.0)
    by_task[~np.isfinite(by_task).all(axis=1)] = np.nan
    found: Floats = by_task[rows.system, rows.task]
    return found


def _weighed(rows: LabelledRows, of: Floats, center: float) -> LabelledRows:
    return replace(rows, f=center + of * (rows.f - center), y=center + of * (rows.y - center))


def on_scale(rows: Board, people: Floats) -> bool:
    """Whether people's values can be on the judge's scale: all of them are within it, or within the observed scores."""
    known = people[np.isfinite(people)]
    return bool(len(known)) and bool(known.min() >= rows.ends.low) and bool(known.max() <= rows.ends.high)


def share_reaching(rows: LabelledRows, bar: float, *, same_scale: bool) -> tuple[float, float, float] | None:
    """The share of rows that people would give `bar` or more, with its 95 % interval; None below two labelled items.

    Either the labelled rows alone, with Wilson's interval; or, where these are a simple random sample, the judge's
    share of all rows corrected by the labels: the difference of two paired shares has Tango's interval, and its ends
    are added to the error of the judge's share as in Zou and Donner (2008). The second where the scales are the same,
    each labelled row is read, and it promises to be narrower. Neither takes few labels that all agree for certainty, as
    the variance of a sum of errors would.
    """
    labelled = np.isfinite(rows.y)
    items = len(np.unique(rows.cluster[labelled]))
    if items < 2:
        return None
    reached = np.where(labelled, rows.y >= bar, np.nan)
    share, y = min(max(rows.label_mean(reached), 0.0), 1.0), rows.y[labelled] >= bar
    alone = wilson(share, rows.label_error(reached).variance, items)
    read = np.isfinite(rows.f)
    if not same_scale or not read[labelled].all() or rows.weight is not None:
        return share, *alone
    judge = (rows.f >= bar).astype(np.float64)
    more, fewer = (float(side.mean()) * items for side in (y & (judge[labelled] == 0), ~y & (judge[labelled] == 1)))
    of_judge = error_of(judge[read], rows.where(read), read[read]).variance
    if _variance(more, fewer, items) / items + of_judge >= _variance(share * items, 0.0, items) / items:
        return share, *alone
    low, high = tango(more, fewer, items)
    difference = (more - fewer) / items
    value = float(judge[read].mean()) + difference
    spread = Z * Z * of_judge
    return (
        min(max(value, 0.0), 1.0),
        max(0.0, value - math.sqrt((difference - low) ** 2 + spread)),
        min(1.0, value + math.sqrt((high - difference) ** 2 + spread)),
    )


def _variance(up: float, down: float, n: int) -> float:
    """Of a value that is 1 in `up` of n rows, -1 in `down` and else 0, with half a row more of each."""
    up, down, n = up + 0.5, down + 0.5, n + 1
    return (up + down) / n - ((up - down) / n) ** 2
