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

from scorer.analysis.bootstrap import Interval, Resamples, student
from scorer.analysis.correlation import Codes, Floats

CHUNK = 256
Z = NormalDist().inv_cdf(0.975)


@dataclass(frozen=True, slots=True)
class Contrast:
    """A difference: its value, what each item adds to its error, and the number of items that it rests on."""

    value: float
    of_item: Floats
    items: int

    @property
    def error(self) -> float:
        """The standard error, as of m - 1 of m free items; NaN for a single item."""
        m = self.items
        return math.sqrt(float(np.dot(self.of_item, self.of_item)) * m / (m - 1)) if m > 1 else math.nan


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
            part, m = influence[:, start : start + CHUNK], items[start : start + CHUNK]
            size = np.sqrt((part * part).sum(axis=0))
            known = (m > 1) & (size > 0)
            if not known.any():
                continue
            scaled = (part[:, known] / size[known]).astype(np.float32)
            moved = (self._weights @ scaled).astype(np.float64)
            squares = (self._weights @ (scaled * scaled)).astype(np.float64) - moved**2 / len(scaled)
            free = m[known] / (m[known] - 1)
            # A resample may leave out the few items in which two systems differ: no error below half of the whole's.
            t = np.abs(moved) / np.sqrt(np.maximum(squares, 0.25) * free) / widening(m[known])
            np.maximum(self._most, t.max(axis=1), out=self._most)

    def critical(self) -> float:
        """How many standard errors wide each side is, before `widening`; at least 1.96, as for a single one."""
        return max(Z, float(np.quantile(self._most, 0.95))) if len(self._most) else Z


def widening(items: Codes) -> Floats:
    """By how much Student's t of m - 1 degrees of freedom is wider than the normal distribution."""
    by_count = {m: student(0.975, max(m - 1, 1)) / Z for m in np.unique(items).tolist()}
    return np.array([by_count[m] for m in items.tolist()], dtype=np.float64)


def simultaneous(contrasts: Sequence[Contrast], drawn: Resamples | None) -> list[Interval | None]:
    """The 95 % interval of each, such that all hold together; without resamples, or of one, each by itself.

    None where nothing varies: differences that happen to agree prove nothing.
    """
    if not contrasts:
        return []
    family = Family(drawn if len(contrasts) > 1 else None)
    items = np.array([contrast.items for contrast in contrasts], dtype=np.int64)
    if drawn is not None and len(contrasts) > 1:
        for start in range(0, len(contrasts), CHUNK):
            part = contrasts[start : start + CHUNK]
            family.add(np.stack([bundled(c.of_item, drawn) for c in part], axis=1), items[start : start + CHUNK])
    critical = family.critical()
    halves = [critical * width * c.error for c, width in zip(contrasts, widening(items).tolist(), strict=True)]
    return [(c.value - half, c.value + half) if half > 0 else None for c, half in zip(contrasts, halves, strict=True)]


def bundled(of_item: Floats, drawn: Resamples) -> Floats:
    """Sums over the clusters that are drawn together; `drawn` is of as many items as there are values."""
    if len(of_item) == drawn.weights.shape[1]:
        return of_item
    sums: Floats = np.bincount(drawn.cluster, of_item, minlength=drawn.weights.shape[1]).astype(np.float64)
    return sums


def tango(first: int, second: int, n: int, z: float = Z) -> Interval:
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
    ones.
    """
    return span * z * z / (items + z * z)


def discordant(difference: Floats) -> tuple[int, int] | None:
    """How many pairs of zeros and ones differ, in the one direction and the other; None where others occur."""
    if not np.isin(difference, (-1.0, 0.0, 1.0)).all():
        return None
    return int((difference > 0).sum()), int((difference < 0).sum())
