"""Means of systems that did not all answer the same items: adjusted for the items by two-way least squares.

A system that lacks the hardest items has a higher mean for that alone. With an effect for each system and one for each
item fitted together, a system's adjusted mean is what it would have had on all the items. Where every system has a
score for every item it is the plain mean.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scorer.analysis.bootstrap import Resamples
from scorer.analysis.correlation import Codes, Floats
from scorer.analysis.row_parts import Block, Counts, ItemBlocks, RowPart, Sums, sums_by_task


@dataclass(frozen=True, slots=True)
class Adjusted:
    """The adjusted mean of each system, and the `part` of the table that it belongs to; NaN and -1 without a score.

    Systems that share items, directly or through other systems, are of one part. Systems of different parts cannot be
    compared. `influence` is clusters x systems, what each cluster of items adds to the error of the mean;
    empty without resamples.
    """

    means: Floats
    part: Codes
    influence: Floats


@dataclass(frozen=True, slots=True)
class ItemFit:
    """What the items of a task say: the `adjusted` means where the table has holes, None elsewhere.

    `ends` are the adjusted means with every unread row at either end; None where the plain ones are these.
    """

    adjusted: Adjusted | None
    ends: tuple[Floats, Floats] | None


def adjust(values: Floats, system: Codes, systems: int, item: Codes, drawn: Resamples | None) -> Adjusted:
    """The adjusted means over all items of the rows; NaN in `values` is an unread score.

    An item weighs as much as a system has rows of it on average, unread ones included.
    By hand: a has 1 and 3 on two items, b has 4 on the second: b leads by 1, and has
    3 on both, where its raw mean is 4.
    Source: the two-way model of Searle (1971), "Linear Models", chapter 7; errors clustered by item, as in Liang and
    Zeger (1986), "Longitudinal data analysis using generalized linear models", Biometrika 73(1).
    """
    parts, items = _one_part(values, system, item)
    (sums,) = sums_by_task(parts, systems, 1, drawn)
    fit = _Fit(systems, 1)
    blocks = ItemBlocks(parts, systems, 1, items)
    for block in blocks():
        fit.add(block.read, block.total[:, None], _weight(block))
    fit.solve(sums.total.sum(axis=0)[:, None])
    terms = _ClusterTerms(drawn, systems, fit.parts)
    for block in blocks():
        terms.add(block, fit)
    return terms.adjusted(fit, sums)


def has_holes(values: Floats, system: Codes, item: Codes) -> bool:
    """Whether a system lacks a score for an item for which another has one."""
    parts, items = _one_part(values, system, item)
    fit = _Fit(int(system.max(initial=0)) + 1, 1)
    for block in ItemBlocks(parts, fit.systems, 1, items)():
        fit.add(block.read, block.total[:, None], _weight(block))
    return fit.has_holes


def _one_part(values: Floats, system: Codes, item: Codes) -> tuple[Callable[[], Iterable[RowPart]], int]:
    part = RowPart(values, system, np.zeros(len(values), dtype=np.int64), item)
    return lambda: [part], int(item.max(initial=-1)) + 1


def fit_items(
    blocks: ItemBlocks, sums: Sequence[Sums], systems: int, ends: tuple[float, float], drawn: Resamples | None
) -> list[ItemFit]:
    """The fit of each task. Where the table has holes, the means are adjusted (`adjust`)."""
    reads, fills = ([_Fit(systems, columns) for _ in sums] for columns in (1, 2))
    for block in blocks():
        weight = _weight(block)
        reads[block.task].add(block.read, block.total[:, None], weight)
        fills[block.task].add(block.every, _filled(block, ends), weight)
    unlike = [fit.has_holes and not full.is_balanced for fit, full in zip(reads, fills, strict=True)]
    terms: dict[int, _ClusterTerms] = {}
    for task, (fit, full, of) in enumerate(zip(reads, fills, sums, strict=True)):
        total = of.total.sum(axis=0)
        if fit.has_holes:
            fit.solve(total[:, None])
            terms[task] = _ClusterTerms(drawn, systems, fit.parts)
        if unlike[task]:
            full.solve(np.stack([total + end * of.unread for end in ends], axis=1))
    for block in blocks() if terms else ():
        if block.task in terms:
            terms[block.task].add(block, reads[block.task])
        if unlike[block.task]:
            fills[block.task].add_level(block.every, _filled(block, ends), _weight(block))
    return [
        ItemFit(
            terms[task].adjusted(fit, of) if task in terms else None,
            (full.means[:, 0], full.means[:, 1]) if unlike[task] else None,
        )
        for task, (fit, full, of) in enumerate(zip(reads, fills, sums, strict=True))
    ]


def _weight(block: Block) -> Floats:
    """The weight of each item: its rows over the number of systems that have any."""
    weight: Floats = block.every.sum(axis=1) / np.maximum(np.count_nonzero(block.every, axis=1), 1)
    return weight


def _filled(block: Block, ends: tuple[float, float]) -> Floats:
    """The sum of each item's values with its unread rows at either end."""
    unread = (block.every - block.read).sum(axis=1)
    return np.stack([block.total + end * unread for end in ends], axis=1)


