"""The circuit breaker of one endpoint: open while all requests fail, so that an outage costs time and no rows.

Knows no requests. The caller asks `wait_s` before it sends, and calls `answered`, `failed` or `abandoned` afterwards.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
TOGETHER = 3
"""So many failures, with no answered request sent between them, are a short outage: the breaker may stay closed."""
REMEMBERED = 1024
"""The number of requests whose sending times are remembered."""


class Breaker:
    """Opens after `threshold` failures in a row. Then it lets one probe pass at a time, with pauses from 0.5 to 30 s.

    `open_since` is when it opened, None while it is closed. `last_success` is when the last answer came. Times are in
    seconds on `clock`.
    """

    def __init__(self, clock: Callable[[], float], threshold: int = 8) -> None:
        self._clock = clock
        self._threshold = threshold
        self._failures = 0
        self._pause_s = FIRST_PAUSE_S
        self._next_probe = 0.0
        self._probing = False
        self._last_good = float("-inf")  # the latest sending time of an answered request
        self._failing_since = self._last_good
        self._outages: deque[tuple[float, float]] = deque(maxlen=32)
        self._good: deque[float] = deque(
            maxlen=REMEMBERED
        )  # sending times of answered requests, in the order of the answers
        self._bad: deque[float] = deque(maxlen=REMEMBERED)
        self.open_since: float | None = None
        self.last_success = float("-inf")

    def wait_s(self) -> float | None:
        """Seconds until a request may be sent: 0 for now, None while a probe is in flight."""
        if self.open_since is None:
            return 0.0
        if self._probing:
            return None
        return max(0.0, self._next_probe - self._clock())

    def send(self) -> bool:
        """Notes that a request is sent. True where it is a probe."""
        if self.open_since is None:
            return False
        self._probing = True
        return True

    def answered(self, *, success: bool, sent_at: float | None = None) -> None:
        """The endpoint answered: the breaker closes. `success` is False for a 429. `sent_at` None is now.

        While it is open, only the answer to a request that was sent since closes it. A late answer to an earlier
        request does not.
        """
        if self.open_since is None:
            self._failures = 0
        elif sent_at is None or sent_at >= self.open_since:
            self._outages.append((self._failing_since, self._clock()))
            self._failures = 0
            self._pause_s = FIRST_PAUSE_S
            self.open_since = None
            self._probing = False
        if success:
            self.last_success = self._clock()
            good = self.last_success if sent_at is None else sent_at
            if good > self._last_good:
                self._last_good = good
            self._good.append(good)

    def failed(self, *, probe: bool, sent_at: float | None = None, away_s: float | None = None) -> None:
        """A request failed that was sent at `sent_at` (None: now). While open, only a probe's failure prolongs it.

        With `away_s` the endpoint said that it takes no requests for so long: the breaker opens at once.
        """
        now = self._clock()
        self._bad.append(now if sent_at is None else sent_at)
        if self.open_since is None:
            self._failures += 1
            if self._failures >= self._threshold or away_s is not None:
                self.open_since, self._failing_since = now, self._last_good
                self._pause(now)
                self._next_probe = max(self._next_probe, now + min(LONGEST_PAUSE_S, away_s or 0.0))
        elif probe:
            self._probing = False
            self._pause(now)

    def _pause(self, now: float) -> None:
        self._next_probe = now + self._pause_s
        self._pause_s = min(LONGEST_PAUSE_S, self._pause_s * 2)

    def was_up(self, sent_at: float) -> bool:
        """True where a failure was the request's own: a later request was answered, and no outage lay between."""
        if sent_at >= self._last_good or any(since < sent_at <= until for since, until in self._outages):
            return False
        before = max((good for good in self._good if good <= sent_at), default=None)
        if before is None:  # too long ago to tell who failed beside it
            return True
        after = min((good for good in self._good if good > sent_at), default=self._last_good)
        return sum(before < bad < after for bad in self._bad) < TOGETHER

    def abandoned(self, *, probe: bool) -> None:
        """The request ended without an answer or a failure, such as by a cancellation."""
        if probe:
            self._probing = False
