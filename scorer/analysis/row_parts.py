"""Rows of scores some at a time, and the sums of them on which means by system and task rest."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from scorer.analysis.bootstrap import Resamples
from scorer.analysis.correlation import Codes, Floats

COUNTED_CELLS = 2**21
"""So many counts of items by systems are made in one pass over the rows: 8 MB each of those read and of all."""
BLOCK_ITEMS = 4096
Counts = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class RowPart:
    """Some rows: `values` with NaN for an unread one, and the codes of its system (or other group), task and item."""

    values: Floats
    group: Codes
    task: Codes
    item: Codes


Parts = Callable[[], Iterable[RowPart]]
"""Gives the same rows at every call."""


@dataclass(frozen=True, slots=True)
class Sums:
    """The sums of one task: clusters x systems of the read values and of how many they are, and the unread by system.

    Without resamples there is one cluster.
    """

    total: Floats
    count: Floats
    unread: Codes


def sums_by_task(parts: Parts, systems: int, tasks: int, drawn: Resamples | None) -> list[Sums]:
    """The sums of each task."""
    clusters = 1 if drawn is None else drawn.weights.shape[1]
    total = [np.zeros(clusters * systems) for _ in range(tasks)]
    count = [np.zeros(clusters * systems) for _ in range(tasks)]
    unread = np.zeros((tasks, systems), dtype=np.int64)
    for part in parts():
        read = np.isfinite(part.values)
        unread += np.bincount(part.task[~read] * systems + part.group[~read], minlength=tasks * systems).reshape(
            tasks, systems
        )
        code = part.group.copy() if drawn is None else drawn.clusters_of(part.item) * systems + part.group
        for task in range(tasks):
            mine = read if tasks == 1 else read & (part.task == task)
            np.add.at(total[task], code[mine], part.values[mine])
            np.add.at(count[task], code[mine], 1.0)
    shape = (clusters, systems)
    return [
        Sums(of_total.reshape(shape), of_count.reshape(shape), unread[task])
        for task, (of_total, of_count) in enumerate(zip(total, count, strict=True))
    ]


@dataclass(frozen=True, slots=True)
class Block:
    """At most BLOCK_ITEMS items of one task: items x systems of the rows that are read and of all.

    `total` is the sum of each item's values, `item` are the codes of the items.
    """

    task: int
    item: Codes
    read: Counts
    every: Counts
    total: Floats


class ItemBlocks:
    """The items of each task in blocks, which are counted anew whenever they are asked for.

    Every item has a place of its own in the order of the tasks; where items are of several tasks, one in each.
    """

    def __init__(self, parts: Parts, groups: int, tasks: int, items: int) -> None:
        self._parts, self._groups, self._items = parts, groups, items
        task_of = np.zeros(items, dtype=np.int32) if tasks == 1 else self._task_of_items()
        self._place: Codes | None = None
        if task_of is None:
            self._starts = np.arange(tasks + 1, dtype=np.int64) * items
        else:
            self._order = np.argsort(task_of, kind="stable")
            self._place = np.empty(items, dtype=np.int64)
            self._place[self._order] = np.arange(items)
            self._starts = np.searchsorted(task_of[self._order], np.arange(tasks + 1))

    def _task_of_items(self) -> NDArray[np.int32] | None:
        """The task of each item, -1 of one without rows; None where one is of several tasks."""
        task_of = np.full(self._items, -1, dtype=np.int32)
        for part in self._parts():
            new = task_of[part.item] < 0
            task_of[part.item[new]] = part.task[new]
            if (task_of[part.item] != part.task).any():
                return None
        return task_of

    def __call__(self) -> Iterator[Block]:
        step = max(1, COUNTED_CELLS // max(self._groups, 1))
        for low in range(int(self._starts[0]), int(self._starts[-1]), step):
            yield from self._counted(low, min(low + step, int(self._starts[-1])))

    def _counted(self, low: int, high: int) -> Iterator[Block]:
        groups = self._groups
        read, every = (np.zeros((high - low) * groups, dtype=np.int32) for _ in range(2))
        total = np.zeros(high - low)
        one = np.int32(1)
        for part in self._parts():
            place = part.task * self._items + part.item if self._place is None else self._place[part.item]
            mine = np.flatnonzero((place >= low) & (place < high))
            place, values = place[mine] - low, part.values[mine]
            cell = place * groups + part.group[mine]
            known = np.isfinite(values)
            np.add.at(every, cell, one)
            np.add.at(read, cell[known], one)
            np.add.at(total, place[known], values[known])
        table = (high - low, groups)
        for task, (start, end) in enumerate(pairwise(self._starts.tolist())):
            for first in range(max(start, low), min(end, high), BLOCK_ITEMS):
                last = min(first + BLOCK_ITEMS, end, high)
                rows = slice(first - low, last - low)
                places = np.arange(first, last, dtype=np.int64)
                item = places % self._items if self._place is None else self._order[first:last]
                yield Block(task, item, read.reshape(table)[rows], every.reshape(table)[rows], total[rows])
