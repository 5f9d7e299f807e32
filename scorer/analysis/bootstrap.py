"""Cluster bootstrap over items: resamples and confidence intervals of statistics.

Items are drawn with replacement and keep all their rows. Nothing is copied: a resample is a weight for each item, how
often it was drawn, and every statistic is written as sums over items, so that a thousand resamples are one product of
matrices. Two approximations make a million rows as cheap as ten thousand, each smaller than the noise of a thousand
resamples:

- Beyond `BUNDLES` items, random bundles of items are drawn in place of items. That leaves every sum's variance as it is
  in expectation, and the estimate of it within 1 / sqrt(2 BUNDLES) = 1.1 %.
- Beyond `resampled_correlation.EXACT_ROWS` rows, the statistics that are no sums (Spearman, Kendall, pairwise accuracy:
  sums over pairs and triples of rows) are replaced by the terms linear in the weights (Hajek projection), with ratios
  and roots still taken in full. What is left out is smaller by a factor of the order of 1 / sqrt(items). Below, they
  are exact.

Source: Efron and Tibshirani (1993), "An Introduction to the Bootstrap", chapter 13; projection: van der Vaart (1998),
"Asymptotic Statistics", section 12.1; level for few items: Hesterberg (2015), "What Teachers Should Know About the
Bootstrap", The American Statistician 69(4), expanded percentile interval.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from scorer.analysis.correlation import Codes, Floats
from scorer.analysis.pair_table import ROWS_AT_ONCE

BUNDLES = 4096

Interval = tuple[float, float]


FEWEST_ITEMS = 5
"""Of fewer items there is no bootstrap interval. No resample has a mean outside the range of its m items, and the range
of m items holds the centre of a symmetric distribution with a chance of 1 - 2^(1 - m): 50 % of two, 88 % of four."""


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """The settings of a cluster bootstrap: how many resamples are drawn, 0 for no intervals, and the seed."""

    resamples: int = 1000
    seed: int = 0

    def draw(self, item: Codes) -> Resamples | None:
        """Resamples of the items that `item` numbers from 0; None without resamples."""
        return resample(item, self.resamples, self.seed) if self.resamples else None

    def draw_items(self, items: int) -> Resamples | None:
        """Resamples of so many items, which know no rows; None without resamples."""
        return resample_items(items, self.resamples, self.seed) if self.resamples else None


BOOTSTRAP = Bootstrap()
"""1,000 resamples with seed 0."""


@dataclass(frozen=True, slots=True, weakref_slot=True, eq=False)
class Resamples:
    """Drawn weights: `weights` is resamples x clusters, `cluster` each row's cluster, `items` how many there are.

    `cluster` is empty where the rows come some at a time, by `clusters_of`. `bundle` is each item's cluster where
    items are drawn in bundles, None where each is drawn by itself.
    """

    weights: Floats
    cluster: Codes
    items: int
    bundle: NDArray[np.signedinteger[Any]] | None = None

    @property
    def cluster_of_item(self) -> Codes:
        """The cluster in which each item is drawn."""
        return np.arange(self.items, dtype=np.int64) if self.bundle is None else self.bundle.astype(np.int64)

    def clusters_of(self, item: Codes) -> Codes:
        """The clusters in which these items are drawn."""
        return item if self.bundle is None else self.bundle[item].astype(np.int64)

    def sums(self, *columns: Floats) -> list[Floats]:
        """The weighted sum of each column over all rows, for each resample."""
        return self.sums_in_steps(len(self.cluster), lambda rows: [column[rows] for column in columns])

    def sums_in_steps(self, rows: int, columns: Callable[[slice], Sequence[Floats]]) -> list[Floats]:
        """`sums` of columns that are made some rows at a time."""
        clusters = self.weights.shape[1]
        total: list[Floats] = []
        for first in range(0, max(rows, 1), ROWS_AT_ONCE):
            some = slice(first, first + ROWS_AT_ONCE)
            part = [
                np.bincount(self.cluster[some], column, minlength=clusters).astype(np.float64)
                for column in columns(some)
            ]
            total = [one + other for one, other in zip(total, part, strict=True)] if total else part
        return list((self.weights @ np.stack(total, axis=1)).T)

    def cells(self, group: Codes, groups: int, column: Floats | NDArray[np.bool_]) -> Floats:
        """The weighted sum of a column by group: resamples x groups."""
        product: Floats = self.weights @ self.by_cluster(group, groups, column)
        return product

    def by_cluster(self, group: Codes, groups: int, column: Floats | NDArray[np.bool_]) -> Floats:
        """The sum of a column by cluster and group: clusters x groups."""
        clusters = self.weights.shape[1]
        table = np.zeros(clusters * groups)
        step = max(ROWS_AT_ONCE, len(table))
        for first in range(0, len(group), step):
            rows = slice(first, first + step)
            table += np.bincount(self.cluster[rows] * groups + group[rows], column[rows], minlength=len(table))
        return table.reshape(clusters, groups)

    def items_by_group(self, group: Codes, groups: int, known: NDArray[np.bool_]) -> Codes:
        """How many items have a known row in each group; beyond `BUNDLES`, how many bundles."""
        items: Codes = np.count_nonzero(self.by_cluster(group, groups, known), axis=0).astype(np.int64)
        return items

    def interval(self, draws: Floats, *, level: float = 0.95, items: int | None = None) -> Interval | None:
        """The central `level` of the draws, widened for few items; None where half of them or more are undefined.

        `items` are those that the statistic rests on, where that is not all of them; of fewer than `FEWEST_ITEMS` there
        is no interval.

        The plain percentile interval of m items is too narrow by sqrt((m - 1) / m) and ignores Student's t; the level
        is moved outwards to make good for both. A statistic with few possible values (ranks of six systems) has an
        interval that holds the truth more often than that.
        """
        usable = draws[np.isfinite(draws)]
        m = self.items if items is None else min(items, self.items)
        if m < FEWEST_ITEMS or 2 * len(usable) <= len(draws):
            return None
        tail = NormalDist().cdf(-math.sqrt(m / (m - 1)) * student((1 + level) / 2, m - 1))
        low, high = np.quantile(usable, [tail, 1 - tail])
        return float(low), float(high)


def share_interval(share: float, draws: Floats, items: int) -> Interval | None:
    """Wilson's interval of a share of rows, `wilson`, with the variance of its draws; None where they are undefined."""
    usable = draws[np.isfinite(draws)]
    if items < 2 or 2 * len(usable) <= len(draws):
        return None
    return wilson(share, float(usable.var()) * items / (items - 1), items)


