"""The admission queue: first come first served, rows in flight before new rows, only the head is checked.

Where the queue is empty and every limit allows it, a request passes at once, without a turn of the loop. Otherwise the
head is checked again in the turn of the loop after a request settled, or when its wait is over. It gets its permit in
one synchronous step, so a waiter that is cancelled leaves nothing reserved. The limit that the head waits for is the
one that slows the run. Further requests of a row, its retries and its hedges wait before all requests of new rows. So a
row in flight waits for no new row, and few rows are partly paid when a run is killed.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from scorer.frozen import dataclass
from scorer.limits.types import Demand, EndpointDown

LONGEST_LOOK_S = 60.0
"""The longest time between two checks of the head."""
COUNTED_S = 0.1
"""Waits are counted at least this often."""
CONCURRENCY = "concurrency"
"""The limit on requests in flight."""
LEDGER = "ledger"
"""The wait for the ledger to be written."""
AWAY = ("outage", "quota")
"""A request that waits for one of these may go to another endpoint."""

T = TypeVar("T")

Hold = Callable[[Demand], tuple[str, float | None] | None]
"""Returns the first limit that must be waited for, and the seconds (None: until a request settles). None: go."""
Places = Callable[[], tuple[int, str] | None]
"""Returns how many requests may be let in now, whatever their demands, and the limit that the next one waits for until
a request settles. None: each demand must be checked by itself."""
Pace = Callable[[Demand], tuple[str, float] | None]
"""Returns the rate that a demand must be held for where there is a place for it, and the seconds. None: go."""


@dataclass(slots=True)
class _Place(Generic[T]):
    """A waiting request: its demand, whether it may leave for another endpoint, and the future of its permit."""

    demand: Demand
    leave: Callable[[], bool] | None
    granted: asyncio.Future[T]


class AdmissionQueue(Generic[T]):
    """A queue of demands. `hold` checks the head, and may raise the head's error. `take` makes the permit.

    `waited` gets the limit that the head waited for, and from when until when. `may_wait` gets the limit that the head
    would wait for and the seconds, and raises where it must not wait. `places` saves the check of each demand where
    none of the limits depends on it, but for those that `pace` checks.
    """

    def __init__(
        self,
        hold: Hold,
        take: Callable[[Demand], T],
        waited: Callable[[str, float, float], None],
        may_wait: Callable[[str, float | None], None] = lambda _name, _seconds: None,
        places: Places = lambda: None,
        pace: Pace | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._hold = hold
        self._take = take
        self._waited = waited
        self._may_wait = may_wait
        self._free_places = places
        self._pace = pace
        self._places: deque[_Place[T]] = deque()
        self._begun = 0  # so many of them, at the front, belong to rows in flight
        self._timer: asyncio.TimerHandle | None = None
        self._woken = False  # a look comes in the next turn of the loop
        self._blocked: tuple[str, float] | None = None  # what the head waits for, and since when

    def __len__(self) -> int:
        return len(self._places)

    @property
    def begun(self) -> int:
        """How many of the requests that wait belong to rows in flight."""
        return self._begun

    def demands(self) -> Iterator[Demand]:
        """The demands that wait, the head first."""
        return (place.demand for place in self._places if not place.granted.done())

    async def stand(self, demand: Demand, leave: Callable[[], bool] | None, give_back: Callable[[T], None]) -> T:
        """Waits for its turn and returns the permit. Raises what `hold` and `may_wait` raise.

        In an outage, raises EndpointDown where `leave()` is true. Cancelled after the permit was made, it calls
        `give_back` with it.
        """
        if not self._places:
            hold = self._ask(demand, leave, self._free_places())
            if hold is None:
                return self._take(demand)
            self._wait(*hold)
        place: _Place[T] = _Place(demand, leave, self._loop.create_future())
        if demand.first:
            self._places.append(place)
        else:
            self._places.insert(self._begun, place)
            self._begun += 1
            if self._begun == 1 and len(self._places) > 1:  # another head, with another demand
                self.look()
        try:
            return await place.granted
        except asyncio.CancelledError:
            if place.granted.cancelled():
                self.look()
            elif place.granted.exception() is None:  # granted in the same turn of the loop
                give_back(place.granted.result())
            raise

    def turn_away(self, why: Callable[[], Exception]) -> None:
        """Raises `why()` in all waiting requests of rows that were not begun."""
        for place in self._places:
            if place.demand.first and not place.granted.done():
                place.granted.set_exception(why())
        self.look()

    def regroup(self) -> None:
        """Puts requests of rows that are in flight by now before those of new rows."""
        for place in self._places:
            place.demand = place.demand.as_now()
        self._places = deque(sorted(self._places, key=lambda place: place.demand.first))
        self._begun = sum(not place.demand.first for place in self._places)
        self.look()

    def wake(self) -> None:
        """Looks in the next turn of the loop, once for all that is settled in this one."""
        if self._places and not self._woken:
            self._woken = True
            self._loop.call_soon(self.look)

    def look(self) -> None:
        """Grants permits while the limits allow it, then sets the time of the next check."""
        self._woken = False
        blocked, self._blocked = self._blocked, None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        free = self._free_places() if self._places else None
        given = 0
        while self._places:
            place = self._places[0]
            if not place.granted.done():
                try:
                    hold = self._ask(place.demand, place.leave, free, given)
                except Exception as error:  # noqa: BLE001 - the waiter raises it
                    place.granted.set_exception(error)
                else:
                    if hold is not None:
                        self._wait(*hold, blocked)
                        return
                    given += 1
                    place.granted.set_result(self._take(place.demand))
            self._places.popleft()
            self._begun -= not place.demand.first
        if blocked is not None:
            self._waited(*blocked, self._loop.time())

    def _ask(
        self, demand: Demand, leave: Callable[[], bool] | None, free: tuple[int, str] | None, given: int = 0
    ) -> tuple[str, float | None] | None:
        """The limit that the head must wait for, where `given` of the places `free` were given since.

        Raises EndpointDown in an outage where it may leave.
        """
        if free is not None:
            if given >= free[0]:
                return free[1], None
            return self._pace(demand) if self._pace is not None else None
        hold = self._hold(demand)
        if hold is not None:
            if hold[0] in AWAY and leave is not None and leave():
                raise EndpointDown
            self._may_wait(*hold)
        return hold

    def _wait(self, name: str, seconds: float | None, before: tuple[str, float] | None = None) -> None:
        """Notes what the head waits for. `before` is what a head waited for until now, and since when.

        Waits for one limit right after one another are counted together, up to `COUNTED_S` of them.
        """
        now = self._loop.time()
        if before is None or (before[0] == name and now - before[1] < COUNTED_S):
            self._blocked = before or (name, now)
        else:
            self._waited(*before, now)
            self._blocked = (name, now)
        if seconds is not None:
            self._timer = self._loop.call_later(min(seconds, LONGEST_LOOK_S), self.look)
