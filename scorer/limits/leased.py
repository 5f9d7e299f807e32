"""One endpoint in one of several workers: a limiter whose rates the broker leases.

Knows neither the broker nor the connection to it. It says what it used, lacks and could use, and is given amounts.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from itertools import islice

from scorer.frozen import dataclass
from scorer.limits.bills import OPENING, LearnedBilling
from scorer.limits.budget import Budget
from scorer.limits.endpoint_rates import EndpointRates
from scorer.limits.leased_rate import LeasedRate
from scorer.limits.limiter import LocalLimiter
from scorer.limits.rate_limits import RateLimits
from scorer.limits.types import Outcome, Permit
from scorer.types import Gauge

EXPECTED = 1.5
"""The next lease is wished to be so many times what was used since the last one."""


@dataclass(frozen=True, slots=True)
class LimitObservation:
    """What one reply says about the limits: its gauges, and whether it was a 429. `sent_at` is on the loop's clock."""

    sent_at: float
    gauges: dict[str, Gauge]
    throttled: bool = False
    retry_after_s: float | None = None
    quota: bool = False


class LeasedEndpoint:
    """The `limiter` of one endpoint in a worker, and what the broker needs to know of it.

    `ask` is called where the head of the limiter's queue lacks a lease, and on a bill beyond the reservation or a 429.
    `opening` is how many requests of this worker open a capped run. The broker knows it by `place` and `address`.
    """

    def __init__(
        self,
        limits: RateLimits,
        caps: Budget,
        ask: Callable[[], None],
        opening: int = OPENING,
        place: int = 0,
        address: str = "",
    ) -> None:
        self.place, self.address = place, address
        self.not_before = float("-inf")
        """When the broker may be asked again."""
        self._clock = clock = asyncio.get_running_loop().time
        self._rates = {name: LeasedRate(per_minute, clock, ask) for name, per_minute in limits.declared.items()}
        tokens = {name: rate for name, rate in self._rates.items() if name != "requests"}
        self._taken = EndpointRates(tokens, self._rates.get("requests"), clock) if self._rates else None
        self._capped = caps.capped
        self._ask = ask
        self._settled = 0
        self._lately: deque[tuple[float, int, dict[str, float]]] = deque()  # (when, settled, used) of recent leases
        self.observations: list[LimitObservation] = []
        """Observations since `hand_back`: every 429, and the latest gauges."""
        self.answered = False
        """A request was answered since `hand_back`."""
        bills = LearnedBilling(opening, on_surprise=ask)
        self.limiter = LocalLimiter(limits, caps, bills, self._taken, self._on_settle)

    def _on_settle(self, permit: Permit, outcome: Outcome) -> None:
        self._settled += 1
        if outcome.throttled:
            self.observations.append(
                LimitObservation(permit.admitted_at, {}, True, outcome.retry_after_s, outcome.quota)
            )
            self._ask()
        if outcome.hint is not None and outcome.hint.gauges:
            self.observations = [seen for seen in self.observations if seen.throttled]
            self.observations.append(LimitObservation(permit.admitted_at, dict(outcome.hint.gauges)))
        self.answered = self.answered or bool(outcome.alive)

    @property
    def _places(self) -> float:
        """Requests that may be in flight now; fewer while a capped run opens."""
        limiter = self.limiter
        return min(limiter.concurrency, limiter.bills.places) if self._capped else limiter.concurrency

    def latencies(self, most: int) -> list[float]:
        """Seconds of the latest replies: at most `most`, and as many as requests were settled since `hand_back`."""
        count = min(most, self._settled)
        return [round(seconds, 3) for seconds in list(self.limiter.bills.latencies)[-count:]] if count else []

    def least(self) -> dict[str, float]:
        """What the head of the queue needs. Empty where none waits or no further request may be in flight."""
        head = self.limiter.head()
        if self._taken is None or head is None or self.limiter.in_flight >= self._places:
            return {}
        return self._taken.amounts(head)

    def wish(self, lease_s: float) -> dict[str, float]:
        """What could be used within `lease_s`: by those that wait and may get a place, or by as many as came lately."""
        if self._taken is None:
            return {}
        now = self._clock()
        while self._lately and self._lately[0][0] < now - lease_s:
            self._lately.popleft()
        settled = self._settled + sum(count for _, count, _ in self._lately)
        places = max(0, self._places - self.limiter.in_flight) + settled
        waiting = [self._taken.amounts(demand) for demand in islice(self.limiter.queued(), int(places))]
        wished = {}
        for name, rate in self._rates.items():
            used = rate.used + sum(amounts[name] for _, _, amounts in self._lately)
            wished[name] = max(sum(amounts[name] for amounts in waiting), EXPECTED * used)
        return wished if any(amount > 0 for amount in wished.values()) else {}

    def hand_back(self) -> dict[str, float]:
        """Ends the lease and returns what is left of it. Negative where a bill was more than was taken before."""
        self._lately.append((self._clock(), self._settled, {name: rate.used for name, rate in self._rates.items()}))
        unused = {name: rate.hand_back() for name, rate in self._rates.items()}
        self.observations, self.answered, self._settled = [], False, 0
        return unused

    def lease(self, amounts: dict[str, float], until: float) -> None:
        """Takes amounts that may be used until then, on the loop's clock."""
        for name, amount in amounts.items():
            self._rates[name].lease(amount, until)
        if amounts:
            self.limiter.look_at_rates()

    def pause(self, seconds: float) -> None:
        """Lets no request through for so long: another worker met a 429."""
        self.limiter.cooldown.pause(self._clock() + seconds)
