"""Room for the rows under way: how many there may be at once, and how much text they may hold.

Knows nothing of what becomes of a row.
"""

from __future__ import annotations

import asyncio

MOST_WAITING = 16_384
"""Rows that may wait for the answer to a twin: some 20 MB beside their text."""


class Places:
    """Room for rows under way, and for those that stepped aside for a twin and hold no more than their text."""

    def __init__(self, rows: int, size: int) -> None:
        self._rows, self._most, self._size = rows, rows, size
        self._aside = 0
        self._freed = asyncio.Event()

    async def take(self, size: int) -> None:
        """A row larger than all the room goes alone. Only the reader waits here."""
        while self._rows == 0 or self._aside >= MOST_WAITING or (self._size < size and self._rows < self._most):
            self._freed.clear()
            await self._freed.wait()
        self._rows -= 1
        self._size -= size

    def free(self, size: int) -> None:
        self._rows += 1
        self._size += size
        self._freed.set()

    def step_aside(self) -> None:
        self._rows += 1
        self._aside += 1
        self._freed.set()

    def leave(self, size: int) -> None:
        """A row that stepped aside is finished."""
        self._aside -= 1
        self._size += size
        self._freed.set()

    async def come_back(self) -> None:
        """A row that stepped aside has a place again."""
        while self._rows == 0:
            self._freed.clear()
            await self._freed.wait()
        self._rows -= 1
        self._aside -= 1
