"""Whether the share of rows with no verdict differs by system or by task."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from scorer.analysis.board import Board
from scorer.analysis.row_parts import ItemBlocks, RowPart, sums_by_task
from scorer.analysis.unread import FEWEST, MOST_GROUPS, UnreadDiffers, difference, holm


def by_group(rows: Board, columns: Sequence[str]) -> list[UnreadDiffers]:
    """The share of unread rows in each group of each column against the other groups; empty below 5 unread rows."""
    if rows.unread < FEWEST:
        return []
    return holm([one for by in columns for one in _by(rows, by)])


def _by(rows: Board, by: str) -> Iterator[UnreadDiffers]:
    names = rows.columns.texts(by)
    if not 1 < len(names) <= MOST_GROUPS:
        return

    def parts() -> Iterator[RowPart]:
        return rows.parts(by=by, whole=True)

    (sums,) = sums_by_task(parts, len(names), 1, None)
    n, unread = sums.count[0] + sums.unread, sums.unread
    others, unread_of_others = n.sum() - n, unread.sum() - unread
    here, there = unread / n, unread_of_others / np.maximum(others, 1)
    squares, items_here, items_there = np.zeros(len(names)), np.zeros(len(names)), np.zeros(len(names))
    for block in ItemBlocks(parts, len(names), 1, rows.items)():
        every, lost = block.every.astype(np.float64), (block.every - block.read).astype(np.float64)
        rest = every.sum(axis=1, keepdims=True) - every
        lost_of_rest = lost.sum(axis=1, keepdims=True) - lost
        of_item = (lost - here * every) / n - (lost_of_rest - there * rest) / np.maximum(others, 1)
        squares += (of_item**2).sum(axis=0)
        items_here += np.count_nonzero(every, axis=0)
        items_there += np.count_nonzero(rest, axis=0)
    for g, name in enumerate(names):
        m = int(min(items_here[g], items_there[g]))
        if m < 2:
            continue
        error = math.sqrt(float(squares[g]) * m / (m - 1))
        means = float(here[g]), float(there[g])
        found = difference(by, name, int(unread[g]), means, error, m)
        if found is not None:
            yield found
