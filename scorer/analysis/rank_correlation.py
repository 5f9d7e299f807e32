"""Spearman's correlation of rows that come some at a time: what is held grows with the different values alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from scorer.analysis.bootstrap import Resamples
from scorer.analysis.correlation import Codes, Floats, defined, spearman
from scorer.analysis.resampled_correlation import EXACT_ROWS, ratio, spearman_draws

Pairs = Callable[[], Iterable[tuple[Floats, Floats, Codes]]]
"""Gives both numbers and the cluster of the same rows at every call."""


@dataclass(frozen=True, slots=True)
class _Ranked:
    """The different values of a column, how many rows have each, and its average rank about 0, as a share of all."""

    values: Floats
    size: Floats
    rank: Floats

    def code(self, values: Floats) -> Codes:
        """The place of each value."""
        order = np.argsort(values)  # in this order the values are looked up faster
        found = np.empty(len(values), dtype=np.int64)
        found[order] = np.searchsorted(self.values, values[order])
        return found

    def pull(self, in_run: Floats) -> Floats:
        """What one more copy of a row adds through the others' ranks: values above it less those below, halved."""
        upto = np.cumsum(in_run)
        half: Floats = ((upto[-1] - upto) - (upto - in_run)) / (2 * self.size.sum())
        return half


def rank_correlation(pairs: Pairs, drawn: Resamples | None) -> tuple[float | None, Floats]:
    """Spearman's correlation, None where a side is constant or no row is there, and that of each resample.

    The numbers are those of `correlation.spearman` and `resampled_correlation.spearman_draws`, whose sums these are.
    """
    x, y = ValueCounts(), ValueCounts()
    for a, b, _ in pairs():
        x.add(a)
        y.add(b)
    if x.rows <= EXACT_ROWS:
        return _of_few(list(pairs()), drawn)
    first, second = x.ranked(), y.ranked()
    if len(first.values) < 2 or len(second.values) < 2:
        return None, np.empty(0)
    by_first, by_second, product = np.zeros(len(first.values)), np.zeros(len(second.values)), 0.0
    for a, b, _ in pairs():
        at, to = first.code(a), second.code(b)
        mine, other = first.rank[at], second.rank[to]
        by_first += np.bincount(at, other, minlength=len(by_first))
        by_second += np.bincount(to, mine, minlength=len(by_second))
        product += float(mine @ other)
    squares = [float(one.size @ one.rank**2) for one in (first, second)]
    rho = defined(float(np.clip(product / np.sqrt(squares[0] * squares[1]), -1.0, 1.0)))
    if drawn is None:
        return rho, np.empty(0)
    return rho, _projected(pairs, first, second, (by_first, by_second, product), drawn)


def _projected(pairs: Pairs, x: _Ranked, y: _Ranked, sums: tuple[Floats, Floats, float], drawn: Resamples) -> Floats:
    """`resampled_correlation.spearman_draws` of many rows: the linear part of each covariance of ranks."""
    by_x, by_y, product = sums
    own = [one.rank**2 + 2 * one.pull(one.rank * one.size) for one in (x, y)]
    through_x, through_y = x.pull(by_x), y.pull(by_y)
    of_cluster = np.zeros((4, drawn.weights.shape[1]))
    for a, b, cluster in pairs():
        at, to = x.code(a), y.code(b)
        slope = x.rank[at] * y.rank[to] + through_x[at] + through_y[to]
        for row, values in enumerate((None, own[0][at], own[1][to], slope)):
            of_cluster[row] += np.bincount(cluster, values, minlength=of_cluster.shape[1])
    n = float(x.size.sum())
    weight, *linear = (drawn.weights @ one for one in of_cluster)
    totals = float(own[0] @ x.size), float(own[1] @ y.size), product + float(through_x @ x.size + through_y @ y.size)
    # A covariance of ranks is a sum over triples of rows, so its derivatives sum to three times itself.
    xx, yy, xy = (of * n / weight - 2 * total / 3 for of, total in zip(linear, totals, strict=True))
    with np.errstate(divide="ignore", invalid="ignore"):
        return ratio(xy, xx, yy, weight)


def _of_few(parts: Sequence[tuple[Floats, Floats, Codes]], drawn: Resamples | None) -> tuple[float | None, Floats]:
    if not parts:
        return None, np.empty(0)
    x, y, cluster = (np.concatenate([part[n] for part in parts]) for n in range(3))
    rho = spearman(x, y)
    if rho is None or drawn is None:
        return rho, np.empty(0)
    return rho, spearman_draws(x, y, Resamples(drawn.weights, cluster, drawn.items, drawn.bundle))


class ValueCounts:
    """Counts the different values of a column."""

    def __init__(self) -> None:
        self.rows = 0
        self._values, self._counts = np.empty(0), np.empty(0)
        self._new: list[tuple[Floats, Floats]] = []

    def add(self, values: Floats) -> None:
        """Counts some rows."""
        self.rows += len(values)
        found, counts = np.unique(values, return_counts=True)
        self._new.append((found, counts.astype(np.float64)))
        # As many new values as known ones: each is sorted a few times in all.
        if sum(len(one) for one, _ in self._new) > len(self._values):
            self._merge()

    def _merge(self) -> None:
        every = np.concatenate([self._values, *(one for one, _ in self._new)])
        counts = np.concatenate([self._counts, *(one for _, one in self._new)])
        self._values, place = np.unique(every, return_inverse=True)
        self._counts = np.bincount(place, counts, minlength=len(self._values)).astype(np.float64)
        self._new = []

    def sorted(self) -> tuple[Floats, Floats]:
        """The different values in their order, and how many rows have each."""
        self._merge()
        return self._values, self._counts

    def ranked(self) -> _Ranked:
        """The values with their ranks."""
        values, counts = self.sorted()
        first = np.cumsum(counts) - counts
        rank = (first + (counts + 1) / 2) / self.rows - (self.rows + 1) / (2 * self.rows)
        return _Ranked(values, counts, rank)
