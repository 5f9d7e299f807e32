"""Asymptotic confidence sequences: narrower, and right only once there are many items; on request alone.

After n items a mean lies within s sqrt(2 (n r^2 + 1) / (n^2 r^2) log(sqrt(n r^2 + 1) / alpha)) of its estimate, at all
n at once, with s the standard deviation so far; r makes it narrowest at `_NARROWEST` items. Nothing is concluded from
fewer than `_FEWEST`. Items that are drawn without replacement vary less, so it holds for them too.

s counts `_UNSEEN` items more, at the distance of the whole scale. Where rare scores have not come up yet, the deviation
of what was seen is too small, or 0: without them 77 % of runs over a binary score with a mean of .005 missed it.

Source: Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas (2024), "Time-uniform central limit theory and asymptotic
confidence sequences", Annals of Statistics 52(6), the boundary of their Theorem 2.2.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scorer.analysis.sequential.bets import At, Floats, Moments
from scorer.types import Mask

_NARROWEST, _FEWEST = 200, 50
_UNSEEN = 2.0


def half_width(count: NDArray[np.int64], variance: Floats, level: float, scale: float = 1.0) -> Floats:
    """Half of the interval each side of which fails with probability `level`; infinite for few items.

    `variance` is that of what was observed, on a scale of the width `scale`.
    """
    alpha = min(2 * level, 0.99)
    r2 = (-2 * np.log(alpha) + np.log(1 - 2 * np.log(alpha))) / _NARROWEST
    n = np.maximum(count, 1).astype(np.float64)
    wary = (variance * n + _UNSEEN * scale**2) / (n + 1)
    width = np.sqrt(wary * 2 * (n * r2 + 1) / (n**2 * r2) * np.log(np.sqrt(n * r2 + 1) / alpha))
    half: Floats = np.where(count >= _FEWEST, width, np.inf)
    return half


class NormalTests:
    """As `Bets`, asymptotically."""

    def __init__(self, moments: Moments, null: float, level: float, *, strict: bool = True) -> None:
        self._moments, self._null, self._level, self._strict = moments, null, level, strict
        self.won: Mask = np.zeros(moments.count.shape, dtype=bool)

    def add(self, x: Floats, at: At = ...) -> None:
        """Nothing: `settle` looks at the moments."""

    def settle(self) -> None:
        mean, variance = self._moments.estimates()
        self.won |= mean - half_width(self._moments.count, variance, self._level, scale=2.0) > self._null
        self.won |= self._moments.refuted(self._null, strict=self._strict)


def lower(x: Floats, level: float, sizes: NDArray[np.int64] | None) -> Floats:
    """As `hedged.lower`, asymptotically."""
    seen = ~np.isnan(x)
    count = seen.sum(axis=0)
    n, value = np.maximum(count, 1), np.where(seen, x, 0.0)
    mean = value.sum(axis=0) / n
    low: Floats = np.maximum(mean - half_width(count, (value**2).sum(axis=0) / n - mean**2, level), 0.0)
    if sizes is not None:
        low = np.maximum(low, value.sum(axis=0) / np.maximum(sizes, 1))
    return low
