"""Columns that the tables of a leaderboard share: rank intervals, values that may be unknown, confidence intervals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from scorer.analysis.bootstrap import Interval, Resamples, share_interval
from scorer.analysis.correlation import Codes, Floats
from scorer.analysis.ranks import Ranks


def rank_columns(ranks: Sequence[Ranks], systems: Sequence[str]) -> dict[str, pl.Series]:
    return {
        "rank": pl.Series([first for first, _ in ranks], dtype=pl.Int64),
        "rank_last": pl.Series([last for _, last in ranks], dtype=pl.Int64),
        "system": pl.Series(systems, dtype=pl.String),
    }


def nullable(values: Floats) -> pl.Series:
    return pl.Series(values, dtype=pl.Float64).fill_nan(None)


def interval_columns(
    means: Floats, draws: Floats, items: Codes, drawn: Resamples | None, *, is_share: bool
) -> dict[str, pl.Series]:
    """The columns low and high of the systems; `items` is how many items each mean rests on."""

    def interval(i: int) -> Interval | None:
        if drawn is None or not np.isfinite(means[i]):
            return None
        if is_share:
            return share_interval(min(max(float(means[i]), 0.0), 1.0), draws[:, i], min(int(items[i]), drawn.items))
        return drawn.interval(draws[:, i], items=int(items[i]))

    found = list(map(interval, range(len(means))))
    return {
        "low": pl.Series([None if one is None else one[0] for one in found], dtype=pl.Float64),
        "high": pl.Series([None if one is None else one[1] for one in found], dtype=pl.Float64),
    }
