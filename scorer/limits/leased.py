"""The limits of one endpoint in one of several workers: the broker leases rates, the clock does not refill them.

Knows nothing of the broker that leases, nor of the wire to it: it tells what it has left and what it wishes, is given
amounts, and calls `ask` when the head of its queue finds too little. All else is LocalLimiter's.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain, islice

from scorer.errors import BudgetSpent
from scorer.limits.bills import OPENING, LearnedBilling
from scorer.limits.budget import Budget, Room, SpendLedger
from scorer.limits.limiter import LocalLimiter, RateLimits
from scorer.limits.rate_limits import RequestGate, TokenBucket
from scorer.limits.types import Demand, Outcome, Permit
from scorer.types import Gauge

EXPECTED = 1.5
"""Of what went through since the last lease, so much is wished for the next one."""


@dataclass(frozen=True, slots=True)
class LimitObservation:
    """What one reply says of the limits: its gauges, and whether it was a 429. `sent_at` is on the loop's clock."""

    sent_at: float
    gauges: dict[str, Gauge]
    throttled: bool = False
    retry_after_s: float | None = None
    quota: bool = False


class _Slice:
    """The rest of a lease of one rate. After `until` it may not be used, only handed back."""

    def __init__(self, clock: Callable[[], float], ask: Callable[[], None]) -> None:
        self._clock = clock
        self._ask = ask
        self.level = 0.0
        self.until = float("-inf")
        self.used = 0.0
        self.returned = 0.0

    def wait_s(self, amount: float) -> float:
        if self.level >= amount - 1e-6 and self._clock() < self.until:
            return 0.0
        self._ask()
        return math.inf

    def take(self, amount: float) -> None:
        self.level -= amount
        self.used += amount

    def give(self, amount: float) -> None:
        """What was taken too much goes back to the broker, whose bucket bounds it; what was too little is missing."""
        if amount > 0:
            self.returned += amount
        else:
            self.level += amount
        self.used -= amount

    def hand_back(self) -> float:
        unused, self.level, self.returned = self.level + self.returned, 0.0, 0.0
        return unused


class _LeasedBucket(TokenBucket):
    def __init__(self, per_minute: float, clock: Callable[[], float], slice_: _Slice) -> None:
        super().__init__(per_minute, 1.0, clock)
        self._slice = slice_

    def wait_s(self, amount: float) -> float:
        return self._slice.wait_s(amount)

    def take(self, amount: float) -> None:
        self._slice.take(amount)
        self.given += amount

    def give(self, amount: float) -> None:
        self._slice.give(amount)

    def correct(self, remaining: float, elapsed_s: float, since: float) -> None:
        """Nothing: the observation goes to the broker, which knows what all workers took since."""


class _LeasedGate(RequestGate):
    def __init__(self, per_minute: float, slice_: _Slice) -> None:
        super().__init__(per_minute)
        self._slice = slice_

    def wait_s(self) -> float:
        return self._slice.wait_s(1.0)

    def take(self) -> None:
        self._slice.take(1.0)
        self.given += 1


