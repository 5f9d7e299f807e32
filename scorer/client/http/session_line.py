"""Watches a connection of aiohttp's session from outside: between asyncio's transport and aiohttp's protocol.

Only asyncio's public interface is used: `transport.set_protocol`, and the methods of `asyncio.Protocol`.
"""

from __future__ import annotations

import asyncio
import select
from typing import cast

from scorer.client.http import pool
from scorer.client.http.connect_errors import CUT, cut_off
from scorer.client.http.reply_reader import Malformed, NotSpoken, ReplyReader


class _Framing(ReplyReader):
    """Checks how a reply is framed and keeps none of its body."""

    __slots__ = ()

    def on_body(self, part: bytes) -> None:
        self._came += len(part)


class SessionLine(asyncio.Protocol):
    """A `scorer.types.Line`. It hands on what comes as the reply to a request, and closes at anything else.

    A reply that our own connections would refuse is refused here by the same rules, as long as the server speaks
    HTTP/1.1; of the version or coding that ours do not implement, aiohttp alone is the judge.
    """

    def __init__(self, wire: asyncio.Transport) -> None:
        self.ids: dict[str, None] = {}
        self.requests = 0
        self.heard = False
        """A byte came since the last request was written."""
        self.malformed: str | None = None
        """What is wrong with the last reply."""
        self.ended_by: Exception | None = None
        """What the connection failed with."""
        self._wire = wire
        self._loop = asyncio.get_running_loop()
        self._opened_at = self._loop.time()
        self._share = pool.share((wire.get_extra_info("sockname") or (0, 0))[1])  # many do not all end at once
        self._inner = cast(asyncio.Protocol, wire.get_protocol())
        self._framing: _Framing | None = _Framing()
        self._asked = False
        self._over = False
        wire.set_protocol(self)

    def begin(self) -> bool:
        """A request is about to be written. False where the connection has ended, is too old, or said something."""
        if self.requests and (self._wire.is_closing() or self._old or self._spoke()):
            return False
        if self._framing is None:  # the reply before was not spoken here
            self._framing = _Framing()
        elif self.requests:
            self._framing.begin()
        self.requests += 1
        self.heard, self._asked = False, True
        return True

    def end(self) -> None:
        """The reply was taken."""
        self._asked = False

    @property
    def head(self) -> bytes:
        """The head of the last reply; b"" where it was in a version or coding that ours do not implement."""
        return b"" if self._framing is None else self._framing.head

    @property
    def pending(self) -> bool:
        """A part of what was written is not yet in the system's hands."""
        return not self._over and self._wire.get_write_buffer_size() > 0

    def drop(self) -> None:
        """Closes it. What is pending is never sent."""
        self._wire.abort()

    def data_received(self, data: bytes) -> None:
        if not self._asked:
            self.drop()
            return
        self.heard = True
        if self._framing is not None:
            try:
                self._framing.feed(data)
            except Malformed as error:
                self.malformed = str(error)
                self.drop()
                return
            except NotSpoken:
                self._framing.close()
                self._framing = None
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        self._look_for_cut()
        return self._inner.eof_received()

    def connection_lost(self, error: Exception | None) -> None:
        self._over, self.ended_by = True, error
        if error is None:
            self._look_for_cut()
        if self._framing is not None:
            self._framing.close()
        self._inner.connection_lost(error)

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()

    @property
    def _old(self) -> bool:
        return self._loop.time() - self._opened_at >= pool.OLDEST_S * self._share

    def _look_for_cut(self) -> None:
        if self._asked and self._framing is not None and not self._framing.complete and cut_off(self._wire):
            self.malformed = CUT

    def _spoke(self) -> bool:
        """Unread bytes have come; a closed connection is readable too."""
        poll = select.poll()
        poll.register(self._wire.get_extra_info("socket").fileno(), select.POLLIN)
        return bool(poll.poll(0))
