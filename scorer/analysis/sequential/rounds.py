"""The order in which items are judged, and what one round of them says of each system.

Items are shuffled by a seeded hash within their task. A round takes the next item of each task; where tasks have
different numbers of items, the next group of each task, so that all tasks end together. The rounds themselves are
shuffled, too. With n items in a group of a task that has N items, in R rounds, and weights w:

* *future*: a round is the weighted mean of its groups' means. It is in [0, 1], and its expectation is the weighted mean
  of the tasks' means.
* *these*: a round is the sum of w R / N times each of its items. The mean of all R rounds is exactly the weighted mean
  of the tasks' means, and the rounds are in random order, so they are a sample without replacement. A round is in
  [0, `most`]; `most` is 1 where all tasks have the same number of items.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from scorer.analysis.sequential.bets import Floats

Codes = NDArray[np.int64]


class Rounds:
    """`items` are the places of the items in the order of their rounds, those of round r from `starts[r]` on.

    `task` is the task of each item, `factors` what its mean is multiplied by in its round (of all tasks), and
    `own_factors` the same for a round of its task alone.
    """

    def __init__(self, keys: Sequence[str], task: Codes, weights: Sequence[float], *, seed: int, future: bool) -> None:
        sizes = np.bincount(task, minlength=len(weights))
        count = int(sizes.min())
        shuffled = np.argsort(_numbers(seed, keys), kind="stable")
        places = np.argsort(np.argsort(_numbers(seed, [f"round {group}" for group in range(count)]), kind="stable"))
        round_of = np.zeros(len(task), dtype=np.int64)
        self.own_factors: Floats = np.zeros(len(task))
        for code, size in enumerate(sizes):
            items = shuffled[task[shuffled] == code]
            group = np.arange(size) * count // size
            round_of[items] = places[group]
            many = np.bincount(group, minlength=count)
            self.own_factors[items] = 1 / many[group] if future else count / size
        share = np.asarray(weights, dtype=np.float64) / np.sum(weights)
        self.task = task
        self.factors = self.own_factors * share[task]
        self.count = count
        self.round_of = round_of
        self.items = np.lexsort((shuffled.argsort(), task, round_of))
        self.starts = np.searchsorted(round_of[self.items], np.arange(count + 1))
        per_round = np.bincount(round_of, self.factors, minlength=count)
        of_task = np.zeros((len(weights), count))
        np.add.at(of_task, (task, round_of), self.own_factors)
        self.most = float(per_round.max())
        self.most_of_a_task = float(of_task.max())

    def of(self, number: int) -> Codes:
        """The places of a round's items."""
        return self.items[self.starts[number] : self.starts[number + 1]]


def _numbers(seed: int, keys: Sequence[str]) -> NDArray[np.uint64]:
    """A 64-bit number for each key, always the same for a seed."""
    salt = str(seed).encode()
    return np.array(
        [
            int.from_bytes(
                hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8, key=salt).digest(), "big"
            )
            for key in keys
        ],
        dtype=np.uint64,
    )
