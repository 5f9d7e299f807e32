"""The readings of a judge's samples as arrays, and the score that any subset of a row's samples gives."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from scorer.analysis.correlation import Codes, Floats

DRAWS = 20
"""Random subsets of a row's samples, of each size but the whole."""


@dataclass(frozen=True, slots=True)
class SampledScores:
    """What each sample of each row said: one array, rows x samples, for each order in which the row was asked.

    NaN is an unread sample. A row's score is the mean of its read samples, and of the orders; it has none where an
    order has none. With `flips` a row whose two orders prefer different sides is a tie, .5, as in `pairwise`.
    """

    orders: tuple[Floats, ...]
    flips: bool = False

    @property
    def samples(self) -> int:
        return int(self.orders[0].shape[1])

    @property
    def rows(self) -> int:
        return len(self.orders[0])

    def where(self, rows: Codes) -> SampledScores:
        return SampledScores(tuple(order[rows] for order in self.orders), self.flips)

    def of(self, places: Codes) -> Floats:
        """The score of each row by the samples in `places`, rows x n."""
        means = [_mean(np.take_along_axis(order, places, axis=1)) for order in self.orders]
        score: Floats = np.mean(means, axis=0)
        if self.flips and len(means) == 2:
            score = np.where((means[0] - 0.5) * (means[1] - 0.5) < 0, 0.5, score)
        return score

    def subsets(self, draws: int = DRAWS, seed: int = 0) -> Iterator[tuple[int, Floats]]:
        """For n = 1, 2, ... all samples: n, and the scores, rows x draws, by random n of the samples of each row.

        The samples of a draw of n are among those of the same draw of n + 1. Of all samples there is one subset.
        """
        rng = np.random.default_rng(seed)
        orders = [np.argsort(rng.random((self.rows, self.samples)), axis=1) for _ in range(draws)]
        for n in range(1, self.samples + 1):
            chosen = orders if n < self.samples else orders[:1]
            yield n, np.stack([self.of(order[:, :n]) for order in chosen], axis=1)


def _mean(values: Floats) -> Floats:
    """The mean of each row's numbers; NaN where it has none."""
    known = np.isfinite(values)
    count = known.sum(axis=1)
    total = np.where(known, values, 0.0).sum(axis=1)
    means: Floats = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return means
