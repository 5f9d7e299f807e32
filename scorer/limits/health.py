"""What replies say about the state of one endpoint: an outage, a pause after a 429, the concurrency that it bears."""

from __future__ import annotations

from collections.abc import Callable

from scorer.limits.adaptive_concurrency import AdaptiveConcurrency
from scorer.limits.breaker import Breaker
from scorer.limits.cooldown import Cooldown
from scorer.limits.rate_limits import RateLimits
from scorer.limits.types import Outcome


class EndpointHealth:
    """Breaker, cooldown and adaptive concurrency of one endpoint; each gets the outcome of every request.

    `adaptive` is None where the concurrency is fixed. `met` says whether a request was ever answered, if only by a
    row's fault. `why` is the message of the last failure, None once a request was answered since.
    """

    def __init__(self, clock: Callable[[], float], limits: RateLimits) -> None:
        self._clock = clock
        self.breaker = Breaker(clock)
        self.cooldown = Cooldown()
        self.adaptive = AdaptiveConcurrency(clock, limits.most) if limits.concurrency is None else None
        self.met = False
        self.why: str | None = None

    def outage_s(self, *, draining: bool) -> float | None:
        """Seconds until a request may be sent: 0 for now, None while a probe is out. A drain sends no probe."""
        if draining and self.breaker.open_since is not None and self.breaker.wait_s() == 0.0:
            return None
        return self.breaker.wait_s()

    @property
    def quota_spent(self) -> bool:
        """A quota of a day or longer is used up, and has not renewed yet."""
        return self.cooldown.quotas > 0 and self.cooldown.until > self._clock()

    def settle(self, sent_at: float, outcome: Outcome, *, probe: bool) -> None:
        """Takes the outcome of a request that was sent at `sent_at` on the clock; `probe`: to test an outage."""
        if outcome.throttled:
            # One 429 pauses all requests, once: a 429 to a request that was sent before the last pause is no news.
            cut = self.cooldown.throttled(sent_at, self._clock(), outcome.retry_after_s, quota=outcome.quota)
            if cut and self.adaptive is not None:
                self.adaptive.throttled()
            self.breaker.answered(success=bool(outcome.alive), sent_at=sent_at)
            self.why = outcome.why
        elif outcome.no_capacity:
            # The set-up is right and the endpoint is there; other requests are neither paused nor fewer.
            self.met = True
            self.breaker.answered(success=False, sent_at=sent_at)
            self.why = outcome.why
        elif outcome.alive:
            self.met = True
            if self.cooldown.began:
                self.cooldown.answered(sent_at)
            if self.adaptive is not None:
                self.adaptive.answered(self._clock() - sent_at)
            self.breaker.answered(success=True, sent_at=sent_at)
            if self.breaker.open_since is None:
                self.why = None
        elif outcome.alive is False:
            if self.adaptive is not None:
                self.adaptive.failed()
            self.breaker.failed(probe=probe, sent_at=sent_at, away_s=outcome.away_s)
            self.why = outcome.why
        else:
            self.breaker.abandoned(probe=probe)
