"""Keep-alive connections of a simulated run, on which a judge sends some replies twice.

A copy that comes while nothing is asked is seen by whoever takes the connection next. One that comes after the next
request was written is read as its reply; the reply of its own is lost with the connection, though it was billed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any

from scorer.client.repeated_replies import reply_id
from scorer.types import Reply

LATE_S = (0.0, 0.003, 0.05, 0.5, 2.0)
"""Seconds between a reply and its copy."""
FORGETFUL = 2
"""Replies before the first copy: until then the client cannot know that this judge's ids differ."""


class Line:
    """One connection; `copy` is a reply that is sent again, and its time."""

    def __init__(self) -> None:
        self.ids: dict[str, None] = {}
        self.copy: tuple[float, Reply] | None = None
        self.dropped = False

    def drop(self) -> None:
        self.dropped = True


class Lines:
    """The connections of one client. `share` of the good replies are sent twice."""

    def __init__(self, share: float, draw: Random, clock: Callable[[], float]) -> None:
        self._share = share
        self._draw = draw
        self._clock = clock
        self._idle: list[Line] = []
        self._ids: set[str] = set()
        self.copies = 0
        """Copies that were read as another request's reply."""

    async def post(self, answer: Coroutine[Any, Any, Reply], *, fresh: bool) -> Reply:
        """The first reply on the connection: that of `answer`, or a copy."""
        line = self._taken(fresh=fresh)
        own = asyncio.ensure_future(answer)
        try:
            if line.copy is not None:
                at, copy = line.copy
                done, _ = await asyncio.wait([own], timeout=at - self._clock())
                if not done:
                    self.copies += 1
                    return self._back(line, copy)
            reply = await own
        finally:
            if not own.done():
                own.cancel()
                await asyncio.wait([own])
        if reply.status == 200 and (named := reply_id(reply.body)) is not None:
            self._ids.add(named)
            if len(self._ids) > FORGETFUL and self._draw.random() < self._share:
                line.copy = (self._clock() + self._draw.choice(LATE_S), reply)
        return self._back(line, reply)

    def _taken(self, *, fresh: bool) -> Line:
        while self._idle:
            line = self._idle.pop(0)
            came = line.copy is not None and line.copy[0] <= self._clock()
            if not (line.dropped or came or fresh):
                return line
        return Line()

    def _back(self, line: Line, reply: Reply) -> Reply:
        self._idle.append(line)
        return Reply(reply.status, reply.headers, reply.body, line)
