"""Eliminates systems that are not the best one, without a correction for how many there are.

Claim. With probability 1 - alpha a best system is never eliminated, however many systems there are, however often one
looks, and also where several are equally good.

Proof. Fix one best system i. Before each item a rival j of i is chosen from the items before alone: the leader so far,
or the second where i leads. D = y[j] - y[i] lies in [-1, 1]. Since i is best, m[j] <= m[i] for *every* j, so whichever
j was chosen, the expectation of D given the past is at most c_t = 0, or without replacement at most -S[j,i] / (N - t),
with S[j,i] the sum of y[j] - y[i] over the t items before (scorer/analysis/sequential/bets.py). Each factor
1 + l (D - c_t) with 0 <= l < 1 / (1 + c_t), l chosen from the past, has an expectation of at most 1. The product is
therefore a supermartingale that starts at 1, and by Ville's inequality it reaches 1 / alpha with a probability of at
most alpha. The answer is wrong only if this one i is eliminated. The capitals of the other systems do not matter:
nothing is claimed about them, so no error is shared out over systems. QED.

A row whose score is unknown enters with the lowest score for j and the highest for i: D is then at most what it would
have been. An item that i or its rival lacks is no bet.

The construction (one capital a system, against a rival chosen beforehand) is this project's; see decision 42. The
coverage study is benchmarks/stop_coverage.py.
"""

from __future__ import annotations

import numpy as np

from scorer.analysis.sequential.bets import Bets, Floats, Moments
from scorer.analysis.sequential.normal import NormalTests
from scorer.types import Mask


class Elimination:
    """The systems that can still be best; `moments` are of the differences [j, i] of each pair of systems."""

    def __init__(self, moments: Moments, systems: int, level: float) -> None:
        self._moments = moments
        self._wanted = -np.log(level)
        self._capital = np.zeros(systems)
        self.alive: Mask = np.ones(systems, dtype=bool)

    def add(self, low: Floats, high: Floats, means: Floats) -> None:
        """The next item, before the moments have it. `means` are those of the items before."""
        alive = np.flatnonzero(self.alive)
        if len(alive) < 2:
            return
        order = alive[np.argsort(-means[alive], kind="stable")]
        rivals = np.where(alive == order[0], order[1], order[0])
        self._capital[alive] += self._moments.gain(0.0, low[rivals] - high[alive], (rivals, alive))

    def settle(self) -> None:
        """Eliminates; call it once the moments have the item. One system is left in any case."""
        alive = np.flatnonzero(self.alive)
        beaten = self._moments.refuted(0.0, strict=True, at=np.ix_(alive, alive)).any(axis=0)
        stays = ~beaten & (self._capital[alive] < self._wanted)
        if not stays.any():  # with probability alpha at most, or where items are missing
            stays[np.argmin(np.where(beaten, np.inf, self._capital[alive]))] = True
        self.alive[alive] = stays


class PairwiseElimination:
    """Eliminates a system that any other one beats, by `tests` of all pairs: each has its share of the error."""

    def __init__(self, tests: Bets | NormalTests, systems: int) -> None:
        self._tests = tests
        self.alive: Mask = np.ones(systems, dtype=bool)

    def add(self, low: Floats, high: Floats, means: Floats) -> None:
        """Nothing: the tests look at the moments."""

    def settle(self) -> None:
        """Eliminates; call it once the moments have the item. One system is left in any case."""
        self._tests.settle()
        alive = np.flatnonzero(self.alive)
        stays = ~self._tests.won[np.ix_(alive, alive)].any(axis=0)
        if stays.any():
            self.alive[alive] = stays
