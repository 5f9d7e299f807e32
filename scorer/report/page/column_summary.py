"""What bins and quantiles need to know of the numbers of a column, which come some at a time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from scorer.analysis.correlation import Floats
from scorer.analysis.rank_correlation import ValueCounts

FEW = 11


@dataclass(frozen=True, slots=True)
class ColumnSummary:
    """The finite numbers of a column: how many, the ends, whether all are whole, and the different ones up to FEW.

    `few` is empty where there are more. Without a number the ends are NaN.
    """

    rows: int
    low: float
    high: float
    whole: bool
    few: Sequence[float]


def summary_of(parts: Iterable[Floats]) -> ColumnSummary:
    """Of the numbers in all parts; NaN and infinity are none."""
    rows, low, high, whole = 0, np.inf, -np.inf, True
    few: Floats | None = np.empty(0)
    for values in parts:
        known = values[np.isfinite(values)]
        if not len(known):
            continue
        rows += len(known)
        low, high = min(low, float(known.min())), max(high, float(known.max()))
        whole = whole and bool((known == np.round(known)).all())
        if few is not None:
            few = np.unique(np.concatenate([few, known]))
            few = few if len(few) <= FEW else None
    if not rows:
        return ColumnSummary(0, np.nan, np.nan, False, ())
    return ColumnSummary(rows, low, high, whole, () if few is None else few.tolist())


def quantiles(parts: Iterable[Floats], shares: Floats) -> Floats:
    """The quantiles of the numbers in all parts, of which there is at least one: `numpy.quantile` of all at once."""
    counts = ValueCounts()
    for values in parts:
        counts.add(values)
    values, count = counts.sorted()
    upto = np.cumsum(count)
    at = (counts.rows - 1) * shares
    low, high = (values[np.searchsorted(upto, one(at), side="right")] for one in (np.floor, np.ceil))
    rest = at - np.floor(at)
    found: Floats = np.where(rest < 0.5, low + (high - low) * rest, high - (high - low) * (1 - rest))
    return found
