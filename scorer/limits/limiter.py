"""The limiter of one endpoint in one process: reserve before sending, correct on every way out.

The head of the queue checks breaker, cap, storage, concurrency, tokens, requests and pause, in this order. When all
allow it, everything is taken in one synchronous step. With a budget, a request first waits until its ledger entry is
durable, then for the rate limits: two queues. So requests are paced as they leave, however long the disk takes. Few
entries are written ahead, because a kill counts them as possibly billed.

Over 300 lines: every way in and out of a permit shares its state.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from itertools import chain
from typing import Any

from scorer.errors import OutputError
from scorer.limits.bills import LearnedBilling
from scorer.limits.budget import Budget
from scorer.limits.drain import Drain, not_begun
from scorer.limits.endpoint_rates import EndpointRates, local_rates
from scorer.limits.health import EndpointHealth
from scorer.limits.queue import CONCURRENCY, LEDGER, AdmissionQueue
from scorer.limits.rate_limits import RateLimits
from scorer.limits.types import Billing, Demand, EndpointDown, Outcome, Permit
from scorer.limits.wait_stats import WaitStats
from scorer.limits.write_ahead import AskAgain, Entry, WriteAhead

UNSURE_S = 0.05
"""Between two looks whether the folder is still this run's."""
UNSENT = Outcome(Billing.NOTHING)


