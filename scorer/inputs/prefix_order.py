"""Orders the rows that are read ahead so that rows with the same beginning of a prompt come close together.

A provider caches a prefix for some minutes, and one request has to write it before others read it. So the first row of
a group is brought forward by as many rows as are in flight: its reply is there when the rest of the group begins.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any

from scorer.types import Row

WINDOW_ROWS = 4096
WINDOW_BYTES = 16 * 1024 * 1024
"""So many rows are ordered at a time, and no more than so many bytes of them."""


async def in_prefix_order(
    batches: AsyncIterator[list[Row]], columns: Sequence[str], lag: int
) -> AsyncGenerator[list[Row]]:
    """The same rows, those whose values of the first of `columns` are equal close together.

    The first row of a group comes about `lag` rows before the others, but for the first groups. An empty batch, which
    means that nothing can be read now, comes at once, after the rows before it.
    """
    held: list[Row] = []
    size = 0
    async with aclosing(batches):  # type: ignore[type-var]
        async for batch in batches:
            held += batch
            size += sum(row.size for row in batch)
            if len(held) >= WINDOW_ROWS or size >= WINDOW_BYTES or not batch:
                yield spread(grouped(held, columns), lag)
                held, size = [], 0
    if held:
        yield spread(grouped(held, columns), lag)


def grouped(rows: Sequence[Row], columns: Sequence[str]) -> list[list[Row]]:
    """Rows with the same longest beginning that repeats, as groups; groups and rows in order of first appearance."""
    begin = [
        [tuple(_key(row.values.get(name)) for name in columns[: n + 1]) for n in range(len(columns))] for row in rows
    ]
    times = Counter(beginning for some in begin for beginning in some)
    first: dict[tuple[str, ...], int] = {}
    groups: dict[tuple[int, ...], list[Row]] = {}
    for number, (row, some) in enumerate(zip(rows, begin, strict=True)):
        place = tuple(first.setdefault(beginning, number) for beginning in some if times[beginning] > 1)
        groups.setdefault(place or (number,), []).append(row)
    return [groups[place] for place in sorted(groups)]


def spread(groups: Sequence[Sequence[Row]], lag: int) -> list[Row]:
    """All rows: of each group the first, then about `lag` rows of earlier groups, then its other rows."""
    found: list[Row] = []
    waiting: deque[Sequence[Row]] = deque()
    behind = 0  # rows that wait, those of the oldest group left out
    for group in groups:
        found.append(group[0])
        if len(group) == 1:
            continue
        behind += len(group) - 1 if waiting else 0
        waiting.append(group[1:])
        while behind >= lag and len(waiting) > 1:
            found += waiting.popleft()
            behind -= len(waiting[0])
    for others in waiting:
        found += others
    return found


def _key(value: Any) -> str:
    return value if isinstance(value, str) else repr(value)
