"""The circuit breaker of one endpoint: open while all requests fail, so that an outage costs time and no rows.

Knows nothing of requests; the caller asks `wait_s` before it sends and tells `answered` or `failed` afterwards.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
TOGETHER = 3
"""So many failures, with nothing answered that was sent between them, are an outage: too short to open the breaker."""
REMEMBERED = 1024


class Breaker:
    """Opens after `threshold` failures in a row; then one probe at a time, with pauses that double up to 30 s."""

    def __init__(self, clock: Callable[[], float], threshold: int = 8) -> None:
        self._clock = clock
        self._threshold = threshold
        self._failures = 0
        self._pause_s = FIRST_PAUSE_S
        self._next_probe = 0.0
        self._probing = False
        self._last_good = float("-inf")  # when the last request was sent that was answered
        self._failing_since = self._last_good
        self._outages: deque[tuple[float, float]] = deque(maxlen=32)
        self._good: deque[float] = deque(maxlen=REMEMBERED)  # when what was answered had been sent, last answered last
        self._bad: deque[float] = deque(maxlen=REMEMBERED)
        self.open_since: float | None = None
        self.last_success = float("-inf")

    def wait_s(self) -> float | None:
        """Seconds until one may be sent: 0 for now, None while a probe is out."""
        if self.open_since is None:
            return 0.0
        if self._probing:
            return None
        return max(0.0, self._next_probe - self._clock())

    def send(self) -> bool:
        """Notes that a request goes out; True where it is the probe."""
        if self.open_since is None:
            return False
        self._probing = True
        return True

    def answered(self, *, success: bool, sent_at: float | None = None) -> None:
        """The endpoint answered, if only with a 429: closed from now on. `sent_at` None is now.

        While open, only what was sent since closes it, a probe: a late answer to what was sent before says nothing.
        """
        if self.open_since is None or sent_at is None or sent_at >= self.open_since:
            if self.open_since is not None:
                self._outages.append((self._failing_since, self._clock()))
            self._failures = 0
            self._pause_s = FIRST_PAUSE_S
            self.open_since = None
            self._probing = False
        if success:
            self.last_success = self._clock()
            good = self.last_success if sent_at is None else sent_at
            self._last_good = max(self._last_good, good)
            self._good.append(good)

    def failed(self, *, probe: bool, sent_at: float | None = None) -> None:
        """It failed, sent at `sent_at` or now. While open, only the probe's failure counts: others were sent before."""
        now = self._clock()
        self._bad.append(now if sent_at is None else sent_at)
        if self.open_since is None:
            self._failures += 1
            if self._failures >= self._threshold:
                self.open_since, self._failing_since = now, self._last_good
                self._pause(now)
        elif probe:
            self._probing = False
            self._pause(now)

    def _pause(self, now: float) -> None:
        self._next_probe = now + self._pause_s
        self._pause_s = min(LONGEST_PAUSE_S, self._pause_s * 2)

    def was_up(self, sent_at: float) -> bool:
        """True where something sent later was answered, and no outage came between: a failure was the request's own."""
        if sent_at >= self._last_good or any(since < sent_at <= until for since, until in self._outages):
            return False
        before = max((good for good in self._good if good <= sent_at), default=None)
        if before is None:  # too long ago to tell who failed beside it
            return True
        after = min((good for good in self._good if good > sent_at), default=self._last_good)
        return sum(before < bad < after for bad in self._bad) < TOGETHER

    def abandoned(self, *, probe: bool) -> None:
        """The request was given up without an answer either way."""
        if probe:
            self._probing = False
