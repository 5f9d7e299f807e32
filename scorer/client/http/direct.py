"""Posts over connections of our own: HTTP/1.1 without a proxy, plain or TLS, a body of any length, gzip and deflate."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from functools import partial

from scorer.client.http.connect_errors import never_admitted, unreachable
from scorer.client.http.connecting import Connector
from scorer.client.http.connection import Connection, Late
from scorer.client.http.deadlines import NEVER, Deadlines
from scorer.client.http.pool import ConnectionPool
from scorer.client.http.raw_headers import RawHeaders
from scorer.client.http.reply_reader import NotSpoken
from scorer.client.http.target import Origin, Target
from scorer.client.http.unpacking import unpacked_body
from scorer.client.reply_bytes import ReplyByteBudget, check_size
from scorer.client.unsent import Unsent
from scorer.errors import TransientError, Unreachable
from scorer.escapes import printable_line
from scorer.types import Call, Reply

TRIES = 3
"""So many new connections are opened for one request, where they end before anything is asked on them."""


class DirectTransport:
    """Posts to targets. Make it inside a running loop and `close` it there.

    `not_spoken` is called with the origin and the reason where a reply is in a version or coding that is not
    implemented here; the call ends in Unreachable then, possibly billed.
    """

    def __init__(
        self,
        connections: int,
        timeout_s: float,
        inflow: ReplyByteBudget,
        not_spoken: Callable[[Origin, NotSpoken], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._timeout_s = timeout_s
        self._inflow = inflow
        self._not_spoken = not_spoken
        self._pool = ConnectionPool(connections)
        self._connector = Connector()
        self._deadlines = Deadlines(timeout_s, lambda: self._pool.connections)

    async def close(self) -> None:
        """Closes all connections."""
        self._deadlines.close()
        self._connector.close()
        await self._pool.close()

    async def post(self, target: Target, call: Call) -> Reply:
        """The reply to one request. Raises Unreachable or ServerFault; Unsent where it is cancelled before it wrote.

        Cancelling it closes the connection.
        """
        loop = self._loop
        timeout_s = self._timeout_s if call.timeout_s is None else call.timeout_s
        now = loop.time()
        due = now + timeout_s
        connection = None if call.fresh else self._pool.idle(target.origin, now)
        if connection is None:
            connection = await self._opened(target, due, timeout_s, fresh=call.fresh)
        try:
            waiter = connection.ask(b"%b%d\r\n\r\n%b" % (target.head, len(call.body), call.body), due, loop)
            del call  # its body is not held while the reply is awaited
            await waiter
            reader = connection.reader
            if connection.error is not None or not reader.complete or reader.coding:
                return await self._slowly(target, connection, due, timeout_s)
            return Reply(reader.status, RawHeaders(reader.head, reader.lower), b"".join(reader.parts), connection)
        except asyncio.CancelledError:
            unsent = connection.unsent
            connection.drop()
            if unsent:
                raise Unsent from None
            raise
        except BaseException:
            connection.drop()
            raise
        finally:
            self._pool.rest(connection)

    async def _opened(self, target: Target, due: float, timeout_s: float, *, fresh: bool) -> Connection:
        """A connection at rest with its place taken: nothing came on it, and with `fresh` nothing was asked on it."""
        try:
            async with asyncio.timeout_at(due):
                await self._pool.place()
                try:
                    return await self._connected(target, fresh=fresh)
                except BaseException:
                    self._pool.leave()
                    raise
        except TimeoutError:
            raise Unreachable(f"{target.shown} did not answer within {timeout_s:g} s") from None
        except asyncio.CancelledError:
            raise Unsent from None

    async def _connected(self, target: Target, *, fresh: bool) -> Connection:
        # One may have come while this waited for its place.
        idle = None if fresh else self._pool.idle(target.origin, self._loop.time(), placed=True)
        if idle is not None:
            return idle
        for _ in range(TRIES):
            connection = await self._connector.connect(target.origin, target.shown, self._pool.lost)
            self._pool.add(connection, target.origin)
            self._deadlines.watch()
            try:
                await asyncio.sleep(0)  # what the server said or did at once is read
                if connection.at_rest:
                    return connection
                for _ in range(3):  # turns of the loop until TLS tells why it ended
                    await asyncio.sleep(0)
            except BaseException:
                connection.drop()
                raise
            connection.drop()
            if never_admitted(connection.error):
                raise unreachable(target.shown, connection.error)
        raise Unreachable(f"{target.shown} speaks, or closes the connection, before anything is asked")

    async def _slowly(self, target: Target, connection: Connection, due: float, timeout_s: float) -> Reply:
        """A reply that is large or packed, or none."""
        reader, taken = connection.reader, 0
        try:
            while connection.error is None and not reader.complete:
                check_size(target.shown, reader.needs)
                due += await self._room(connection, reader.needs - taken)
                taken = reader.needs
                await connection.read_on(taken, due, self._loop)
            if connection.error is not None:
                raise self._failure(target, connection, connection.error, timeout_s)
            if reader.coding:
                room = partial(self._room, connection)
                body = await unpacked_body(reader.parts, reader.coding, target.shown, room, taken)
            else:
                body = b"".join(reader.parts)
            return Reply(reader.status, RawHeaders(reader.head, reader.lower), body, connection)
        finally:
            reader.parts = []  # the connection stays, and would keep them until its next request
            self._inflow.leave(connection)

    async def _room(self, connection: Connection, size: int) -> float:
        """Waits for room in memory. Returns for how long; the deadline stands still meanwhile."""
        began = self._loop.time()
        connection.due = NEVER
        await self._inflow.take(connection, size)
        return self._loop.time() - began

    def _failure(self, target: Target, connection: Connection, error: Exception, timeout_s: float) -> TransientError:
        billed = not connection.unsent
        if isinstance(error, Late):
            return Unreachable(f"{target.shown} did not answer within {timeout_s:g} s", billed=billed)
        if never_admitted(error):
            return unreachable(target.shown, error)
        if isinstance(error, NotSpoken):
            self._not_spoken(target.origin, error)
            billed = True
        return Unreachable(
            f"{target.shown} broke off: {printable_line(str(error) or type(error).__name__)}",
            billed=billed or connection.heard,
            silent=not (connection.heard or isinstance(error, ssl.SSLError)),  # what TLS cannot read was said, too
            kept=connection.requests > 1,
        )
