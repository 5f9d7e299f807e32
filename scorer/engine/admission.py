"""Bounds the rows in flight and their memory: row slots, bytes of text, bytes of large requests.

Knows nothing of what becomes of a row.
"""

from __future__ import annotations

import asyncio

from scorer.types import Client, Completion, Request

MOST_WAITING = 16_384
"""The most rows that may wait for the answer to a duplicate: some 20 MB beside their text."""


class RowSlots:
    """Slots for at most `rows` rows in flight with `size` bytes of text.

    A row that waits for the answer to a duplicate frees its slot and keeps its text.
    """

    def __init__(self, rows: int, size: int) -> None:
        self.size = size
        self._rows, self._most, self._size = rows, rows, size
        self._aside = self._coming_back = 0
        self._changed = asyncio.Event()

    def took(self, size: int) -> bool:
        """Takes a slot and `size` bytes where they are free, after rows that come back.

        A row larger than the whole budget goes alone.
        """
        if self._rows <= self._coming_back or self._aside >= MOST_WAITING:
            return False
        if self._size < size and self._rows < self._most:
            return False
        self._rows -= 1
        self._size -= size
        return True

    def resize(self, rows: int) -> None:
        """Sets the number of slots. Where more are taken, none is given until enough are free again."""
        self._rows += rows - self._most
        self._most = rows
        self.look()

    def look(self) -> None:
        """Wakes those who wait in `changed`."""
        self._changed.set()

    async def changed(self) -> None:
        """Returns at the next `look` or `resize`, or where a slot is freed for a row that comes back."""
        self._changed.clear()
        await self._changed.wait()

    def free(self, size: int) -> None:
        self._rows += 1
        self._size += size
        if self._coming_back:
            self.look()

    def step_aside(self) -> None:
        self._rows += 1
        self._aside += 1
        if self._coming_back:
            self.look()

    def leave(self, size: int) -> None:
        """A row that stepped aside is finished."""
        self._aside -= 1
        self._size += size

    async def come_back(self) -> None:
        """A row that stepped aside has a place again."""
        self._coming_back += 1
        try:
            while self._rows <= 0:
                await self.changed()
        finally:
            self._coming_back -= 1
        self._rows -= 1
        self._aside -= 1


LARGE = 1024 * 1024
"""Bytes of text of a row from which on its requests are weighed: many of them may hold the same text at once."""


class ByteBudget:
    """A client whose requests under way hold at most `most` bytes of text; one larger than that goes alone.

    The others wait before they are encoded. Cancelling one that waits takes nothing.
    """

    def __init__(self, client: Client, most: int) -> None:
        self._client = client
        self._left = self._most = most
        self._freed = asyncio.Event()

    async def complete(self, request: Request) -> Completion:
        size = len(request.prompt) + len(request.continuation or "")
        size += sum(len(message.content) for message in request.messages)
        while self._left < size and self._left < self._most:
            self._freed.clear()
            await self._freed.wait()
        self._left -= size
        try:
            return await self._client.complete(request)
        finally:
            self._left += size
            self._freed.set()
