"""Groups of rows behind the numbers and marks of a page: how many, which of them are in the page, how to list them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from scorer.analysis.correlation import Codes
from scorer.report.page.conditions import together
from scorer.report.page.page_rows import PageRows
from scorer.report.page.row_list import RowId, Rows

MOST_IDS = 12
"""Rows that a mark names; the page's own lists have more."""


@dataclass(frozen=True, eq=False)
class Group:
    """A division of the rows into `size` groups: `codes` gives the group of each row of a part, -1 for rows of none.

    `where` returns the SQL condition of a group, None where there is no such condition. The greater its `weight`, the
    sooner each group gets a row in the page.
    """

    codes: Callable[[PageRows], Codes]
    size: int
    where: Callable[[int], str | None]
    weight: float = 1.0

    def of(self, part: PageRows) -> Codes:
        """The group of each row."""
        return part.once(self, lambda: self.codes(part))


@dataclass(frozen=True, slots=True)
class Counted:
    """The number of rows of each group, and the place of its first row, -1 without any."""

    group: Group
    counts: Codes
    first: Codes


def count_groups(groups: Mapping[str, Group], parts: Iterable[PageRows]) -> dict[str, Counted]:
    """Counts all groups in one pass over the rows."""
    found = {
        name: Counted(group, np.zeros(group.size, dtype=np.int64), np.full(group.size, -1, dtype=np.int64))
        for name, group in groups.items()
    }
    for part in parts:
        for one in found.values():
            codes = one.group.of(part)
            counts = np.bincount(codes + 1, minlength=one.group.size + 1)[1:]
            if ((counts > 0) & (one.first < 0)).any():
                new, at = np.unique(codes, return_index=True)
                at, new = at[new >= 0], new[new >= 0]
                unset = one.first[new] < 0
                one.first[new[unset]] = part.places[at[unset]]
            one.counts[:] += counts
    return found


@dataclass(frozen=True, slots=True)
class RowsOf:
    """The rows behind each mark. `shown` are the rows in the page, in its order, and `ids` their ids.

    `where` is the condition of the page's population, "" where it holds for every row.
    """

    groups: Mapping[str, Counted]
    shown: PageRows
    ids: Sequence[RowId]
    where: str

    def __call__(self, group: str, code: int) -> Rows:
        """The rows of one group."""
        found = self.groups[group]
        mine = np.flatnonzero(found.group.of(self.shown) == code)[:MOST_IDS]
        return Rows(
            int(found.counts[code]),
            [self.ids[at] for at in mine.tolist()],
            together([self.where, found.group.where(code)]),
        )


def crossed(first: Group, second: Group, weight: float) -> Group:
    """The groups of both: the code is that of the first times the size of the second, plus that of the second."""

    def codes(part: PageRows) -> Codes:
        one, other = first.of(part), second.of(part)
        return np.where((one < 0) | (other < 0), -1, one * second.size + other)

    def where(code: int) -> str | None:
        return together([first.where(code // second.size), second.where(code % second.size)])

    return Group(codes, first.size * second.size, where, weight)
