"""Divides the requests that may be in flight at one endpoint among the workers that are heard of. Knows no messages.

A worker that is not heard of for `SILENT_S` begins no request any more (`broker_client.FRESH_S`), and what it had in
flight is over once the slowest replies have come: then others use its part. One that comes back gets its part again as
the others' requests end. So at no time more are in flight than may be.
"""

from __future__ import annotations

from collections.abc import Callable

from scorer.frozen import dataclass

SILENT_S = 4.25
"""A worker that is not heard of for so long begins nothing: `broker_client.FRESH_S`, and clocks of unequal speed."""
LONGEST_TURN_S = 0.25
"""A longer time between two reports of any workers counts as so long: this process was suspended or slow."""


@dataclass(slots=True)
class _Part:
    """A worker's part: as granted by the last answer and by the one before, which it may still follow."""

    granted: int = 0
    granted_before: int = 0
    in_flight: int = 0
    heard_at: float = 0.0

    @property
    def most(self) -> int:
        """The most requests that it may have in flight now."""
        return max(self.granted, self.granted_before, self.in_flight)


class PlaceLeases:
    """The parts of one endpoint. `slowest_s` returns the seconds of the slowest recent replies."""

    def __init__(self, clock: Callable[[], float], slowest_s: Callable[[], float] = lambda: 0.0) -> None:
        self._clock = clock
        self._slowest_s = slowest_s
        self._now = clock()
        self._lived_s = 0.0
        self._parts: dict[int, _Part] = {}
        self._present: dict[int, int] = {}
        """The workers that are heard of, each with its place among them."""
        self._most = 0
        """The sum of the most that each of them may have in flight."""
        self._looked_at = float("-inf")

    def exchange(self, worker: int, total: int, in_flight: int) -> int:
        """The most requests that this worker may have in flight until its next report; 0 until others have room.

        `total` may be in flight at the endpoint over all workers, and one of each; `in_flight` of them are this
        worker's.
        """
        now = self._clock()
        self._lived_s += min(now - self._now, LONGEST_TURN_S)
        self._now = now
        mine = self._parts.setdefault(worker, _Part())
        mine.heard_at = self._lived_s
        if worker not in self._present or self._lived_s - self._looked_at > LONGEST_TURN_S:
            self._look()
        others = self._most - mine.most
        workers = len(self._present)
        total = max(total, workers)
        even = total // workers + (self._present[worker] < total % workers)
        mine.in_flight, mine.granted_before, mine.granted = in_flight, mine.granted, min(even, max(0, total - others))
        self._most = others + mine.most
        return mine.granted

    def gone(self, worker: int) -> None:
        """Removes a worker that is dead or ended."""
        if self._parts.pop(worker, None) is not None:
            self._look()

    def _look(self) -> None:
        """Finds out who is present: not at each report, of which a thousand workers send ten thousand a second."""
        present = sorted(number for number in self._parts if not self._silent(number))
        self._present = {number: place for place, number in enumerate(present)}
        self._most = sum(self._parts[number].most for number in present)
        self._looked_at = self._lived_s

    def _silent(self, worker: int) -> bool:
        silent_s = self._lived_s - self._parts[worker].heard_at
        return silent_s > SILENT_S and silent_s > self._slowest_s()
