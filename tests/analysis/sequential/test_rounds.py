"""The order of items is drawn by a seed; a sequence without replacement knows how many items are left."""

from __future__ import annotations

import numpy as np

from scorer.analysis.sequential.hedged import lower
from scorer.analysis.sequential.rounds import Rounds

KEYS = [f"\0i{item}" for item in range(300)]


def order(keys: list[str], seed: int) -> list[str]:
    rounds = Rounds(keys, np.zeros(len(keys), dtype=np.int64), [1.0], seed=seed, future=True)
    return [keys[place] for place in rounds.items]


def test_order_is_drawn_by_the_seed_and_the_keys_alone() -> None:
    drawn = order(KEYS, 0)
    assert sorted(drawn) == sorted(KEYS)
    places = np.array([KEYS.index(key) for key in drawn])
    assert abs(np.corrcoef(places, np.arange(300))[0, 1]) < 0.2
    assert order(KEYS, 0) == drawn
    assert order(KEYS, 1) != drawn
    assert order(KEYS[::-1], 0) == drawn, "another order of the file"


def test_lower_bound_without_replacement_is_the_largest_mean_that_the_written_out_bets_refute() -> None:
    rng = np.random.default_rng(4)
    items, level = 40, 0.05
    x = rng.beta(4, 2, items)
    taken = x[:30]

    def refuted(m: float) -> bool:
        capital = 0.0
        for t, value in enumerate(taken):
            left = (items * m - taken[:t].sum()) / (items - t)
            if left < 0:
                return True
            means = [(0.5 + taken[: n + 1].sum()) / (n + 2) for n in range(t)]
            spread = (0.25 + sum((taken[n] - means[n]) ** 2 for n in range(t))) / (t + 1)
            stake = np.sqrt(2 * np.log(1 / level) / (spread * (t + 1) * np.log1p(t + 1)))
            capital += np.log1p(min(stake, 0.5 / max(left, 1e-12)) * (value - left))
            if capital >= -np.log(level):
                return True
        return False

    found = lower(taken[:, None], level, np.array([items]))[0]
    grid = np.linspace(0, 1, 2001)
    expected = max(m for m in grid if refuted(m))
    assert abs(found - max(expected, taken.sum() / items)) < 1e-3
