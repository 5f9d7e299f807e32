"""Bounds the bytes of large replies while they are read: one sum over all connections, granted in order.

Knows nothing of HTTP. A reader that waits reads no more from its connection, so the server waits too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from scorer.errors import ServerFault

FREE = 256 * 1024
"""Bytes of a reply that need no room; a connection reads as much at once."""
MOST = 64 * 1024 * 1024
LARGEST = 32 * 1024 * 1024
"""A longer body is not read: no judge's verdict is that long."""


def check_size(shown: str, size: int) -> None:
    """Raises ServerFault where a body of so many bytes is too long. `shown` is the address that it came from."""
    if size > LARGEST:
        raise ServerFault(f"{shown} answered more than {LARGEST} bytes", billed=True)


class Room(Protocol):
    """Where replies go once they are read; `scorer.limits.Budget` is one."""

    @property
    def full(self) -> bool:
        """As much waits to be written as may."""
        ...

    def on_room(self, wake: Callable[[], None]) -> None:
        """`wake()` is called when it may no longer be full."""
        ...


class ReplyByteBudget:
    """Readers hold at most `most` bytes together; one of them may exceed it, so that one always comes to its end.

    While `room` is full no large reply is read on: with whole replies kept, what is read would wait in memory.

    A reader is any object that can be a key. It must `leave`, also where `take` was cancelled. Its wait is ours, not
    the server's: no deadline should run meanwhile.
    """

    def __init__(self, most: int = MOST, room: Room | None = None) -> None:
        self._room = room
        if room is not None:
            room.on_room(self._grant_waiting)
        self._left = most
        self._held: dict[object, int] = {}
        self._waiting: dict[object, tuple[asyncio.Future[None], int]] = {}  # in order; only while one exceeds
        self._exceeds: object | None = None

    @property
    def held(self) -> int:
        """Bytes that all readers have taken."""
        return sum(self._held.values())

    async def take(self, reader: object, size: int) -> None:
        """So many bytes more for `reader`. Cancelling it takes nothing, or what `leave` gives back."""
        if not self._waiting and self._fits(reader, size):
            self._grant(reader, size)
            return
        if reader is self._exceeds and not self._full:
            self._grant(reader, size)
            return
        granted = asyncio.get_running_loop().create_future()
        self._waiting[reader] = granted, size
        await granted

    def leave(self, reader: object) -> None:
        """All that `reader` took is free again, and it waits no more."""
        self._waiting.pop(reader, None)
        self._left += self._held.pop(reader, 0)
        if self._exceeds is reader:
            self._exceeds = None
        self._grant_waiting()

    @property
    def _full(self) -> bool:
        return self._room is not None and self._room.full

    def _grant_waiting(self) -> None:
        while self._waiting:
            first, (granted, size) = next(iter(self._waiting.items()))
            if not self._fits(first, size):
                return
            del self._waiting[first]
            self._grant(first, size)
            if not granted.done():  # cancelled, and about to leave
                granted.set_result(None)

    def _fits(self, reader: object, size: int) -> bool:
        """True also where it does not, and no other reply exceeds; False while what was read cannot be written."""
        if self._full:
            return False
        if size > self._left and self._exceeds is None:
            self._exceeds = reader
        return size <= self._left or reader is self._exceeds

    def _grant(self, reader: object, size: int) -> None:
        self._left -= size
        self._held[reader] = self._held.get(reader, 0) + size
