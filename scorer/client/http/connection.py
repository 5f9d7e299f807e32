"""One connection of ours: writes a request, and wakes its waiter when the reply is whole or the connection ended."""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable
from typing import cast

from scorer.client.http.connect_errors import CUT, cut_off
from scorer.client.http.deadlines import NEVER
from scorer.client.http.reply_reader import Malformed, NotSpoken, ReplyReader
from scorer.client.reply_bytes import FREE
from scorer.error_frames import without_frames

MOST_PENDING = 64 * 1024
"""A request of which more than this is not yet in the system's hands is known not to be sent, however it ends."""
EARLY = "the reply came before all of the request was sent"


class Late(Exception):
    """The deadline of the request passed."""


class Connection(asyncio.Protocol):
    """A connection to one origin. It carries one request at a time and is a `scorer.types.Line`.

    What comes while nothing is asked is no reply to anything: it is not read, and the connection is used no more.
    `lost` is called once, when the connection has ended.
    """

    __slots__ = (
        "_early",
        "_lost",
        "_poll",
        "_transport",
        "_unsent",
        "_waiter",
        "broken",
        "due",
        "error",
        "granted",
        "heard",
        "idle_since",
        "ids",
        "opened_at",
        "reader",
        "requests",
        "share",
    )

    def __init__(self, lost: Callable[[Connection], None], now: float) -> None:
        self.ids: dict[str, None] = {}
        self.reader = ReplyReader()
        self.opened_at = self.idle_since = now
        self.share = 1.0
        """Of the oldest age of the pool's connections, the part at which this one gets no further request."""
        self.requests = 0
        self.granted = FREE
        """So many bytes of the reply may be in memory."""
        self.heard = False
        """A byte came since the last request was written."""
        self.broken = False
        """Nothing is asked on it again."""
        self.due = NEVER
        """When the time of its request is up, on the loop's clock."""
        self.error: Exception | None = None
        """Why the last request has no reply: Late, Malformed, NotSpoken, or an OSError. At rest, why it ended."""
        self._early = False  # the reply began before all of the request was written
        self._lost = lost
        self._unsent = False  # known of a request that waits, or of one whose connection ended
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._poll: Callable[[float], object] | None = None

    def ask(self, request: bytes, due: float, loop: asyncio.AbstractEventLoop) -> asyncio.Future[None]:
        """Writes a whole request. What is returned is done when there is a reply, an `error`, or a wait for room.

        A future that was cancelled leaves the connection in use: `drop` it.
        """
        assert self._transport is not None
        if self.requests:
            self.reader.begin()
            self.granted = FREE
            self.heard = self._early = self._unsent = False
        self.requests += 1
        self.due = due
        waiter = self._waiter = loop.create_future()
        self._transport.write(request)
        return waiter

    def read_on(self, granted: int, due: float, loop: asyncio.AbstractEventLoop) -> asyncio.Future[None]:
        """Reads on after a wait for room: so many bytes may be in memory. Returns what `ask` does."""
        assert self._transport is not None
        self.granted = granted
        self.due = due
        waiter = self._waiter = loop.create_future()
        if self.broken:
            self._fail(ConnectionError("the connection was closed"))
        else:
            self._transport.resume_reading()
        return waiter

    def rest(self, now: float) -> None:
        """Its reply was taken: nothing is asked on it now."""
        self._waiter = None
        self.due = NEVER
        self.idle_since = now

    @property
    def unsent(self) -> bool:
        """A part of the last request is not yet in the system's hands."""
        return self._unsent or self._transport is None or self._transport.get_write_buffer_size() > 0

    @property
    def at_rest(self) -> bool:
        """False where the server closed it, or unrequested bytes came, even if they are not read yet.

        The loop reads a connection some milliseconds after bytes came: the system is asked. Not on a new TLS
        connection, on which TLS has something to say of its own.
        """
        if self.broken or self._transport is None or self._transport.is_closing():
            return False
        if self._poll is None:
            if not self.requests and self._transport.get_extra_info("ssl_object") is not None:
                return True
            wire = self._transport.get_extra_info("socket")
            poll = select.poll()
            poll.register(wire.fileno(), select.POLLIN)
            self._poll = poll.poll
        return not self._poll(0)

    def drop(self) -> None:
        """Closes it. What is not yet in the system's hands is never sent."""
        self.broken = True
        if self._transport is not None:
            self._transport.abort()

    def expire(self) -> None:
        """Its request's time is up. Nothing happens where the reply is here already."""
        if not self.reader.complete:
            self._fail(Late())

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by its class
        self._transport.set_write_buffer_limits(high=MOST_PENDING, low=0)

    def pause_writing(self) -> None:
        self._unsent = True

    def resume_writing(self) -> None:
        self._unsent = False

    def data_received(self, data: bytes) -> None:
        reader = self.reader
        if self._waiter is None or self.broken or reader.complete:
            self.drop()
            return
        if not self.heard:
            self.heard = True
            assert self._transport is not None
            self._early = self._unsent or self._transport.get_write_buffer_size() > 0
        try:
            reader.feed(data)
        except (Malformed, NotSpoken) as error:
            self._fail(without_frames(error))
            return
        if reader.complete:
            if self._early or not reader.keep_alive:
                self._completed()
            elif not self._waiter.done():
                self._waiter.set_result(None)
        elif reader.needs > self.granted:
            assert self._transport is not None
            self._transport.pause_reading()
            self._wake()

    def eof_received(self) -> None:
        self._ended(None)

    def connection_lost(self, error: Exception | None) -> None:
        self._ended(error)
        self.reader.close()
        self._lost(self)

    def _completed(self) -> None:
        if self._early:  # only a refusal can be meant for a request that was not there
            self.broken = True
            if self.reader.status < 300:
                self._fail(Malformed(EARLY))
                return
        if not self.reader.keep_alive:
            self.broken = True
        self._wake()

    def _ended(self, error: Exception | None) -> None:
        self.broken = True
        if self._waiter is None:
            self.error = self.error or error
            return
        if self.reader.complete:
            return
        if error is None and cut_off(self._transport):
            error = ConnectionError(CUT)
        if error is None and self.reader.finish():
            self._completed()
        else:
            self._fail(error or ConnectionError("the server closed the connection"))

    def _fail(self, error: Exception) -> None:
        if self.error is None:
            self.error = error
            self._unsent = self.unsent
            self.drop()
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
