"""Means of groups of rows with 95 % intervals, from the same resamples for all of a page's panels."""

from __future__ import annotations

import numpy as np

from scorer.analysis.bootstrap import Resamples, are_shares, means_by_group
from scorer.analysis.correlation import Codes, Floats
from scorer.analysis.rank_table import interval_columns
from scorer.report.page.data import Interval
from scorer.report.page.groups import NarrowCodes


def grouped_means(values: Floats, group: Codes | NarrowCodes, groups: int, drawn: Resamples | None) -> list[Interval]:
    """The mean of the values by group, over the rows that have one (no NaN) and a group (not -1).

    Intervals are those of `scorer.analysis`: Wilson's for shares, else percentiles of the cluster bootstrap.
    """
    kept = (group >= 0) & np.isfinite(values)
    values, group = values[kept], group[kept].astype(np.int64)
    counts = np.bincount(group, minlength=groups).tolist()
    if drawn is None or not len(values):
        return [Interval(None, None, None, 0)] * groups
    part = Resamples(drawn.weights, drawn.cluster[kept], drawn.items)
    means, draws = means_by_group(values, group, groups, part)
    items = np.minimum(part.items_by_group(group, groups, np.ones(len(values), dtype=bool)), drawn.items)
    ends = interval_columns(means, draws, items, part, is_share=are_shares(values))
    return [
        Interval(float(mean) if n else None, low, high, n)
        for mean, low, high, n in zip(means.tolist(), ends["low"], ends["high"], counts, strict=True)
    ]


def interval(value: float | None, ends: tuple[float, float] | None, n: int) -> Interval:
    """A statistic of `scorer.analysis` as the page has it."""
    low, high = ends or (None, None)
    return Interval(value, low, high, n)
