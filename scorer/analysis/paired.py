"""Paired difference of two variants over shared items, and its bounds where rows have no verdict."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scorer.analysis.bootstrap import Interval, Resamples
from scorer.analysis.correlation import Codes, Floats
from scorer.analysis.simultaneous import Contrast, contrast, discordant, tango, unit, unknown_beyond, widening

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Measure:
    """A column to compare: NaN is unread. `rows` are those that it is asked of; `low`, `high` the ends of its scale."""

    values: Floats
    rows: Mask
    low: float
    high: float

    @property
    def span(self) -> float:
        """The width of the scale; 1 for ones alone, which may be shares."""
        return self.high - self.low or (1.0 if self.high in (0.0, 1.0) else 0.0)


@dataclass(frozen=True, slots=True)
class Pair:
    """The second variant less the first. None where there is nothing to compare.

    `contrast` is over the items that both have read; `at_lowest` and `at_highest` are the difference over all items
    that both have, with every unread row at that end of the scale. `items` (None where none are named) and `rows` are
    those of the contrast, `unread` further rows of items that both have. `bits` are the numbers of items that are 1 in
    the second alone and in the first alone, where each item is a zero or a one of each.
    """

    contrast: Contrast | None
    at_lowest: float | None
    at_highest: float | None
    items: int | None
    rows: int
    unread: int
    span: float
    bits: tuple[int, int] | None = None

    @property
    def one_sign(self) -> bool:
        """Whether the difference has one sign wherever unread rows stand."""
        if self.contrast is None or self.at_lowest is None or self.at_highest is None:
            return False
        signs = {np.sign(value) for value in (self.contrast.value, self.at_lowest, self.at_highest)}
        return len(signs) == 1

    def interval(self, critical: float) -> Interval | None:
        """So many standard errors to each side, or Tango's interval at that level for zeros and ones."""
        if self.contrast is None or self.contrast.items < 2:
            return None
        value, m = self.contrast.value, self.contrast.items
        if self.bits is not None:
            return tango(*self.bits, m, critical)
        half = critical * float(widening(np.array([m]))[0]) * self.contrast.error
        if half <= 1e-12 * max(abs(value), self.span):
            half = unknown_beyond(m, self.span, critical)
        return (value - half, value + half) if 0 < half < math.inf else None


@dataclass(frozen=True, slots=True)
class Cells:
    """What one variant has of each item, in the order of `item`: rows, those that are read, the sum of these."""

    item: Codes
    cluster: Codes
    every: Codes
    known: Codes
    total: Floats

    def of(self, items: Codes) -> Cells:
        """Those of these items, all of which it has."""
        kept = np.searchsorted(self.item, items)
        return Cells(items, self.cluster[kept], self.every[kept], self.known[kept], self.total[kept])


def cells(of: Measure, mine: Mask, item: Codes, cluster: Codes) -> Cells:
    """The rows of one variant by `item`; `cluster` numbers the item by which errors are added up."""
    rows = np.flatnonzero(of.rows & mine)
    present, first, what = np.unique(item[rows], return_index=True, return_inverse=True)
    values = of.values[rows]
    read = np.isfinite(values)
    return Cells(
        item=present,
        cluster=cluster[rows][first],
        every=np.bincount(what, minlength=len(present)),
        known=np.bincount(what[read], minlength=len(present)),
        total=np.bincount(what, np.where(read, values, 0.0), minlength=len(present)).astype(np.float64),
    )


def over_items(of: Measure, first: Cells, second: Cells, items: int, drawn: Resamples | None) -> Pair:
    """Paired by item, over `items` items in all.

    An item weighs by the harmonic mean of the two variants' rows of it, as in least squares with an effect for each
    item, so that no variant has more of an item than the other.
    """
    a, b = first, second
    if not np.array_equal(first.item, second.item):
        shared = np.intersect1d(first.item, second.item, assume_unique=True)
        a, b = first.of(shared), second.of(shared)
    unread = int((a.every - a.known).sum() + (b.every - b.known).sum())

    def at(end: float) -> float | None:
        if not len(a.item) or not np.isfinite(end):
            return None
        at_end = [one.total + end * (one.every - one.known) for one in (a, b)]
        gap, weight = _gaps(at_end[0], a.every, at_end[1], b.every)
        return float(weight @ gap)

    both = (a.known > 0) & (b.known > 0)
    if not both.any():
        return Pair(None, at(of.low), at(of.high), 0, 0, unread, of.span)
    gap, weight = _gaps(a.total[both], a.known[both], b.total[both], b.known[both])
    value, home = float(weight @ gap), a.cluster[both]
    of_item = np.bincount(home, weight * (gap - value), minlength=items).astype(np.float64)
    clusters, rows = int(np.count_nonzero(np.bincount(home))), int(a.known[both].sum() + b.known[both].sum())
    bits = None
    if rows == 2 * clusters and np.isin([a.total[both], b.total[both]], (0.0, 1.0)).all():
        bits = discordant(gap)
    difference = contrast(value, of_item, clusters, drawn)
    return Pair(difference, at(of.low), at(of.high), int(both.sum()), rows, unread, of.span, bits)


def _gaps(total_a: Floats, count_a: Codes, total_b: Floats, count_b: Codes) -> tuple[Floats, Floats]:
    """The difference at each item, and the item's weight; the weights add up to 1."""
    weight = 2 / (1 / count_a + 1 / count_b)
    return total_b / count_b - total_a / count_a, weight / weight.sum()


@dataclass(frozen=True, slots=True)
class Sample:
    """One variant as a sample of rows: how many, how many are read, the sum of these, and what a mean needs."""

    every: int
    known: int
    total: float
    squares: float
    influence: Floats


def sample(of: Measure, mine: Mask, drawn: Resamples | None) -> Sample:
    """The rows of one variant; `squares` is the variance of their mean, `influence` its error by cluster of rows."""
    rows = np.flatnonzero(of.rows & mine)
    known = rows[np.isfinite(of.values[rows])]
    values = of.values[known]
    rest = (values - values.mean()) / len(values) if len(values) else values
    influence = np.empty(0)
    if drawn is not None:
        influence = np.bincount(drawn.cluster[known], rest, minlength=drawn.weights.shape[1]).astype(np.float64)
    return Sample(len(rows), len(known), float(values.sum()), float(np.dot(rest, rest)), influence)


def independent(of: Measure, first: Sample, second: Sample) -> Pair:
    """The variants as independent samples of rows: no items are named, and each row is drawn by itself."""
    rows, every = first.known + second.known, first.every + second.every

    def at(end: float) -> float | None:
        if not np.isfinite(end) or not first.every or not second.every:
            return None
        a, b = ((one.total + end * (one.every - one.known)) / one.every for one in (first, second))
        return b - a

    m = min(first.known, second.known)
    if not m:
        return Pair(None, at(of.low), at(of.high), None, rows, every - rows, of.span)
    error = math.sqrt((first.squares + second.squares) * m / (m - 1)) if m > 1 else math.nan
    value = second.total / second.known - first.total / first.known
    difference = Contrast(value, error, m, unit(second.influence - first.influence))
    return Pair(difference, at(of.low), at(of.high), None, rows, every - rows, of.span)
