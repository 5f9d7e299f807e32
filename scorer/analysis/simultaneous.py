"""Intervals of many differences that hold together: a studentised max-t bootstrap over items.

Each difference is given by its influence on items: what an item adds to its error, summing to 0. In every resample of
the items each difference is divided by its own standard error there, and the largest of all is kept; its 95 % quantile
is the half width of every interval, in standard errors. It allows for how the differences depend on one another, which
a Bonferroni or Holm correction does not.

Source: Romano and Wolf (2005), "Stepwise multiple testing as formalized data snooping", Econometrica 73(4), the
studentised version, without steps; ranks from it: Mogstad, Romano, Shaikh and Wilhelm (2024), "Inference for ranks",
Review of Economic Studies 91(1).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from scorer.analysis.bootstrap import FEWEST_ITEMS, Interval, Resamples, student
from scorer.analysis.correlation import Codes, Floats

CHUNK = 256
Z = NormalDist().inv_cdf(0.975)


@dataclass(frozen=True, slots=True)
class Contrast:
    """A difference: its value, its standard error, the number of items that it rests on.

    `influence` is what each cluster that is drawn adds to its error, over the root of the sum of squares and in single
    precision; empty without resamples. The error is as of m - 1 of m free items, NaN for a single item.
    """

    value: float
    error: float
    items: int
    influence: NDArray[np.float32]


def contrast(value: float, of_item: Floats, items: int, drawn: Resamples | None) -> Contrast:
    """Of a difference to whose error each item adds `of_item`; `drawn` are resamples of as many items."""
    error = math.sqrt(float(np.dot(of_item, of_item)) * items / (items - 1)) if items > 1 else math.nan
    influence = np.empty(0, dtype=np.float32)
    if drawn is not None and items > 1:
        clusters = drawn.weights.shape[1]
        influence = unit(np.bincount(drawn.cluster_of_item, of_item, minlength=clusters).astype(np.float64))
    return Contrast(value, error, items, influence)


def unit(influence: Floats) -> NDArray[np.float32]:
    """The same direction of length 1: scores may be of sizes that single precision does not hold."""
    size = math.sqrt(float(np.dot(influence, influence)))
    return (influence / size if size > 0 else influence).astype(np.float32)


class Family:
    """Differences whose intervals are to hold together; they are added some at a time, as influence on clusters."""

    def __init__(self, drawn: Resamples | None) -> None:
        self._weights = None if drawn is None else drawn.weights.astype(np.float32)
        self._most = np.zeros(0 if drawn is None else len(drawn.weights))

    def add(self, influence: Floats, items: Codes) -> None:
        """`influence` is clusters x differences, `items` how many items each rests on. Of one item nothing is known."""
        if self._weights is None:
            return
        for start in range(0, influence.shape[1], CHUNK):
            t, known = studentised(self._weights, influence[:, start : start + CHUNK], items[start : start + CHUNK])
            if known.any():
                np.maximum(self._most, np.abs(t).max(axis=1), out=self._most)

    def critical(self) -> float:
        """How many standard errors wide each side is, before `widening`; at least 1.96, as for a single one."""
        return max(Z, float(np.quantile(self._most, 0.95))) if len(self._most) else Z


def studentised(weights: NDArray[np.float32], influence: Floats, items: Codes) -> tuple[Floats, NDArray[np.bool_]]:
    """How far each difference is from its value in each resample, in its own standard errors there: resamples x known.

    `weights` are resamples x clusters, `influence` clusters x differences. The second is which differences are known:
    those that vary, over two items or more.
    """
    influence = influence - influence.mean(
        axis=0
    )  # 0 but for rounding, which may be all that a constant difference has
    size = np.sqrt((influence * influence).sum(axis=0))
    known = (items > 1) & (size > 0)
    scaled = (influence[:, known] / size[known]).astype(np.float32)
    moved = (weights @ scaled).astype(np.float64)
    squares = (weights @ (scaled * scaled)).astype(np.float64) - moved**2 / len(scaled)
    free = items[known] / (items[known] - 1)
    # A resample may leave out the few items in which two systems differ: no error below half of the whole's.
    t: Floats = moved / np.sqrt(np.maximum(squares, 0.25) * free) / widening(items[known])
    return t, known


def widening(items: Codes) -> Floats:
    """By how much Student's t of m - 1 degrees of freedom is wider than the normal distribution."""
    by_count = {m: student(0.975, max(m - 1, 1)) / Z for m in np.unique(items).tolist()}
    return np.array([by_count[m] for m in items.tolist()], dtype=np.float64)


