"""Deadlines of many connections with one timer, instead of one `asyncio.timeout` for each request."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Collection
from typing import Protocol

LOOK = 1 / 50
"""How often is looked: every so many parts of the usual timeout, and at least every second. So late may one expire."""
READ_S = 0.05
"""After a look that came late by more than that, what came meanwhile has so long to be read before anything expires."""


NEVER = math.inf


class Expiring(Protocol):
    """What has a deadline: `due` is on the loop's clock, `NEVER` for none."""

    due: float

    def expire(self) -> None:
        """Its time is up."""
        ...


class Deadlines:
    """Calls `expire` of what is late by up to `LOOK` of `timeout_s`. Make it inside a running loop.

    `all_of` returns whatever may have a deadline; while there is any, it is looked at. One that is over becomes `NEVER`
    without a call, and one is set on what has it.

    A process that stands still longer than a timeout finds all of them over and the replies unread: uvloop calls timers
    before it reads. So the look after a standstill is put off, once.
    """

    def __init__(self, timeout_s: float, all_of: Callable[[], Collection[Expiring]]) -> None:
        self._loop = asyncio.get_running_loop()
        self._look_s = min(1.0, LOOK * timeout_s)
        self._all_of = all_of
        self._timer: asyncio.TimerHandle | None = None
        self._next = 0.0  # when the next look is to come
        self._put_off = False

    def watch(self) -> None:
        """To be called when `all_of` may have its first: looks until it has none."""
        if self._timer is None:
            self._look_in(self._look_s)

    def close(self) -> None:
        """Nothing expires any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        now = self._loop.time()
        self._put_off = not self._put_off and now > self._next + self._look_s
        if self._put_off:
            self._look_in(READ_S)
            return
        for one in [one for one in self._all_of() if one.due <= now]:
            one.due = NEVER
            one.expire()
        self._timer = None
        if self._all_of():
            self._look_in(self._look_s)

    def _look_in(self, seconds: float) -> None:
        self._next = self._loop.time() + seconds
        self._timer = self._loop.call_later(seconds, self._look)
