"""Drains one endpoint: rows in flight are finished while that is quick, and nothing waits for an outage to end."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Set

from scorer.errors import Interrupted
from scorer.limits.bills import LearnedBilling
from scorer.limits.breaker import Breaker
from scorer.limits.types import Permit

PATIENCE_S = 3.0
"""A drain waits this long after the last answer for what a limit holds back, and not at all for an outage to end."""
LOOK_S = 0.02
"""The shortest time between two looks at what is in flight.

A look that ends a wait comes so long after its time, counted once that has come: where this process stood still, the
replies that came meanwhile are read first.
"""


class Drain:
    """Ends the waits of one endpoint once it is asked to. `in_flight` are the permits of requests that were sent.

    `PATIENCE_S` after the last answer, nothing waits any more. A reply is waited for longer where replies take longer:
    up to twice the longest latency so far.
    """

    def __init__(
        self, clock: Callable[[], float], breaker: Breaker, bills: LearnedBilling, in_flight: Set[Permit]
    ) -> None:
        self._clock = clock
        self._breaker = breaker
        self._bills = bills
        self._in_flight = in_flight
        self.asked = False
        self._asked_at = 0.0
        self._resting: set[asyncio.Future[None]] = set()
        self._look: asyncio.TimerHandle | None = None

    def ask(self) -> None:
        """Begins the drain. The caller turns away what is in its queues, then calls `release`."""
        self.asked = True
        self._asked_at = self._clock()

    def check(self, name: str, seconds: float | None) -> None:
        """Raises Interrupted where a drain does not wait this long for the limit `name`. None: until a settlement."""
        if not self.asked:
            return
        long = seconds is not None and seconds < math.inf and self._clock() + seconds > self._patient_until()
        if name == "outage" or long:
            raise Interrupted(f"draining: this row would have to wait ({name})")

    def release(self) -> None:
        """Ends the wait for replies that do not come, and wakes the rows that rest between two attempts."""
        for future in self._resting:
            if not future.done():
                future.set_result(None)
        now, patient = self._clock(), self._patient_until()  # what was sent before an outage may still be answered
        outage, slow_s = self._breaker.open_since is not None, self._bills.slow_s
        next_at = math.inf
        for permit in list(self._in_flight):
            until = patient if outage else max(patient, permit.admitted_at + slow_s)
            if (outage and permit.probe) or now >= until:
                permit.leave()
            else:
                next_at = min(next_at, until)
        if self._look is not None:
            self._look.cancel()
        if next_at < math.inf:
            self._look = asyncio.get_running_loop().call_later(next_at - now, self._release_soon)

    def _release_soon(self) -> None:
        self._look = asyncio.get_running_loop().call_later(LOOK_S, self.release)

    async def rest(self, seconds: float, leave: Callable[[], bool] | None = None) -> None:
        """Sleeps. Raises Interrupted where a drain does not wait for the end of it."""
        until = self._clock() + seconds
        while (left_s := until - self._clock()) > 0:
            if self.asked:
                away = self._breaker.open_since is not None and not (leave is not None and leave())
                self.check("outage" if away else "retry", left_s)
            woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._resting.add(woken)
            try:
                await asyncio.wait([woken], timeout=left_s)
            finally:
                self._resting.discard(woken)

    def _patient_until(self) -> float:
        return max(self._asked_at, self._breaker.last_success) + PATIENCE_S


def not_begun() -> Interrupted:
    return Interrupted("draining: this row was not begun")