class LocalLimiter:
    """`Admission` for the requests of this process. Make it inside a running event loop.

    `rates` are the limits a minute where this process does not have them for itself alone. `on_settle` is called with
    each settled permit.
    """

    def __init__(
        self,
        limits: RateLimits,
        caps: Budget,
        bills: LearnedBilling | None = None,
        rates: EndpointRates | None = None,
        on_settle: Callable[[Permit, Outcome], None] | None = None,
    ) -> None:
        self._clock = asyncio.get_running_loop().time
        self._caps = caps
        self._rates = rates or local_rates(limits, self._clock)
        self._fixed = limits.concurrency or 1
        self.most = limits.most
        """The most requests in flight by the run file."""
        self._on_settle = on_settle
        self.bills = bills or LearnedBilling()
        self.health = EndpointHealth(self._clock, limits)
        self.breaker = self.health.breaker
        self.cooldown = self.health.cooldown
        self.waits = WaitStats(self._clock)
        self._adaptive = self.health.adaptive
        self.notes: list[str] = []
        """Sentences for people, each once."""
        self._out: set[Permit] = set()
        self._drain = Drain(self._clock, self.breaker, self.bills, self._out)
        self._closed = False
        self.retired = False
        """Its endpoint left the fleet."""
        self.paused = False
        self._empty: asyncio.Event | None = None
        strict = self._strict = caps.ledger.strict
        self._ledger_queue: AdmissionQueue[Entry] = AdmissionQueue(
            self._hold_for_ledger, self._enter, self._waited_for_ledger, self._drain.check
        )
        pace = None if self._rates is None else self._rates.wait
        hold, take = (self._hold_entered, self._send) if strict else (self._hold, self._take)
        self._queue: AdmissionQueue[Permit] = AdmissionQueue(
            hold, take, self.waits.add, self._drain.check, self._places, pace
        )
        self._same_for_all = not caps.capped and not strict
        self._ahead = WriteAhead()
        caps.on_settle(self._queue.wake)
        if strict:
            caps.on_settle(self._ledger_queue.wake)

    # --- the way in -----------------------------------------------------------------------------------------------

    def admit(self, demand: Demand, leave: Callable[[], bool] | None = None) -> Coroutine[Any, Any, Permit]:
        if self._rates is not None:
            self._rates.check_size(demand)
        demand = demand.as_now() if self.paused else demand
        return self._entered(demand, leave) if self._strict else self._queue.stand(demand, leave, self._cancel)

    async def _entered(self, demand: Demand, leave: Callable[[], bool] | None) -> Permit:
        """The permit of a request whose ledger entry is durable; with another entry where the first does not hold."""
        while True:
            try:
                entry = await self._ledger_queue.stand(demand, leave, self._cancel_entry)
                try:
                    await self._caps.ledger.written()
                    self._ahead.written(len(self._queue))
                    permit = await self._queue.stand(entry.demand, leave, self._return_permit)
                except BaseException:
                    self._cancel_entry(entry)
                    raise
            except AskAgain:
                demand = demand.as_now() if self.paused else demand
                continue
            permit.entry = entry.number
            self._ahead.sent(len(self._queue), self.concurrency)
            self._ledger_queue.look()
            return permit

    def _enter(self, demand: Demand) -> Entry:
        self._ahead.entries += 1
        demand = self.bills.worst(demand)
        return Entry(self._caps.ledger.reserve(demand.worst_tokens, demand.worst_pico), demand)

    def _cancel_entry(self, entry: Entry) -> None:
        """Cancels a ledger entry whose request is not sent: nothing was billed."""
        self._ahead.entries -= 1
        self._caps.settle(entry.number, UNSENT)

    def _cancel(self, permit: Permit) -> None:
        """Settles the permit of a request that is not sent: nothing was billed."""
        self.settle(permit, UNSENT)

    def _return_permit(self, permit: Permit) -> None:
        """Returns the permit of a request that is not sent; the caller cancels its ledger entry."""
        self._back(permit)
        self.breaker.abandoned(probe=permit.probe)

    def _hold(self, demand: Demand) -> tuple[str, float | None] | None:
        """The first limit that says not yet, and seconds until it may say yes (None: when something settles)."""
        if (hold := self._hold_all(demand)) is not None:
            return hold
        if self._caps.capped and not self._caps.fits(self.bills.worst(demand)):
            return "budget", None
        return self._hold_pace(demand)

    def _hold_for_ledger(self, demand: Demand) -> tuple[str, float | None] | None:
        if (hold := self._hold_all(demand)) is not None:
            return hold
        if self._ahead.full(outage=self.breaker.open_since is not None):
            return LEDGER, None
        return None if self._caps.fits(self.bills.worst(demand)) else ("budget", None)

    def _hold_entered(self, demand: Demand) -> tuple[str, float | None] | None:
        later = self.paused or (self.breaker.open_since is not None and self._ledger_queue.begun > 0)
        if (demand.first and later) or self.bills.worst(demand) is not demand:
            raise AskAgain
        return self._hold_all(demand) or self._hold_pace(demand)

    def _waited_for_ledger(self, name: str, since: float, until: float) -> None:
        """Counts a wait for the ledger only where no request waits for the limits."""
        if name == "budget" or not len(self._queue):
            self.waits.add(name, since, until)

    def _hold_all(self, demand: Demand) -> tuple[str, float | None] | None:
        if demand.first and self._drain.asked:
            raise not_begun()
        if self.retired:
            raise EndpointDown
        if self._closed:
            return "setup", None
        if demand.first and self.paused:
            return "paused", None
        if self.breaker.open_since is None:
            return None
        wait = self.health.outage_s(draining=self._drain.asked)
        return None if wait == 0.0 else ("outage", wait)

    def _hold_pace(self, demand: Demand) -> tuple[str, float | None] | None:
        caps = self._caps
        if not caps.owned():  # the last look before a request goes out
            return "lock", UNSURE_S
        if caps.full:
            return "storage", None
        if caps.ledger.room <= 0:
            return LEDGER, None
        if len(self._out) >= (self._fixed if self._adaptive is None else self._adaptive.limit):
            if self._adaptive is not None:
                self._adaptive.waited()
            return CONCURRENCY, None
        if caps.capped and len(self._out) >= self.bills.places:
            return "opening", None
        if self._rates is not None and (wait := self._rates.wait(demand)) is not None:
            return wait
        if (wait_s := self.cooldown.until - self._clock()) > 0:
            return ("quota" if self.cooldown.quotas else "retry_after"), wait_s
        return None

    def _places(self) -> tuple[int, str] | None:
        """As `queue.Places`, where beside the rates only a fixed concurrency and the ledger's writes can hold one."""
        caps = self._caps
        if not self._same_for_all or self._adaptive is not None or self.breaker.open_since is not None:
            return None
        if self.paused or self._closed or self.retired or self._drain.asked or self.cooldown.until > self._clock():
            return None
        try:
            if caps.full or not caps.owned():
                return None
        except OutputError:  # the lock is lost: the check of each request that waits raises it there
            return None
        unwritten, free = caps.ledger.room, self._fixed - len(self._out)
        return (free, CONCURRENCY) if free < unwritten else (unwritten, LEDGER)

    def _take(self, demand: Demand) -> Permit:
        demand = self.bills.worst(demand) if self.bills.raised else demand
        permit = self._send(demand)
        permit.entry = self._caps.ledger.reserve(demand.worst_tokens, demand.worst_pico)
        return permit

    def _send(self, demand: Demand) -> Permit:
        charge = None if self._rates is None else self._rates.take(demand)
        probe = self.breaker.open_since is not None and self.breaker.send()
        permit = Permit(demand, self._clock(), probe, charge)
        if demand.row is not None:
            demand.row.sent = True
        self._out.add(permit)
        return permit

    def _back(self, permit: Permit) -> None:
        """The request is no longer in flight."""
        assert permit in self._out, "a permit was settled twice"
        self._out.remove(permit)
        if self._empty is not None and not self._out:
            self._empty.set()

    # --- the way out ----------------------------------------------------------------------------------------------

    def settle(self, permit: Permit, outcome: Outcome) -> None:
        self._back(permit)
        if self._rates is not None:
            self._rates.settle(permit, outcome, self.cooldown)
        if outcome.usage is not None or (outcome.alive and outcome.bill is not Billing.NOTHING):
            self.bills.answered(permit.demand, outcome.usage, self._clock() - permit.admitted_at)
        self.health.settle(permit.admitted_at, outcome, probe=permit.probe)
        if self._drain.asked and not outcome.alive:
            self._drain.release()
        if self._on_settle is not None:
            self._on_settle(permit, outcome)
        self._caps.settle(permit.entry, outcome)  # which wakes the queues

    # --- ending, and resting --------------------------------------------------------------------------------------

    def drain(self) -> None:
        """Begins no further row: what is `first` is turned away, and what waits for an outage (drain.py)."""
        if self._drain.asked:
            return
        self._drain.ask()
        self._ledger_queue.turn_away(not_begun)
        self._queue.turn_away(not_begun)
        self._drain.release()

    def close(self) -> None:
        self._closed = True

    def retire(self) -> None:
        self.retired = True
        self.look()

    @property
    def gone(self) -> bool:
        """Its endpoint left the fleet, and nothing of it is in flight any more."""
        return self.retired and not (self.in_flight or self.waiting)

    def pause(self, *, paused: bool) -> None:
        """Paused, it begins no further row: what is `first` waits with nothing reserved, and the rest goes on."""
        if paused == self.paused:
            return
        self.paused = paused
        if paused and self._strict:
            self._ledger_queue.turn_away(AskAgain)
            self._queue.turn_away(AskAgain)
        elif paused:
            self._queue.regroup()
        elif self._adaptive is not None:
            self._adaptive.resumed()
        self.look()

    def set_concurrency(self, places: int) -> bool:
        """Keeps at most `places` requests in flight from now on, and ends an adaptation. True where that is new."""
        if self._adaptive is None and self._fixed == places:
            return False
        self._fixed, self._adaptive = places, None
        self.look()
        return True

    async def emptied(self, most_s: float) -> None:
        if not self._out:
            return
        self._empty = self._empty or asyncio.Event()
        with suppress(TimeoutError):
            async with asyncio.timeout(most_s):
                await self._empty.wait()

    async def rest(self, seconds: float, leave: Callable[[], bool] | None = None) -> None:
        await self._drain.rest(seconds, leave)

    def note(self, sentence: str) -> None:
        if sentence not in self.notes:
            self.notes.append(sentence)

    # --- how it stands --------------------------------------------------------------------------------------------

    @property
    def in_flight(self) -> int:
        """Requests that were sent and are not settled."""
        return len(self._out)

    @property
    def up(self) -> bool:
        return self.health.outage_s(draining=self._drain.asked) == 0.0 and not self.health.quota_spent

    @property
    def oldest_s(self) -> float | None:
        """Seconds since the oldest request in flight was sent; None where none is in flight."""
        return self._clock() - min(permit.admitted_at for permit in self._out) if self._out else None

    @property
    def waiting(self) -> int:
        """Requests in the queues."""
        return len(self._ledger_queue) + max(self._ahead.entries, len(self._queue))

    def head(self) -> Demand | None:
        """The demand that waits for the rate limits before all others. None where none waits."""
        return next(self._queue.demands(), None)

    def queued(self) -> Iterator[Demand]:
        """The demands that wait: those that wait for the rate limits, the head first, then those for the ledger."""
        return chain(self._queue.demands(), self._ledger_queue.demands())

    def look(self) -> None:
        """Checks the heads of both queues now: one that lacks budget asks for it."""
        self._ledger_queue.look()
        self._queue.look()

    def look_at_rates(self) -> None:
        """Checks the head that waits for the rate limits now: more may be taken."""
        self._queue.look()

    @property
    def tokens_per_minute(self) -> float | None:
        """Prompt and output tokens together that may be taken a minute now. None where there is no such limit."""
        return None if self._rates is None else self._rates.tokens_per_minute

    @property
    def concurrency(self) -> int:
        """Requests that may be in flight now."""
        return self._fixed if self._adaptive is None else self._adaptive.limit
