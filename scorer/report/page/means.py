"""Means of groups of rows with 95 % intervals, from the same resamples for all of a page's panels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from scorer.analysis.correlation import Codes, Floats
from scorer.analysis.rank_table import interval_columns
from scorer.report.page.data import Interval
from scorer.report.page.page_rows import PageRows
from scorer.report.page.population import Population


def grouped_means(
    of: Population, values: Callable[[PageRows], Floats], group: Callable[[PageRows], Codes], groups: int
) -> list[Interval]:
    """The mean of the values by group, over the rows that have one (no NaN) and a group (not -1).

    Intervals are those of `scorer.analysis`: Wilson's for shares, else percentiles of the cluster bootstrap.
    """
    drawn = of.drawn
    clusters = 0 if drawn is None else drawn.weights.shape[1]
    sums, counts = np.zeros(max(clusters, 1) * groups), np.zeros(max(clusters, 1) * groups)
    low, halves = np.inf, True
    for part in of.parts():
        value, code = values(part), group(part)
        kept = (code >= 0) & np.isfinite(value)
        value, cell = value[kept], code[kept]
        if drawn is not None:
            cell = drawn.clusters_of(part.items[kept]) * groups + cell
        np.add.at(sums, cell, value)
        np.add.at(counts, cell, 1.0)
        low = min(low, float(value.min(initial=np.inf)))
        halves = halves and bool(np.isin(value, (0.0, 0.5, 1.0)).all())
    if drawn is None or not counts.any():
        return [Interval(None, None, None, 0)] * groups
    sums, counts = sums.reshape(-1, groups), counts.reshape(-1, groups)
    n = counts.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        means, draws = sums.sum(axis=0) / n, (drawn.weights @ sums) / (drawn.weights @ counts)
    items = np.minimum(np.count_nonzero(counts, axis=0), drawn.items).astype(np.int64)
    ends = interval_columns(means, draws, items, drawn, is_share=halves and low < 1)
    return [
        Interval(float(mean) if rows else None, low, high, int(rows))
        for mean, low, high, rows in zip(means.tolist(), ends["low"], ends["high"], n.tolist(), strict=True)
    ]


def interval(value: float | None, ends: tuple[float, float] | None, n: int) -> Interval:
    """A statistic of `scorer.analysis` as the page has it."""
    low, high = ends or (None, None)
    return Interval(value, low, high, n)
