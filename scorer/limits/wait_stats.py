"""Counts which limits the head of a queue waited for, and for how long. Knows no limit."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable


class WaitStats:
    """Seconds that the head of the queue waited, by limit, over the last minute."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._began = clock()
        self._seconds: deque[tuple[int, dict[str, float]]] = deque(maxlen=61)

    def add(self, name: str, since: float, until: float) -> None:
        """The head waited for `name` from `since` until `until`."""
        second = int(until)
        if not self._seconds or self._seconds[-1][0] != second:
            self._seconds.append((second, {}))
        waits = self._seconds[-1][1]
        waits[name] = waits.get(name, 0.0) + until - since

    def shares(self) -> dict[str, float]:
        """The share of the last minute that the head waited for each limit. In the first minute, of the time so far."""
        now = self._clock()
        window = max(1e-9, min(60.0, now - self._began))
        sums: dict[str, float] = {}
        for second, waits in self._seconds:
            if second >= now - 60:
                for name, seconds in waits.items():
                    sums[name] = sums.get(name, 0.0) + seconds
        return {name: round(min(1.0, seconds / window), 4) for name, seconds in sums.items()}