def are_shares(values: Floats) -> bool:
    """Whether a column holds verdicts, 0, 1 and half points, so that its means are shares. Ones alone may be grades."""
    known = values[np.isfinite(values)]
    return bool(len(known)) and bool(np.isin(known, (0.0, 0.5, 1.0)).all()) and float(known.min()) < 1


def wilson(share: float, variance: float, items: int) -> Interval:
    """The 95 % interval of a share, as of so many independent rows as would have this variance.

    It serves the mean of any values in [0, 1], such as preferences.

    A share near 0 or 1 has few rows of the rarer kind, and intervals made of its variance are far too sure; where all
    rows are of one kind the variance is 0, and each item counts as one row. It stays within [0, 1].
    wilson(1, 0, 40) = [40 / (40 + z^2), 1] with z = 1.96: [.912, 1].
    Source: Wilson (1927), "Probable inference, the law of succession, and statistical inference", JASA 22(158);
    effective rows: Korn and Graubard (1998), "Confidence intervals for proportions with small expected number of
    positive counts estimated from survey data", Survey Methodology 24(2).
    """
    if variance == 0 and 0 < share < 1:
        return share, share  # every item has that share within itself
    rows = share * (1 - share) / variance if 0 < share < 1 else float(items)
    z2 = NormalDist().inv_cdf(0.975) ** 2
    middle = (share + z2 / (2 * rows)) / (1 + z2 / rows)
    half = math.sqrt(z2 * (share * (1 - share) / rows + z2 / (4 * rows**2))) / (1 + z2 / rows)
    return max(0.0, min(share, middle - half)), min(1.0, max(share, middle + half))


def resample(item: Codes, resamples: int, seed: int) -> Resamples:
    """Resamples of the items that `item` numbers from 0, the same for the same numbers and seed."""
    drawn = resample_items(int(item.max(initial=-1)) + 1, resamples, seed)
    return replace(drawn, cluster=drawn.clusters_of(item))


def resample_items(items: int, resamples: int, seed: int) -> Resamples:
    """Resamples of so many items, the same for the same number and seed; they know no rows.

    While somebody holds them, others get the same: the weights take up to 33 MB.
    """
    if (known := _HELD.get((items, resamples, seed))) is not None:
        return known
    rng = np.random.default_rng(seed)
    clusters = min(items, BUNDLES)
    bundle = np.arange(items, dtype=np.int64)
    if items > BUNDLES:
        bundle = (bundle % BUNDLES).astype(np.int16)  # shuffled it is what a permutation gives, in less memory
        rng.shuffle(bundle)
    weights = np.empty((resamples, clusters))
    for weight in weights:
        weight[:] = np.bincount(rng.integers(0, clusters, size=clusters), minlength=clusters)
    weights.flags.writeable = False
    drawn = _HELD[items, resamples, seed] = Resamples(weights, np.empty(0, dtype=np.int64), items, bundle)
    return drawn


_HELD: WeakValueDictionary[tuple[int, int, int], Resamples] = WeakValueDictionary()


def mean(values: Floats, of: Resamples) -> Floats:
    """The mean of the values that are not NaN, for each resample."""
    known = np.isfinite(values)
    total, count = of.sums(np.where(known, values, 0.0), known.astype(np.float64))
    with np.errstate(invalid="ignore"):
        means: Floats = total / count
        return means


def means_by_group(values: Floats, group: Codes, groups: int, of: Resamples | None) -> tuple[Floats, Floats]:
    """The mean of the values that are not NaN by group, and for each resample x group; NaN where there is none."""
    known = np.isfinite(values)
    filled = values if known.all() else np.where(known, values, 0.0)
    with np.errstate(invalid="ignore"):
        means = np.bincount(group, filled, minlength=groups) / np.bincount(group, known, minlength=groups)
        draws = np.empty((0, groups))
        if of is not None:
            draws = of.cells(group, groups, filled) / of.cells(group, groups, known)
    return means, draws


def student(p: float, freedom: int) -> float:
    """The p quantile of Student's t, within .1 % from 5 degrees of freedom on.

    Source: Abramowitz and Stegun (1964), equation 26.7.5; 1 and 2 degrees of freedom in closed form.
    """
    if freedom == 1:
        return math.tan(math.pi * (p - 0.5))
    if freedom == 2:
        return (2 * p - 1) / math.sqrt(2 * p * (1 - p))
    z = NormalDist().inv_cdf(p)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + math.fsum(term / freedom**power for power, term in enumerate(terms, start=1))
