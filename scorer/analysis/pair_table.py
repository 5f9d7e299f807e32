"""The pairs that rows make with each other, and how they are counted where two columns have few values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scorer.analysis.correlation import Codes, Floats

ROWS_AT_ONCE = 65_536
"""So many rows are looked at together: what that takes does not grow with the rows."""
MOST_CELLS = 2**18
"""A table has no more pairs of values."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """For each row, how many other rows of its group ...

    `margin`: are concordant with it, less those discordant; `agree`: are ordered alike by both sides, ties included;
    `x_differs`, `y_differs`: have another value there; `others`: there are.
    """

    margin: Codes
    agree: Codes
    x_differs: Codes
    y_differs: Codes
    others: Codes


@dataclass(frozen=True, slots=True)
class PairTable:
    """How many rows have each pair of values: `counts` is values of x by values of y, both ascending."""

    x: Floats
    y: Floats
    counts: Codes

    @staticmethod
    def of(x: Floats, y: Floats) -> PairTable | None:
        """The table of all rows; None where it would have more than MOST_CELLS cells."""
        first, second = np.unique(x), np.unique(y)
        if len(first) * len(second) > MOST_CELLS:
            return None
        table = PairTable(first, second, np.zeros((len(first), len(second)), dtype=np.int64))
        for start in range(0, len(x), ROWS_AT_ONCE):
            rows = slice(start, start + ROWS_AT_ONCE)
            cells = np.bincount(table.cells(x[rows], y[rows]), minlength=table.counts.size)
            table.counts[:] += cells.reshape(table.counts.shape)
        return table

    @property
    def sizes(self) -> tuple[Codes, Codes]:
        """How many rows have each value of x, and each of y."""
        return self.counts.sum(axis=1), self.counts.sum(axis=0)

    def cells(self, x: Floats, y: Floats) -> Codes:
        """The number of each row's cell in the table laid out by rows."""
        return np.searchsorted(self.x, x) * len(self.y) + np.searchsorted(self.y, y)

    def midranks(self, axis: int) -> Floats:
        """The average rank of each value of x (axis 0) or y (axis 1), from 1."""
        size = self.sizes[axis]
        ranks: Floats = np.cumsum(size) - size + (size + 1) / 2
        return ranks

    def pairs(self) -> Pairs:
        """The pairs that a row of each cell makes with all others: arrays of the table's shape."""
        counts, n = self.counts, int(self.counts.sum())
        upto = np.cumsum(np.cumsum(counts, axis=0), axis=1)
        below = np.zeros_like(counts)
        below[1:, 1:] = upto[:-1, :-1]
        size_x, size_y = (size[:, None] if axis == 0 else size[None, :] for axis, size in enumerate(self.sizes))
        # Above in both: all rows less those up to it in x or in y.
        above = n - upto[:, -1:] - upto[-1:, :] + upto
        concordant = below + above
        neither_tied = n - size_x - size_y + counts
        return Pairs(
            margin=2 * concordant - neither_tied,
            agree=concordant + counts - 1,
            x_differs=np.broadcast_to(n - size_x, counts.shape),
            y_differs=np.broadcast_to(n - size_y, counts.shape),
            others=np.full(counts.shape, n - 1),
        )
