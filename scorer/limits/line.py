"""The line before the limits: first come, first served, and only the head looks.

Whoever finds the line empty and every limit willing passes at once, without a turn of the loop. Else the head is looked
at again when something settles or its time has come, and is handed its permit in one synchronous step: a waiter that is
cancelled leaves nothing behind. How long the head waits, and for what, is what holds the run back.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from scorer.limits.permit import Need, Permit, TurnedAway

LONGEST_LOOK_S = 60.0

Hold = Callable[[Need], tuple[str, float | None] | None]
"""The first limit that says not yet, and seconds until it may say yes (None: when something settles)."""


@dataclass(slots=True)
class _Place:
    need: Need
    leave: Callable[[], bool] | None
    granted: asyncio.Future[Permit]


class Line:
    """Stands between `Local.admit` and its limits. `hold` may raise for the head; `take` grants."""

    def __init__(self, hold: Hold, take: Callable[[Need], Permit], held: Callable[[str, float, float], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._hold = hold
        self._take = take
        self._held = held
        self._places: deque[_Place] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._blocked: tuple[str, float] | None = None  # what the head waits for, and since when

    def __len__(self) -> int:
        return len(self._places)

    async def stand(self, need: Need, leave: Callable[[], bool] | None, give_back: Callable[[Permit], None]) -> Permit:
        """A permit, in turn. Raises what `hold` raises, TurnedAway where `leave` says so during an outage."""
        if not self._places and self._hold(need) is None:
            return self._take(need)
        place = _Place(need, leave, self._loop.create_future())
        self._places.append(place)
        if len(self._places) == 1:
            self.look()
        try:
            return await place.granted
        except asyncio.CancelledError:
            if place.granted.cancelled():
                self.look()
            elif place.granted.exception() is None:  # granted in the very turn in which the waiter was cancelled
                give_back(place.granted.result())
            raise

    def look(self) -> None:
        """Lets everyone pass whom the limits let pass now, and sets the time to look again."""
        if self._blocked is not None:
            self._held(*self._blocked, self._loop.time())
            self._blocked = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._places:
            place = self._places[0]
            if not place.granted.done():
                try:
                    hold = self._hold(place.need)
                    if hold is not None and hold[0] == "outage" and place.leave is not None and place.leave():
                        raise TurnedAway
                except Exception as error:  # noqa: BLE001 - whatever it is, it is the waiter's to raise
                    place.granted.set_exception(error)
                else:
                    if hold is not None:
                        self._wait(*hold)
                        return
                    place.granted.set_result(self._take(place.need))
            self._places.popleft()

    def _wait(self, name: str, seconds: float | None) -> None:
        self._blocked = (name, self._loop.time())
        if seconds is not None:
            self._timer = self._loop.call_later(min(seconds, LONGEST_LOOK_S), self.look)
