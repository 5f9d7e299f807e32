"""Columns that the tables of a leaderboard share: rank intervals, values that may be unknown, confidence intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import polars as pl

from scorer.analysis.bootstrap import Interval, Resamples, share_interval
from scorer.analysis.correlation import Codes, Floats
from scorer.analysis.ranks import Ranks
from scorer.analysis.system_means import SystemMeans, mean_over_tasks


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

    return _two(list(map(interval, range(len(means)))))


def share_columns(parts: Sequence[SystemMeans], weights: Floats, drawn: Resamples | None) -> dict[str, pl.Series]:
    """The columns low and high of mean shares over tasks: `parts` are the tasks, `weights` theirs, which add up to 1.

    Each task has Wilson's interval; their ends are added up as errors are. A share of 1 in one task and of 0 in another
    has no variance in its mean, and would else have no width. Where tasks share items the resampled mean is wider.
    Source: Zou and Donner (2008), "Construction of confidence limits about effect measures: a general approach",
    Statistics in Medicine 27(10), the recovery of variances from limits (MOVER).
    """
    over = mean_over_tasks(parts, weights)
    pooled = interval_columns(over.means, over.draws, over.items, drawn, is_share=True)
    if len(parts) == 1:
        return pooled
    by_task = [interval_columns(part.means, part.draws, part.items, drawn, is_share=True) for part in parts]
    found: list[Interval | None] = []
    for i, mean in enumerate(over.means.tolist()):
        down = up = 0.0
        for part, ends, w in zip(parts, by_task, weights.tolist(), strict=True):
            low, high = ends["low"][i], ends["high"][i]
            if w > 0 and low is not None and high is not None:
                down += (w * (part.means[i] - low)) ** 2
                up += (w * (high - part.means[i])) ** 2
        low, high = pooled["low"][i], pooled["high"][i]
        whole = low is not None and high is not None
        found.append((min(low, mean - math.sqrt(down)), max(high, mean + math.sqrt(up))) if whole else None)
    return _two(found)


def _two(found: Sequence[Interval | None]) -> dict[str, pl.Series]:
    return {
        "low": pl.Series([None if one is None else one[0] for one in found], dtype=pl.Float64),
        "high": pl.Series([None if one is None else one[1] for one in found], dtype=pl.Float64),
    }
