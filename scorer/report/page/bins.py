"""Bins of numbers: each value by itself where few values occur, else ranges of equal width."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scorer.analysis.correlation import Codes, Floats
from scorer.report.page.column_summary import FEW, ColumnSummary
from scorer.report.page.conditions import between, equals

RANGES = 20


@dataclass(frozen=True, slots=True)
class Bins:
    """Bins of the column `name`. `edges` has one value more than there are bins; the last bin holds its upper edge.

    `values` has the single value of each bin, and is empty where the bins are ranges.
    """

    name: str
    edges: Sequence[float]
    values: Sequence[float] = ()

    @property
    def size(self) -> int:
        return len(self.edges) - 1

    def codes(self, values: Floats) -> Codes:
        """The bin of each value; -1 for NaN, and for a value that meets the condition of no bin."""
        if self.values:
            known = np.asarray(self.values)
            found = np.minimum(np.searchsorted(known, values), len(known) - 1)
            return np.where(known[found] == values, found, -1)
        found = np.searchsorted(np.asarray(self.edges[1:-1]), values, side="right").astype(np.int64)
        return np.where((values >= self.edges[0]) & (values <= self.edges[-1]), found, -1)

    def label(self, code: int) -> str:
        """The value, or the two ends of the range."""
        if self.values:
            return f"{self.values[code]:g}"
        return f"{self.edges[code]:.4g} to {self.edges[code + 1]:.4g}"

    def where(self, code: int) -> str | None:
        """The SQL condition of a bin."""
        if self.values:
            return equals(self.name, self.values[code])
        return between(self.name, self.edges[code], self.edges[code + 1], closed=code == self.size - 1)


def bins_of(
    name: str, of: ColumnSummary, scale: tuple[float, float] | None = None, *, ranges: int = RANGES
) -> Bins | None:
    """Bins of the numbers seen in a column, from end to end of the scale where one is known; None without a number.

    Up to FEW different values have a bin each; whole numbers of a short scale also where they do not occur.
    """
    if not of.rows:
        return None
    low, high = (min(of.low, scale[0]), max(of.high, scale[1])) if scale else (of.low, of.high)
    known = np.asarray(of.few)
    if of.whole and high - low < FEW and low == round(low):
        known = np.arange(low, high + 1)
    if len(known):
        middle = (known[1:] + known[:-1]) / 2
        half = float(np.diff(known).min()) / 2 if len(known) > 1 else 0.5
        edges = [known[0] - half, *middle, known[-1] + half]
        return Bins(name, [float(edge) for edge in edges], known.tolist())
    return Bins(name, [float(edge) for edge in np.linspace(low, high, ranges + 1)])