def critical_of(contrasts: Sequence[Contrast], drawn: Resamples | None) -> float:
    """`Family.critical` of all of them."""
    family = Family(drawn if len(contrasts) > 1 else None)
    usable = [one for one in contrasts if one.items > 1]
    if drawn is not None:
        for start in range(0, len(usable), CHUNK):
            part = usable[start : start + CHUNK]
            items = np.array([one.items for one in part], dtype=np.int64)
            family.add(np.stack([one.influence for one in part], axis=1).astype(np.float64), items)
    return family.critical()


def simultaneous(contrasts: Sequence[Contrast], drawn: Resamples | None) -> list[Interval | None]:
    """The 95 % interval of each, such that all hold together; without resamples, or of one, each by itself.

    None where nothing varies: equal differences give no estimate of the error.
    """
    if not contrasts:
        return []
    widths = widening(np.array([one.items for one in contrasts], dtype=np.int64)).tolist()
    critical = critical_of(contrasts, drawn)
    halves = [critical * width * one.error for one, width in zip(contrasts, widths, strict=True)]
    return [
        (one.value - half, one.value + half) if half > 0 else None for one, half in zip(contrasts, halves, strict=True)
    ]


def tango(first: float, second: float, n: int, z: float = Z) -> Interval:
    """The interval of the difference of two paired shares: of n pairs `first` have a one in the first alone.

    `second` pairs have it in the second alone. It is a score interval, and stays sensible where no pair differs:
    tango(0, 0, 30) = -+ z^2 / (n + z^2) = [-.114, .114].
    Source: Tango (1998), "Equivalence test and confidence interval for the difference in proportions for the
    paired-sample design", Statistics in Medicine 17(8), equations 5 and 6.
    """
    difference = (first - second) / n

    def beyond(delta: float) -> float:
        """The score statistic at this difference."""
        b = -first - second + (2 * n - first + second) * delta
        c = -second * delta * (1 - delta)
        share = (math.sqrt(max(b * b - 8 * n * c, 0.0)) - b) / (4 * n)
        spread = n * (2 * share + delta * (1 - delta))
        gap = first - second - n * delta
        if spread <= 0:
            return 0.0 if gap == 0 else math.copysign(math.inf, gap)
        return gap / math.sqrt(spread)

    def end(out: float, inside: float) -> float:
        for _ in range(60):
            middle = (out + inside) / 2
            out, inside = (middle, inside) if abs(beyond(middle)) > z else (out, middle)
        return inside

    return end(-1.0, difference), end(1.0, difference)


def unknown_beyond(items: int, span: float, z: float = Z) -> float:
    """Half the interval of a difference that was 0 in each of so many items, of values that span so much.

    A share of up to z^2 / (n + z^2) of items may yet differ, each by the whole span at most: `tango` for zeros and
    ones. Infinite where the span is 0: all values of the table are one, and no scale is known.
    """
    return span * z * z / (items + z * z) if span > 0 else math.inf


def discordant(difference: Floats) -> tuple[int, int] | None:
    """How many pairs of zeros and ones differ, in the one direction and the other; None where others occur."""
    if not np.isin(difference, (-1.0, 0.0, 1.0)).all():
        return None
    return int((difference > 0).sum()), int((difference < 0).sum())


def simultaneous_of_draws(values: Sequence[float], draws: Sequence[Floats], items: int) -> list[Interval | None]:
    """`simultaneous` of statistics that are known by their `draws` in resamples of the items, no sums over items.

    The standard error is that of the draws. None without draws, for fewer than five items, and where half of the draws
    or more are undefined or all are equal.
    """
    spreads: list[float] = []
    most = np.zeros(len(draws[0]) if draws else 0)
    for value, drawn in zip(values, draws, strict=True):
        known = np.isfinite(drawn)
        usable = items >= FEWEST_ITEMS and 2 * known.sum() > len(drawn)
        spread = float(drawn[known].std()) if usable and math.isfinite(value) else 0.0
        spreads.append(spread)
        if spread > 0:
            # About their own mean: a resampled correlation is a little smaller than that of the table.
            moved = np.abs(drawn - drawn[known].mean()) / spread
            most = np.fmax(most, np.where(known, moved, 0.0))
    critical = max(Z, float(np.quantile(most, 0.95))) if len(most) else Z
    factor = critical * math.sqrt(items / (items - 1)) * student(0.975, items - 1) / Z if items > 1 else math.nan
    return [
        (value - factor * spread, value + factor * spread) if spread > 0 else None
        for value, spread in zip(values, spreads, strict=True)
    ]
