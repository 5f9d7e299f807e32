"""Connections that wait for their next request, by origin, and the places of those that have one."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Collection

from scorer.client.http.connection import Connection
from scorer.client.http.target import Origin

KEPT_S = 30.0
"""A connection that waits longer for a request is closed."""
OLDEST_S = 300.0
"""A connection gets no further request at this age, or up to a quarter sooner: a changed address takes effect."""
_GOLDEN = 0.618034


def share(number: int) -> float:
    """The part of `OLDEST_S` at which the connection of that number ends: from .75 to 1, evenly over the numbers."""
    return 1 - 0.25 * (number * _GOLDEN % 1)


class ConnectionPool:
    """At most `limit` connections have a request at once, in the order of asking. Make it inside a running loop."""

    def __init__(self, limit: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._free = limit
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._all: dict[Connection, Origin] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._made = 0

    @property
    def connections(self) -> Collection[Connection]:
        """All that are open."""
        return self._all

    def idle(self, origin: Origin, now: float, *, placed: bool = False) -> Connection | None:
        """The connection to `origin` that was used last, with its place taken; None without one, or without a place.

        Who is `placed` has a place already. Connections that ended, or on which unrequested bytes came, are closed on
        the way.
        """
        if not (placed or self._free):
            return None
        idle = origin.idle
        while idle:
            connection = idle.popitem()[0]
            young = now - connection.opened_at < OLDEST_S * connection.share
            if young and now - connection.idle_since < KEPT_S and connection.at_rest:
                self._free -= not placed
                return connection
            connection.drop()
        return None

    async def place(self) -> None:
        """Waits for a place, in order. It is given back by `leave`. Cancelling it takes none."""
        if self._free:
            self._free -= 1
            return
        waiter = self._loop.create_future()
        self._waiting.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if not waiter.cancelled():  # it was granted
                self.leave()
            raise

    def leave(self) -> None:
        """Gives a place back, to who waits longest."""
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
        self._free += 1

    def add(self, connection: Connection, origin: Origin) -> None:
        """A new connection. Many that are made at once do not all end at once."""
        self._made += 1
        self._all[connection] = origin
        connection.share = share(self._made)

    def rest(self, connection: Connection) -> None:
        """Its reply was taken: its place is free, and it waits for the next request where it can have one."""
        now = self._loop.time()
        connection.rest(now)
        if connection.broken or now - connection.opened_at >= OLDEST_S * connection.share:
            connection.drop()
        else:
            self._all[connection].idle[connection] = None
            if self._timer is None:
                self._timer = self._loop.call_later(KEPT_S, self._sweep)
        if self._waiting:
            self.leave()
        else:
            self._free += 1

    def lost(self, connection: Connection) -> None:
        """It has ended."""
        origin = self._all.pop(connection, None)
        if origin is not None:
            origin.idle.pop(connection, None)

    async def close(self) -> None:
        """Closes all connections."""
        if self._timer is not None:
            self._timer.cancel()
        for connection in list(self._all):
            connection.drop()
        for _ in range(3):  # turns of the loop until their ends are known; TLS takes one more
            if self._all:
                await asyncio.sleep(0)

    def _sweep(self) -> None:
        now, left = self._loop.time(), False
        for connection, origin in list(self._all.items()):
            if connection in origin.idle:
                if now - connection.idle_since >= KEPT_S:
                    del origin.idle[connection]
                    connection.drop()
                else:
                    left = True
        self._timer = self._loop.call_later(KEPT_S / 4, self._sweep) if left else None
