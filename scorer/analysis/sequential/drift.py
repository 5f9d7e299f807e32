"""Whether a judge has drifted: bets, one canary after another, that its loss on known rows has left a band.

A loss lies in [0, 1]: how far the judge's score is from the known one. The null is that the expectation of each loss,
given the past, is at most `band`. For a start j and a stake b the capital E(j, b) is the product of
1 + b (loss_t - band) over all t >= j. With b < 1 / band it is never negative, and under the null each factor has an
expectation of at most 1. The judge may drift at any of the n canaries, so the capital is spread evenly over the starts
and the stakes:

    M = 1/n sum over the starts j so far of mean over b of E(j, b)  +  (n - starts so far) / n

What is not yet bet is kept. M starts at 1 and is a supermartingale under the null, so it ever reaches 1 / level with a
probability of at most `level` (Ville 1939), however often one looks. After a drift it takes about ln(n / level) / g
canaries, with g the expectation of ln(1 + b (loss - band)) under the best of the stakes.

The sums over starts need no memory of them: S(b) becomes (S(b) + 1) (1 + b (loss - band)). The start whose capital is
largest, the likeliest time of the drift, is CUSUM's (Page 1954, Biometrika 41): the last time at which the product
since the start fell below 1.

Sources: Shin, Ramdas and Rinaldo (2024), "E-detectors", NEJSDS 2(2), for mixtures over starts; Ville (1939).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.01
"""The chance of a false alarm in a whole run, where the loss is at the band's edge all the time."""
PLAUSIBLE = 0.01
"""The capital of a start beside the largest one, from which on the drift may have begun there."""
STAKES = (0.1, 0.2, 0.35, 0.55)
"""Shares of the largest stake that can be lost without losing everything."""


class Drift:
    """Watches the losses of at most `n` canaries, in the order in which these were asked.

    `least` is the least that a loss can be: 0, or -1 for a signed error. `alarm` is the number of the canary, from 1,
    at which the capital reached 1 / `level`; None before. A canary beyond the n-th still counts for the starts before.

    Raises ValueError for a band that leaves nothing to bet on.
    """

    def __init__(self, band: float, n: int, level: float = LEVEL, least: float = 0.0) -> None:
        if not (least <= 0 <= band < 1 and n >= 1 and 0 < level < 1):
            raise ValueError(f"band {band}, n {n}, level {level}: a band from 0 on and below 1, n >= 1, 0 < level < 1")
        self.band, self.n, self.level = band, n, level
        self._stakes = stakes_of(band, least)
        self._sums = [0.0] * len(self._stakes)
        self._largest = [0.0] * len(self._stakes)  # of all starts, by stake
        self._since = [1] * len(self._stakes)
        self.losses: list[float] = []
        self.alarm: int | None = None

    def add(self, loss: float) -> bool:
        """Takes the loss of the next canary. True where this one raises the alarm."""
        self.losses.append(loss)
        begins = 1.0 if self.seen <= self.n else 0.0
        for place, stake in enumerate(self._stakes):
            factor = 1.0 + stake * (loss - self.band)
            self._sums[place] = (self._sums[place] + begins) * factor
            if self._largest[place] < 1.0:
                self._largest[place], self._since[place] = 1.0, self.seen
            self._largest[place] *= factor
        if self.alarm is None and self.capital >= 1.0 / self.level:
            self.alarm = self.seen
            return True
        return False

    @property
    def seen(self) -> int:
        """How many canaries were seen."""
        return len(self.losses)

    @property
    def capital(self) -> float:
        """M: what 1 has become."""
        return sum(self._sums) / len(self._sums) / self.n + max(0, self.n - self.seen) / self.n

    @property
    def likeliest_start(self) -> int:
        """The number of the canary with which the drift most likely began, from 1; of no meaning without an alarm."""
        return max(zip(self._largest, self._since, strict=True))[1]

    @property
    def earliest_start(self) -> int:
        """The first canary whose start has a capital of at least `PLAUSIBLE` of the largest, at the same stake."""
        largest, since = max(zip(self._largest, self._since, strict=True))
        stake = self._stakes[self._largest.index(largest)]
        found, gained = since, 0.0
        for number in range(since - 1, 0, -1):
            gained += math.log1p(stake * (self.losses[number - 1] - self.band))
            if gained >= math.log(PLAUSIBLE):
                found = number
        return found


def stakes_of(band: float, least: float = 0.0) -> list[float]:
    """The stakes for a band: shares of the one that a loss of `least` would turn into nothing."""
    most = 1.0 / max(band - least, 0.05)
    return [share * most for share in STAKES]


def upper_bound(losses: NDArray[np.float64], level: float) -> float:
    """The least band that the mean of these losses allows: above the true mean with a probability of 1 - `level`.

    The largest c with n KL(mean, c) <= ln(1 / level). Source: Hoeffding (1963), JASA 58, theorem 1, for any values in
    [0, 1]. 1.0 for no losses.
    """
    if not len(losses):
        return 1.0
    mean, most = float(np.mean(losses)), math.log(1 / level) / len(losses)
    low, high = mean, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _divergence(mean, middle) <= most else (low, middle)
    return high


def _divergence(p: float, q: float) -> float:
    """The Kullback-Leibler divergence of Bernoulli(p) from Bernoulli(q)."""
    if q >= 1.0:
        return 0.0 if p >= 1.0 else math.inf
    found = 0.0
    if p > 0:
        found += p * math.log(p / q)
    if p < 1:
        found += (1 - p) * math.log((1 - p) / (1 - q))
    return found


def delays(
    band: float, n: int, before: float, after: float, *, runs: int = 400, at: float = 0.5, seed: int = 0
) -> NDArray[np.float64]:
    """The canaries from a drift to the alarm in simulated runs, sorted; infinite where the run ends first.

    A loss is 0 or 1, with a mean of `before`, and of `after` from the canary `at` * n on. Runs with an alarm before the
    drift are left out.
    """
    rng = np.random.default_rng(seed)
    begins = int(at * n)
    stakes = np.array(stakes_of(band))
    sums, first = np.zeros((runs, len(stakes))), np.full(runs, math.inf)
    for number in range(1, n + 1):
        loss = rng.random((runs, 1)) < (before if number <= begins else after)
        sums = (sums + 1.0) * (1.0 + stakes * (loss - band))
        over = sums.mean(axis=1) / n + (n - number) / n >= 1.0 / LEVEL
        first[over] = np.minimum(first[over], number)
    return np.sort(first[first > begins] - begins)
