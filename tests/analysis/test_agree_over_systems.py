"""Promise: intervals of agreement over systems hold what another sample of items gives, also with many systems."""

from __future__ import annotations

import numpy as np
import polars as pl

from scorer.analysis.agree import agree
from scorer.analysis.agree_result import Level
from scorer.analysis.bootstrap import Bootstrap

SYSTEMS, ITEMS = 60, 12


def over_systems(seed: int, resamples: int) -> Level:
    """The level of one sample of items; the systems are the same in each."""
    fixed, draw = np.random.default_rng(0), np.random.default_rng(seed)
    quality = fixed.normal(0, 0.3, SYSTEMS)
    taste = 0.9 * quality + fixed.normal(0, 0.1, SYSTEMS)
    human, score = (mean + draw.normal(0, 0.7, (ITEMS, SYSTEMS)) for mean in (quality, taste))
    frame = pl.LazyFrame(
        {
            "item": np.repeat(np.arange(ITEMS), SYSTEMS),
            "system": np.tile(np.arange(SYSTEMS), ITEMS),
            "score": score.ravel(),
            "human": human.ravel(),
        }
    )
    found = agree(frame, ["score"], ["human"], item="item", system="system", bootstrap=Bootstrap(resamples))
    level = found.scores["score"].whole.system
    assert level is not None
    return level


def test_an_interval_over_many_systems_holds_its_value_and_that_of_other_items() -> None:
    one = over_systems(1, 200)
    for name in ("pearson", "spearman", "kendall"):
        low, high = one.intervals[name] or (np.nan, np.nan)
        assert low < (one.statistics[name] or np.nan) < high
        others = [over_systems(seed, 0).statistics[name] for seed in range(2, 14)]
        assert low < np.mean(np.array(others, dtype=float)) < high
