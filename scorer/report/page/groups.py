"""Groups of rows behind the numbers and marks of a page: how many, which of them are in the page, how to list them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scorer.analysis.correlation import Codes
from scorer.report.page.conditions import together
from scorer.report.page.data import RowId, Rows

MOST_IDS = 12
"""Rows that a mark names; the page's own lists have more."""
COUNTED = 65_536
"""Rows that are counted at a time."""
NarrowCodes = NDArray[np.signedinteger[Any]]
"""Codes of rows in the smallest type that holds them: a page has ten groups for each row."""


@dataclass(frozen=True)
class Group:
    """A division of the rows into `size` groups: `codes` has the group of each row, -1 for rows of none.

    `where` returns the SQL condition of a group, None where there is no such condition. The greater its `weight`, the
    sooner each group gets a row in the page. `codes` may be given in any type of integers.
    """

    codes: NarrowCodes
    size: int
    where: Callable[[int], str | None]
    weight: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "codes", self.codes.astype(_type_for(self.size), copy=False))

    @cached_property
    def counts(self) -> Codes:
        """The number of rows of each group."""
        counts = np.zeros(self.size + 1, dtype=np.int64)
        for first in range(0, len(self.codes), COUNTED):
            part = self.codes[first : first + COUNTED].astype(np.int64)
            counts += np.bincount(part + 1, minlength=self.size + 1)
        return counts[1:]


@dataclass(frozen=True)
class RowsOf:
    """The rows behind each mark. `shown` are the places of the rows in the page, in its order, and `ids` their ids.

    `where` is the condition of the page's population, "" where it holds for every row.
    """

    groups: Mapping[str, Group]
    shown: Codes
    ids: Sequence[RowId]
    where: str

    def __call__(self, group: str, code: int) -> Rows:
        """The rows of one group."""
        found = self.groups[group]
        mine = np.flatnonzero(found.codes[self.shown] == code)[:MOST_IDS]
        return Rows(
            int(found.counts[code]), [self.ids[at] for at in mine.tolist()], together([self.where, found.where(code)])
        )


def crossed(first: Group, second: Group, weight: float) -> Group:
    """The groups of both: the code is that of the first times the size of the second, plus that of the second."""
    size = first.size * second.size
    codes = first.codes.astype(_type_for(size))
    codes *= second.size
    codes += second.codes
    codes[(first.codes < 0) | (second.codes < 0)] = -1

    def where(code: int) -> str | None:
        return together([first.where(code // second.size), second.where(code % second.size)])

    return Group(codes, size, where, weight)


def _type_for(size: int) -> np.dtype[np.signedinteger[Any]]:
    """The smallest type of signed integers that holds the codes of so many groups, and -1."""
    return next(np.dtype(kind) for kind in (np.int8, np.int16, np.int32, np.int64) if size <= np.iinfo(kind).max)