class LeasedLimiter(LocalLimiter):
    """`Admission` for a worker. Calls `ask` where the head of its queue lacks a lease, and on an unexpected bill.

    `opening` is how many of its requests open a capped run.
    """

    def __init__(self, rates: RateLimits, caps: Budget, ask: Callable[[], None], opening: int = OPENING) -> None:
        clock = asyncio.get_running_loop().time
        self._slices = {name: _Slice(clock, ask) for name in rates.declared}
        super().__init__(rates, caps, LearnedBilling(opening, on_surprise=ask))
        self._admitted = 0
        self._lately: deque[tuple[float, int, dict[str, float]]] = deque()  # the leases of the last 100 ms
        self._ask = ask
        self.observations: list[LimitObservation] = []
        """Observations since `hand_back`; of gauges, the latest alone."""
        self.answered = False

    def _bucket(self, name: str, per_minute: float) -> TokenBucket:
        return _LeasedBucket(per_minute, self._clock, self._slices[name])

    def _request_gate(self, per_minute: float) -> RequestGate:
        return _LeasedGate(per_minute, self._slices["requests"])

    def settle(self, permit: Permit, outcome: Outcome) -> None:
        if outcome.throttled:
            self.observations.append(
                LimitObservation(permit.admitted_at, {}, True, outcome.retry_after_s, outcome.quota)
            )
        if outcome.hint is not None and outcome.hint.gauges:
            self.observations = [seen for seen in self.observations if seen.throttled]
            self.observations.append(LimitObservation(permit.admitted_at, dict(outcome.hint.gauges)))
        self.answered = self.answered or bool(outcome.alive)
        self._admitted += 1
        super().settle(permit, outcome)
        if outcome.throttled:
            self._ask()

    def least(self) -> dict[str, float]:
        """What the head of the queue needs; empty where none waits or no request more may be in flight."""
        need = next(self._queue.needs(), None)
        if need is None or self.in_flight >= self.places:
            return {}
        return {name: self._amount(name, need) for name in self._slices}

    def wish(self, lease_s: float) -> dict[str, float]:
        """What could be used within `lease_s`: by those who wait and may get a place, or by as many as came lately."""
        now = self._clock()
        while self._lately and self._lately[0][0] < now - lease_s:
            self._lately.popleft()
        admitted = self._admitted + sum(count for _, count, _ in self._lately)
        places = max(0, self.places - self.in_flight) + admitted
        needs = list(islice(chain(self._queue.needs(), self._ledger_queue.needs()), int(places)))
        wished = {}
        for name, slice_ in self._slices.items():
            used = slice_.used + sum(amounts[name] for _, _, amounts in self._lately)
            wished[name] = max(sum(self._amount(name, need) for need in needs), EXPECTED * used)
        return wished if any(amount > 0 for amount in wished.values()) else {}

    def hand_back(self) -> dict[str, float]:
        """All that is left of the lease, which ends; below zero where more was taken than was known before."""
        unused = {name: slice_.hand_back() for name, slice_ in self._slices.items()}
        self._lately.append((self._clock(), self._admitted, {name: s.used for name, s in self._slices.items()}))
        for slice_ in self._slices.values():
            slice_.used = 0.0
        self.observations, self.answered, self._admitted = [], False, 0
        return unused

    def lease(self, amounts: dict[str, float], until: float) -> None:
        """Amounts that may be used until then, on the loop's clock; what is missing from before is taken off."""
        for name, amount in amounts.items():
            self._slices[name].level += amount
            self._slices[name].until = until
        if amounts:
            self._queue.look()

    def look(self) -> None:
        """Makes the queues check their heads now: a head that lacks budget says so."""
        self._ledger_queue.look()
        self._queue.look()

    def pause(self, seconds: float) -> None:
        """Nobody is let through for so long: another worker met a 429."""
        self.cooldown.pause(self._clock() + seconds)

    def _amount(self, name: str, need: Demand) -> float:
        return 1.0 if name == "requests" else self._charge(name, need)


class LeasedBudget(Budget):
    """The budget of one worker: it may commit what the broker allowed, and asks for more before it refuses.

    `refused` is the broker's word that nothing is in flight anywhere and the next request does not fit.
    """

    def __init__(
        self,
        ledger: SpendLedger,
        *,
        tokens_capped: bool,
        money_capped: bool,
        ask: Callable[[], None],
        room: Room | None = None,
        owned: Callable[[], bool] = lambda: True,
    ) -> None:
        max_tokens, max_usd = 0 if tokens_capped else None, 0.0 if money_capped else None
        super().__init__(ledger, max_tokens=max_tokens, max_usd=max_usd, room=room, owned=owned)
        self._ask = ask
        self.lacking: Demand | None = None
        """The request that did not fit, of those that looked since it was last None."""
        self.refused: str | None = None

    def fits(self, need: Demand) -> bool:
        if self.refused is not None:
            raise BudgetSpent(self.refused)
        if not any(self.over(need)):
            return True
        if self.lacking is None:
            self.lacking = need
            self._ask()
        return False

    def keep(self, *, recalled: bool) -> tuple[int, int]:
        """The allowance from now on, tokens and pico-dollars: where it is recalled, what is committed and no more."""
        tokens, pico = self.committed
        if self.max_tokens is not None:
            self.max_tokens = tokens if recalled else max(self.max_tokens, tokens)
        if self.max_pico is not None:
            self.max_pico = pico if recalled else max(self.max_pico, pico)
        return self.max_tokens or 0, self.max_pico or 0

    def allow(self, tokens: int, pico: int, refused: str | None) -> None:
        """More may be committed; or nothing ever again."""
        if self.max_tokens is not None:
            self.max_tokens += tokens
        if self.max_pico is not None:
            self.max_pico += pico
        self.refused = refused
        if tokens or pico or refused is not None:
            self.lacking = None
            self._wake()