class _Fit:
    """The normal equations of a task whose rows are counted in one way, for several columns of values."""

    def __init__(self, systems: int, columns: int) -> None:
        self.systems = systems
        self.rows = np.zeros(systems)
        self._between = np.zeros((systems, systems))
        self._right = np.zeros((systems, columns))
        self.seen = np.zeros(systems)  # the weighted share of each system in the items
        self._items, self._pairs, self._least, self._most = 0, 0, 0, 0

    def add(self, count: Counts, total: Floats, weight: Floats) -> None:
        """Adds items: `count` is items x systems, `total` items x columns."""
        rows = count.sum(axis=1)
        there = rows > 0
        if not there.any():
            return
        of_item, rows = count[there], rows[there].astype(np.float64)
        known = of_item[of_item > 0]
        least, most = int(known.min()), int(known.max())
        self._least, self._most = min(self._least or least, least), max(self._most, most)
        self._items, self._pairs = self._items + len(rows), self._pairs + len(known)
        share = of_item / np.sqrt(rows)[:, None]
        self._between -= share.T @ share
        self._right -= of_item.T @ (total[there] / rows[:, None])
        self.seen += (weight[there] / np.sqrt(rows)) @ share
        self.rows += of_item.sum(axis=0)

    @property
    def has_holes(self) -> bool:
        """Whether a system has no row of an item of which another has one."""
        return self._pairs < self._items * int(np.count_nonzero(self.rows))

    @property
    def is_balanced(self) -> bool:
        """Whether every system has as many rows of every item: adjusted means are then the plain ones."""
        return not self.has_holes and self._least == self._most

    def solve(self, sums: Floats) -> None:
        """The effects of the systems, whose values add up to `sums`, systems x columns."""
        between = self._between + np.diag(self.rows)
        self.part = _parts(between, self.rows > 0)
        self.inverse = np.linalg.pinv(between, rcond=1e-10, hermitian=True)
        self.effect: Floats = self.inverse @ (self._right + sums)
        self.size = np.zeros(self.parts)
        self._level = np.zeros((self.parts, sums.shape[1]))

    @property
    def parts(self) -> int:
        """How many parts the table has."""
        return int(self.part.max(initial=-1)) + 1

    def add_level(self, count: Counts, total: Floats, weight: Floats) -> tuple[NDArray[np.bool_], Floats, Codes]:
        """Adds items to the mean level of their part; which have rows, their levels, and their parts."""
        rows = count.sum(axis=1)
        there = rows > 0
        of_item = count[there]
        level: Floats = (total[there] - of_item @ self.effect) / rows[there][:, None]
        part = self.part[(of_item > 0).argmax(axis=1)]
        self.size += np.bincount(part, weight[there], minlength=self.parts)
        np.add.at(self._level, part, weight[there][:, None] * level)
        return there, level, part

    @property
    def middle(self) -> Floats:
        """The mean level of each part: parts x columns."""
        return np.asarray(self._level / self.size[:, None], dtype=np.float64)

    @property
    def means(self) -> Floats:
        """The adjusted means: systems x columns."""
        return np.where(self.part[:, None] >= 0, self.effect + self.middle[self.part], np.nan)


class _ClusterTerms:
    """What each cluster of items adds to the error of adjusted means."""

    def __init__(self, drawn: Resamples | None, systems: int, parts: int) -> None:
        self._drawn = drawn
        clusters = 0 if drawn is None else drawn.weights.shape[1]
        self._levels = np.zeros((clusters, systems))
        self._drift = np.zeros((clusters, parts))
        self._weight = np.zeros((clusters, parts))

    def add(self, block: Block, fit: _Fit) -> None:
        """Adds items."""
        weight = _weight(block)
        there, level, part = fit.add_level(block.read, block.total[:, None], weight)
        if self._drawn is None:
            return
        cluster = self._drawn.clusters_of(block.item[there])
        np.add.at(self._levels, cluster, block.read[there] * level)
        np.add.at(self._drift, (cluster, part), weight[there] * level[:, 0])
        np.add.at(self._weight, (cluster, part), weight[there])

    def adjusted(self, fit: _Fit, sums: Sums) -> Adjusted:
        """The means with what the clusters add."""
        means = fit.means[:, 0]
        if self._drawn is None:
            return Adjusted(means, fit.part, np.empty((0, fit.systems)))
        of_effect = (sums.total - sums.count * fit.effect[:, 0] - self._levels) @ fit.inverse
        drift = (self._drift - self._weight * fit.middle[:, 0]) / fit.size
        for p in range(fit.parts):
            drift[:, p] -= of_effect @ np.where(fit.part == p, fit.seen / fit.size[p], 0.0)
        influence = of_effect + drift[:, np.maximum(fit.part, 0)]
        return Adjusted(means, fit.part, np.where(fit.part >= 0, influence, 0.0))


def _parts(between: Floats, there: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Codes:
    """The number of the part that each system belongs to, by the items that they share; -1 without any."""
    part = np.full(len(between), -1, dtype=np.int64)
    linked = between < 0
    parts = 0
    for first in np.flatnonzero(there):
        if part[first] >= 0:
            continue
        members = np.zeros(len(between), dtype=bool)
        members[first] = True
        while not np.array_equal(grown := members | linked[members].any(axis=0), members):
            members = grown
        part[members & there] = parts
        parts += 1
    return part
