"""Confidence sequences: bounds of a mean that hold at every item at once, by betting against each possible mean.

For a mean m the capital is the product of 1 + min(l_t, 1 / (2 m_t)) (x_t - m_t) over the items, with m_t = m, or
without replacement m_t = (N m - S) / (N - t); see scorer/analysis/sequential/bets.py. The stakes l_t come from the past
alone. If m is the mean, the capital ever reaches 1 / alpha with a probability of at most alpha. It falls as m grows, so
the means that it refutes are all those below a bound, which is found by bisection.

Source: Waudby-Smith and Ramdas (2024), "Estimating means of bounded random variables by betting", JRSS B 86(1): the
hedged capital process of their Theorem 3, its two sides taken apart, with the predictable stakes given there.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scorer.analysis.sequential.bets import Floats
from scorer.types import Mask

_STEPS = 26
"""Bisections: the bound is exact to 2**-26 of the range, and rounded outwards."""
_MOST = 0.5


def lower(x: Floats, level: float, sizes: NDArray[np.int64] | None) -> Floats:
    """A lower bound of the mean of each column, which holds at all items at once with probability 1 - `level`.

    `x` is items x columns in [0, 1], NaN where a column lacks the item. `sizes` is the number of items in the
    population of each column, None for the population *future*.
    """
    seen = ~np.isnan(x)
    value = np.where(seen, x, 0.0)
    n = np.cumsum(seen, axis=0)
    total = np.cumsum(value, axis=0)
    before_n, before = n - seen, total - value
    mean = (0.5 + total) / (n + 1)
    spread = (0.25 + np.cumsum(np.where(seen, (value - mean) ** 2, 0.0), axis=0)) / (n + 1)
    past = np.vstack([np.full((1, x.shape[1]), 0.25), spread[:-1]])
    t = before_n + 1
    stakes = np.sqrt(2 * np.log(1 / level) / (past * t * np.log1p(t)))

    def refuted(m: Floats) -> Mask:
        if sizes is None:
            mean_left = np.broadcast_to(m, x.shape)
        else:
            mean_left = (sizes * m - before) / np.maximum(sizes - before_n, 1)
        certain = (seen & (mean_left < 0)).any(axis=0)
        stake = np.minimum(stakes, _MOST / np.maximum(mean_left, 1e-12))
        gains = np.log1p(np.where(seen & (mean_left >= 0), stake * (value - mean_left), 0.0))
        found: Mask = certain | (np.cumsum(gains, axis=0).max(axis=0) >= -np.log(level))
        return found

    low, high = np.zeros(x.shape[1]), np.ones(x.shape[1])
    if not len(x):
        return low
    for _ in range(_STEPS):
        middle = (low + high) / 2
        out = refuted(middle)
        low, high = np.where(out, middle, low), np.where(out, high, middle)
    return low if sizes is None else np.maximum(low, total[-1] / np.maximum(sizes, 1))


def upper(x: Floats, level: float, sizes: NDArray[np.int64] | None) -> Floats:
    """An upper bound, as `lower`."""
    return 1.0 - lower(1.0 - x, level, sizes)
