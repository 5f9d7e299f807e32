"""Decides whether a request that failed is asked again, probed first, or given up. Sends nothing.

An attempt counts against a row only if another request to the endpoint was sent and answered between its sending and
its failure: an endpoint that is down for an hour costs an hour, not rows.
"""

from __future__ import annotations

from dataclasses import field

from scorer.errors import NoCapacity, ServerFault, Throttled, TransientError, Unavailable, Unreadable
from scorer.frozen import dataclass
from scorer.limits.breaker import Breaker

FIRST_BACKOFF_S = 0.5
LONGEST_BACKOFF_S = 30.0
LONGEST_CAPACITY_S = 60.0
"""The longest backoff where a service tier has no capacity."""
THROTTLES_PER_RETRY = 10
"""A 429 is hardly ever the row's fault: this many weigh as much as one failure."""


@dataclass(slots=True)
class RetryState:
    """The failed attempts of one request; `retries` of them that count against the row give it up.

    An attempt is known by the breaker of its endpoint and the time at which it was sent, on the loop's clock.
    """

    retries: int
    failures: int = 0
    """Failed attempts but for 429."""
    throttles: int = 0
    """429 after which the endpoint answered others."""
    shortages: int = 0
    """Refusals because the service tier had no capacity, which count against no row."""
    counted: int = 0
    """Failures that count against the row: others were answered meanwhile, or a probe was, before and after."""
    _own: list[tuple[Breaker, float]] = field(default_factory=list)
    """Failures while others were answered. One whose endpoint went down since counts no longer."""
    _probed: int = 0
    """Failures between two probes that were answered."""
    _answered_probe: Breaker | None = None
    """Where the last probe was answered."""
    _answered_others: bool = False
    _garbled: tuple[Breaker, float] | None = None
    """The first attempt whose reply was garbled."""

    def failed(self, error: TransientError, breaker: Breaker, sent_at: float) -> None:
        """Counts a failed attempt. Raises Unreadable at a second garbled reply while others were answered."""
        if isinstance(error, NoCapacity):
            self.shortages += 1
            return
        # Sent after it and answered before it failed: a late answer to what was sent earlier says nothing.
        self._answered_others = breaker.was_up(sent_at)
        if isinstance(error, ServerFault) and error.garbled:
            if self._garbled is not None and self._garbled[0].was_up(self._garbled[1]):
                raise Unreadable(f"{error.detail} (twice, while other requests were answered)")
            self._garbled = self._garbled or (breaker, sent_at)
        if isinstance(error, Throttled):  # all requests to the endpoint pause: waiting in the queue again is enough
            self.throttles += breaker.last_success > sent_at
        else:
            self.failures += 1
            if self._answered_others:
                self._own.append((breaker, sent_at))
        self.counted = self._probed + sum(own.was_up(at) for own, at in self._own)

    @property
    def needs_probe(self) -> bool:
        """Whether only a small request can tell an outage from a row that breaks the server, after so many failures."""
        return self.failures - self.counted >= self.retries

    def probed(self, breaker: Breaker, sent_at: float, *, answered: bool) -> None:
        """A probe followed the attempt that `failed` counted last. Between two answered ones it failed by itself."""
        before, self._answered_probe = self._answered_probe, breaker if answered else None
        if answered and before is breaker and not self._answered_others and breaker.was_up(sent_at):
            self._probed += 1
            self.counted += 1

    def check(self, error: TransientError, attempts: int) -> None:
        """Raises Unavailable where the request is to be given up, after so many attempts in all."""
        if self.counted + self.throttles / THROTTLES_PER_RETRY >= self.retries:
            raise Unavailable(f"{error.detail} ({attempts} attempts, while other requests were answered)")

    def pause_s(self, draw: float) -> float:
        """Seconds until the next attempt: exponential backoff, its upper half drawn (`draw` is from 0 to 1)."""
        return _backoff(self.failures, LONGEST_BACKOFF_S, draw)

    def capacity_pause_s(self, draw: float, wish_s: float | None) -> float:
        """Seconds until the next attempt after a shortage of capacity; the server's own wish where that is longer."""
        return max(_backoff(self.shortages, LONGEST_CAPACITY_S, draw), wish_s or 0.0)


def _backoff(failures: int, longest_s: float, draw: float) -> float:
    return min(longest_s, FIRST_BACKOFF_S * 2.0 ** min(failures - 1, 10)) * (0.5 + 0.5 * draw)
