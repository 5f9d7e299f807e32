"""Bets against "the mean is at most c", item by item: the capital proves the statement wrong once it is large enough.

An observation x_t lies in [-1, 1]. Under the null its expectation given the past is at most c_t. A bet of
0 <= l < 1 / (1 + c_t), chosen from the past alone, multiplies the capital by 1 + l (x_t - c_t), which is never negative
and has an expectation of at most 1. So the capital is a supermartingale that starts at 1, and by Ville's inequality
(1939) it ever reaches 1 / alpha with a probability of at most alpha, however often one looks and whenever one stops.

Two populations:

* *future*: items are a random sample of those to come; c_t = c.
* *these*: N items in random order, and the mean over these N is meant. If it is at most c, the items left have a sum of
  at most N c - S, so c_t = (N c - S) / (N - t), with S the sum of the t items before. Where c_t is below -1, no
  values of the items left can make the null true.

Sources: Waudby-Smith and Ramdas (2024), "Estimating means of bounded random variables by betting", JRSS B 86(1), whose
aGRAPA is the stake here; without replacement: the same authors (2020), "Confidence sequences for sampling without
replacement", NeurIPS.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from scorer.types import Mask

Floats = NDArray[np.float64]
At = Any
"""An index into the arrays of a `Moments`."""
TOLERANCE = 1e-9
"""Sums of equal scores that were added in different orders differ by less, an item."""
_MOST = 0.75
"""The largest stake, as a share of the one that can lose everything."""
_LEAST_VARIANCE = 1e-3


class Moments:
    """Sums of what was observed of many series, each in [-1, 1], and the number of items in the population of each.

    `sizes` has the series' shape; None for the population *future*. NaN in an observation is an item that the series
    does not have: it is no part of its population.
    """

    def __init__(self, shape: tuple[int, ...], sizes: NDArray[np.int64] | None) -> None:
        self.count = np.zeros(shape, dtype=np.int64)
        self.sum = np.zeros(shape)
        self._squares = np.zeros(shape)
        self._sizes = sizes

    def add(self, x: Floats, at: At = ...) -> None:
        """The next item of the series `at`."""
        seen = ~np.isnan(x)
        value = np.where(seen, x, 0.0)
        self.count[at] += seen
        self.sum[at] += value
        self._squares[at] += value * value

    def estimates(self) -> tuple[Floats, Floats]:
        """The mean and the variance of what was observed of each series; 0 where nothing was."""
        n = np.maximum(self.count, 1)
        mean = self.sum / n
        return mean, np.maximum(self._squares / n - mean**2, 0.0)

    def refuted(self, null: float, *, strict: bool, at: At = ...) -> Mask:
        """Where the mean is surely above `null`, whatever the items left are; without `strict` at least `null`."""
        if self._sizes is None:
            return np.zeros(self.count[at].shape, dtype=bool)
        size = self._sizes[at]
        least, slack = self.sum[at] - (size - self.count[at]), TOLERANCE * size
        found: Mask = least > size * null + slack if strict else least >= size * null - slack
        return found & (size > 0)

    def gain(self, null: float, x: Floats, at: At = ...) -> Floats:
        """What the next item adds to the logarithm of the capital against `null`; call it before `add`.

        0 where a series has no such item, and where the null is certain or refuted already.
        """
        count, total = self.count[at], self.sum[at]
        if self._sizes is None:
            c, bets = np.full(count.shape, null), ~np.isnan(x)
        else:
            left = self._sizes[at] - count
            c = (self._sizes[at] * null - total) / np.maximum(left, 1)
            bets = ~np.isnan(x) & (left > 0) & (c <= 1) & (c >= -1)
        mean = total / (count + 1)
        variance = np.maximum((self._squares[at] + 0.25) / (count + 1) - mean**2, _LEAST_VARIANCE)
        edge = mean - c
        stake = np.clip(edge / (variance + edge**2), 0.0, _MOST / np.maximum(1 + c, TOLERANCE))
        won: Floats = np.log1p(np.where(bets, stake * (x - c), 0.0))
        return won


class Bets:
    """One-sided tests of many means against one null. What is `won` stays won.

    The claim is "above `null`"; without `strict` it is "at least `null`", which a mean of exactly that satisfies.
    """

    def __init__(self, moments: Moments, null: float, level: float, *, strict: bool = True) -> None:
        self._moments, self._null, self._strict = moments, null, strict
        self._wanted = -np.log(level)
        self._capital = np.zeros(moments.count.shape)
        self.won: Mask = np.zeros(moments.count.shape, dtype=bool)

    def add(self, x: Floats, at: At = ...) -> None:
        """The next item of the series `at`; call it before the moments have it."""
        self._capital[at] += self._moments.gain(self._null, x, at)

    def settle(self) -> None:
        """Says what is won; call it once the moments have the item."""
        self.won |= self._capital >= self._wanted
        self.won |= self._moments.refuted(self._null, strict=self._strict)
