"""Agreement with people of scores that are random in part: averaged over draws, with a bootstrap over items."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scorer.analysis.bootstrap import Bootstrap, Resamples
from scorer.analysis.columns import compact
from scorer.analysis.correlation import Codes, Floats, by_group

PEARSON, ITEM_KENDALL = "pearson", "item_kendall"
"""Pearson's r over all rows, and Kendall's tau-b within items, averaged over the items that define it."""


@dataclass(frozen=True, slots=True)
class Statistic:
    """A value, and what it is in each resample of the items; empty without resamples.

    `items` is how many items it rests on: within items only those whose rows people and the scores tell apart.
    """

    value: float
    draws: Floats
    items: int

    def minus(self, other: Statistic) -> Statistic:
        return Statistic(self.value - other.value, self.draws - other.draws, min(self.items, other.items))


class LabelledItems:
    """Rows with a human value `y`, their `item` (None: each by itself) and `task`, and the resamples of the items."""

    def __init__(self, y: Floats, item: Codes | None, task: Codes | None, bootstrap: Bootstrap) -> None:
        rows = len(y)
        self._y = y
        self._cluster = np.arange(rows) if item is None else compact(item)[0]
        self.drawn = bootstrap.draw(self._cluster)
        self.items = int(self._cluster.max(initial=-1)) + 1
        self._task = np.zeros(rows, dtype=np.int64) if task is None else compact(task)[0]
        self._tasks = int(self._task.max(initial=0)) + 1
        self._group: Codes | None = None
        if item is not None:
            self._group = compact(self._cluster * self._tasks + self._task)[0]
            groups = int(self._group.max(initial=-1)) + 1
            self._task_of, self._cluster_of = np.zeros(groups, dtype=np.int64), np.zeros(groups, dtype=np.int64)
            self._task_of[self._group] = self._task
            self._cluster_of[self._group] = self._cluster if self.drawn is None else self.drawn.cluster

    @property
    def names(self) -> tuple[str, ...]:
        return (PEARSON,) if self._group is None else (PEARSON, ITEM_KENDALL)

    def statistics(self, scores: Floats) -> dict[str, Statistic]:
        """Each statistic of `scores`, rows x draws (NaN: unread): the mean over tasks, and over draws."""
        found = {PEARSON: self._pearson(scores)}
        if self._group is not None:
            found[ITEM_KENDALL] = self._item_kendall(scores, self._group)
        return found

    def _pearson(self, scores: Floats) -> Statistic:
        tasks = [self._pearson_of(scores[rows], rows) for rows in self._rows_by_task()]
        return Statistic(
            _mean(np.array([[value] for value, _ in tasks]))[0],
            _mean(np.stack([draws for _, draws in tasks])),
            self.items,
        )

    def _rows_by_task(self) -> list[Codes]:
        return [np.flatnonzero(self._task == task) for task in range(self._tasks)]

    def _pearson_of(self, scores: Floats, rows: Codes) -> tuple[float, Floats]:
        known = np.isfinite(scores)
        x, y = _unit(np.where(known, scores, np.nan)), _unit(self._y[rows][:, None])
        y = np.where(known, y, 0.0)
        columns = np.concatenate([known.astype(np.float64), x, y, x * x, y * y, x * y], axis=1)
        value = float(_mean(_correlation(columns.sum(axis=0)[None]).T)[0])
        if self.drawn is None:
            return value, np.empty(0)
        totals = _totals(columns, self.drawn, rows)
        return value, _mean(_correlation(totals).T)

    def _item_kendall(self, scores: Floats, group: Codes) -> Statistic:
        count, draws = len(self._task_of), scores.shape[1]
        known = np.isfinite(scores)
        place = (group[:, None] * draws + np.arange(draws))[known]
        tau = np.full(count * draws, np.nan)
        if len(place):
            code, old = compact(place)
            tau[old] = by_group(scores[known], np.broadcast_to(self._y[:, None], scores.shape)[known], code).kendall
        of_item = tau.reshape(count, draws)
        usable = np.isfinite(of_item)
        values, resampled = [], []
        for task in range(self._tasks):
            mine = self._task_of == task
            total, there = np.where(usable & mine[:, None], of_item, 0.0), (usable & mine[:, None]).astype(np.float64)
            with np.errstate(invalid="ignore"):
                values.append(_mean((total.sum(axis=0) / there.sum(axis=0))[:, None])[0])
                if self.drawn is not None:
                    weight = self.drawn.weights[:, self._cluster_of]
                    resampled.append(_mean(((weight @ total) / (weight @ there)).T))
        whole = _mean(np.stack(resampled)) if resampled else np.empty(0)
        rests_on = len(np.unique(self._cluster_of[usable.any(axis=1)]))
        return Statistic(float(_mean(np.array(values)[:, None])[0]), whole, rests_on)


def _totals(columns: Floats, drawn: Resamples, rows: Codes) -> Floats:
    """The weighted sum of each column over `rows`, for each resample."""
    cluster = drawn.cluster[rows]
    order = np.argsort(cluster, kind="stable")
    present, starts = np.unique(cluster[order], return_index=True)
    sums = np.add.reduceat(columns[order], starts, axis=0)
    totals: Floats = drawn.weights[:, present] @ sums
    return totals


def _unit(values: Floats) -> Floats:
    """Each column about its mean and within [-1, 1]; 0 where it is NaN."""
    known = np.isfinite(values)
    values = np.where(known, values, 0.0)
    values = np.where(known, values - values.sum(axis=0) / np.maximum(known.sum(axis=0), 1), 0.0)
    peak = np.abs(values).max(axis=0, initial=0.0)
    return np.asarray(values / np.where(peak > 0, peak, 1.0))


def _correlation(totals: Floats) -> Floats:
    """Pearson's r of each draw from its six sums; NaN where a variance is no more than rounding error."""
    n, x, y, xx, yy, xy = np.split(totals, 6, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        x_left, y_left = xx - x * x / n, yy - y * y / n
        r = np.clip((xy - x * y / n) / np.sqrt(x_left * y_left), -1.0, 1.0)
        return np.where((x_left > 1e-12 * n) & (y_left > 1e-12 * n), r, np.nan)


def _mean(values: Floats) -> Floats:
    """The mean over the first axis of what is defined; NaN where nothing is."""
    known = np.isfinite(values)
    count = known.sum(axis=0)
    means: Floats = np.where(count > 0, np.where(known, values, 0.0).sum(axis=0) / np.maximum(count, 1), np.nan)
    return means
