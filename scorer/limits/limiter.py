"""The limits of one endpoint in one process: reserve before sending, correct on every way out.

Over 300 lines: what a request takes and what is given back when it ends are read together.

The head of the queue checks breaker, cap, storage, concurrency, tokens, requests and pause, in this order; when all
allow it, everything is taken in one synchronous step. With a budget, a request first waits until its ledger entry is
durable, then for the rate limits: two queues. So requests are paced as they leave, however long the disk takes. Few
entries are written ahead, because a kill counts them as possibly billed.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from scorer.errors import Interrupted, TooLong
from scorer.limits.adaptive_concurrency import AdaptiveConcurrency
from scorer.limits.bills import LearnedBilling
from scorer.limits.breaker import Breaker
from scorer.limits.budget import Budget
from scorer.limits.cooldown import LONGEST_S as LONGEST_PAUSE_S
from scorer.limits.cooldown import Cooldown
from scorer.limits.queue import AdmissionQueue
from scorer.limits.rate_limits import (
    ChargeObservation,
    RequestGate,
    RunningQuantile,
    TokenBucket,
    TokenChargeModel,
    TokenEstimateCorrection,
)
from scorer.limits.types import Billing, Demand, Outcome, Permit
from scorer.limits.wait_stats import WaitStats
from scorer.types import RateHint

PATIENCE_S = 3.0
"""A drain waits so long after the last answer for what is held back, and not at all for an outage to end."""
LOOK_S = 0.02
"""The shortest time between two looks of a drain at what is in flight."""
UNSURE_S = 0.05
"""Between two looks whether the folder is still this run's."""
LEAST_AHEAD = 2
"""So many intents may be entered before they can leave; more where the disk is what they wait for."""


@dataclass(frozen=True, slots=True)
class RateLimits:
    """The declared limits of one endpoint; None for none.

    `concurrency` is requests in flight; None finds it out, up to `most`.
    """

    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    input_tokens_per_minute: float | None = None
    output_tokens_per_minute: float | None = None
    burst_s: float = 0.3
    concurrency: int | None = 64
    most: int = 1024

    @property
    def declared(self) -> dict[str, float]:
        """The limits a minute that there are, by the names of gauges, `requests` last."""
        limits = {
            "tokens": self.tokens_per_minute,
            "input_tokens": self.input_tokens_per_minute,
            "output_tokens": self.output_tokens_per_minute,
            "requests": self.requests_per_minute,
        }
        return {name: limit for name, limit in limits.items() if limit}


class LocalLimiter:
    """`Admission` within one process. Make it inside a running event loop."""

    def __init__(self, rates: RateLimits, caps: Budget, bills: LearnedBilling | None = None) -> None:
        self._clock = asyncio.get_running_loop().time
        self._rates = rates
        self._caps = caps
        self._gate = self._request_gate(rates.requests_per_minute) if rates.requests_per_minute else None
        self._buckets = {name: self._bucket(name, rate) for name, rate in rates.declared.items() if name != "requests"}
        self._ratio = TokenEstimateCorrection()
        self._output = RunningQuantile(0.9)
        self._rule = TokenChargeModel()
        self._auto = AdaptiveConcurrency(self._clock, rates.most) if rates.concurrency is None else None
        self.bills = bills or LearnedBilling()
        self.breaker = Breaker(self._clock)
        self.waits = WaitStats(self._clock)
        self.cooldown = Cooldown()
        self.in_flight = 0
        self.draining = False
        self.met = False
        """A request was answered, if only by a row's fault."""
        self.why: str | None = None
        """What the last failure said, while nothing was answered since."""
        self.notes: list[str] = []
        """Sentences for people, each once."""
        self._out: set[Permit] = set()
        self._resting: set[asyncio.Future[None]] = set()
        self._drained_at = 0.0
        self._look: asyncio.TimerHandle | None = None
        self._closed = False
        self._empty: asyncio.Event | None = None
        strict = caps.ledger.strict
        self._ledger_queue: AdmissionQueue[_Entry] = AdmissionQueue(
            self._hold_for_ledger, self._enter, self._waited_for_ledger, self._check_wait
        )
        hold, take = (self._hold_entered, self._go) if strict else (self._hold, self._take)
        self._queue: AdmissionQueue[Permit] = AdmissionQueue(hold, take, self.waits.add, self._check_wait)
        self._ahead = 0  # entered, and not yet on their way
        self._most_ahead = LEAST_AHEAD
        caps.on_settle(self._queue.look)
        if strict:
            caps.on_settle(self._ledger_queue.look)

    def _bucket(self, name: str, per_minute: float) -> TokenBucket:
        return TokenBucket(per_minute, self._rates.burst_s, self._clock)

    def _request_gate(self, per_minute: float) -> RequestGate:
        return RequestGate(per_minute)

    # --- the way in -----------------------------------------------------------------------------------------------

    async def admit(self, need: Demand, leave: Callable[[], bool] | None = None) -> Permit:
        self._check_size(need)
        ledger = self._caps.ledger
        if not ledger.strict:
            return await self._queue.stand(need, leave, self._cancel_permit)
        while True:
            entry = await self._ledger_queue.stand(need, leave, self._cancel_entry)
            try:
                await ledger.written()
                if 2 * len(self._queue) > self._ahead:  # more of them wait for a limit than for the disk
                    self._most_ahead = max(LEAST_AHEAD, self._most_ahead - 1)
                permit = await self._queue.stand(entry.need, leave, self._return_permit)
                break
            except _WorstCaseGrew:
                self._cancel_entry(entry)
            except BaseException:
                self._cancel_entry(entry)
                raise
        permit.entry = entry.number
        self._ahead -= 1
        if self._ahead and not len(self._queue):  # all of them wait for the disk: let more be written at once
            self._most_ahead = min(self.concurrency, self._most_ahead + 1)
        self._ledger_queue.look()
        return permit

    def _enter(self, need: Demand) -> _Entry:
        self._ahead += 1
        need = self.bills.worst(need)
        return _Entry(self._caps.reserve(need), need)

    def _cancel_entry(self, entry: _Entry) -> None:
        """Cancels a ledger entry whose request is not sent: nothing was billed."""
        self._ahead -= 1
        self._caps.settle(entry.number, Outcome(Billing.NOTHING))

    def _cancel_permit(self, permit: Permit) -> None:
        """Settles the permit of a request that is not sent."""
        self.settle(permit, Outcome(Billing.NOTHING))

    def _return_permit(self, permit: Permit) -> None:
        """Returns the permit of a request that is not sent; the caller cancels its ledger entry."""
        permit.settled = True
        self._back(permit)
        self.breaker.abandoned(probe=permit.probe)

    @property
    def up(self) -> bool:
        return self._outage_s() == 0.0 and not (self.cooldown.quotas and self.cooldown.until > self._clock())

    def _outage_s(self) -> float | None:
        """As `Breaker.wait_s`, but that a drain sends no probe."""
        wait = self.breaker.wait_s()
        return None if wait == 0.0 and self.draining and self.breaker.open_since is not None else wait

    @property
    def oldest_s(self) -> float | None:
        """For how long the oldest request in flight has been out; None where none is."""
        return self._clock() - min(permit.admitted_at for permit in self._out) if self._out else None

    @property
    def waiting(self) -> int:
        """Requests in the queues."""
        return len(self._ledger_queue) + max(self._ahead, len(self._queue))

    @property
    def tokens_per_minute(self) -> float | None:
        """What may be taken a minute now, prompt and output together; None where no limit counts them so."""
        bucket = self._buckets.get("tokens")
        return bucket.per_minute if bucket is not None else None

    @property
    def concurrency(self) -> int:
        """Requests that may be in flight now."""
        return self._auto.limit if self._auto is not None else self._rates.concurrency or 1

    @property
    def places(self) -> float:
        """The same, or fewer while a capped run opens."""
        return min(self.concurrency, self.bills.places) if self._caps.capped else self.concurrency

    def drain(self) -> None:
        """From now on what is `first` is turned away, and what waits for an outage; other rows under way are finished.

        Within `PATIENCE_S` of the last answer nothing waits any more, but for a reply that may still come by how long
        others took.
        """
        if self.draining:
            return
        self.draining = True
        self._drained_at = self._clock()
        for line in (self._ledger_queue, self._queue):
            line.turn_away(_not_begun)
        self._let_go()

    def _patient_until(self) -> float:
        return max(self._drained_at, self.breaker.last_success) + PATIENCE_S

    def _check_wait(self, name: str, seconds: float | None) -> None:
        """Raises Interrupted where a drain does not wait so long for that; None is until something settles."""
        if not self.draining:
            return
        long = seconds is not None and seconds < math.inf and self._clock() + seconds > self._patient_until()
        if name == "outage" or long:
            raise Interrupted(f"draining: this row would have to wait ({name})")

    def _let_go(self) -> None:
        """Takes from their wait those in flight whose reply is not coming, and looks who may go on resting."""
        for future in self._resting:
            if not future.done():
                future.set_result(None)
        now, patient = self._clock(), self._patient_until()  # what was sent before an outage may still be answered
        outage, slow_s = self.breaker.open_since is not None, self.bills.slow_s
        next_at = math.inf
        for permit in list(self._out):
            until = patient if outage else max(patient, permit.admitted_at + slow_s)
            if (outage and permit.probe) or now >= until:
                permit.leave()
            else:
                next_at = min(next_at, until)
        if self._look is not None:
            self._look.cancel()
        if next_at < math.inf:
            self._look = asyncio.get_running_loop().call_later(max(LOOK_S, next_at - now), self._let_go)

    def close(self) -> None:
        self._closed = True

    async def emptied(self, most_s: float) -> None:
        if not self.in_flight:
            return
        self._empty = self._empty or asyncio.Event()
        with suppress(TimeoutError):
            async with asyncio.timeout(most_s):
                await self._empty.wait()

    async def rest(self, seconds: float, leave: Callable[[], bool] | None = None) -> None:
        until = self._clock() + seconds
        while (left_s := until - self._clock()) > 0:
            if self.draining:
                away = self.breaker.open_since is not None and not (leave is not None and leave())
                self._check_wait("outage" if away else "retry", left_s)
            woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._resting.add(woken)
            try:
                await asyncio.wait([woken], timeout=left_s)
            finally:
                self._resting.discard(woken)

    def note(self, sentence: str) -> None:
        if sentence not in self.notes:
            self.notes.append(sentence)

    def _check_size(self, need: Demand) -> None:
        for name, bucket in self._buckets.items():
            charge = self._charge(name, need, most_ratio=1.0)
            if charge > bucket.declared:  # what a header or a strange bill says is the moment's, and no row's fault
                raise TooLong(
                    f"this request takes about {charge:.0f} tokens; limits.{name}_per_minute = {bucket.declared:.0f} "
                    "could never admit it"
                )

    def _hold(self, need: Demand) -> tuple[str, float | None] | None:
        """The first limit that says not yet, and seconds until it may say yes (None: when something settles)."""
        if (hold := self._hold_all(need)) is not None:
            return hold
        if not self._caps.fits(self.bills.worst(need)):
            return "budget", None
        return self._hold_pace(need)

    def _hold_for_ledger(self, need: Demand) -> tuple[str, float | None] | None:
        if (hold := self._hold_all(need)) is not None:
            return hold
        if self._ahead >= (self._most_ahead if self.breaker.open_since is None else 1):
            return "ledger", None
        return None if self._caps.fits(self.bills.worst(need)) else ("budget", None)

    def _hold_entered(self, need: Demand) -> tuple[str, float | None] | None:
        if self.bills.worst(need) is not need:
            raise _WorstCaseGrew
        return self._hold_all(need) or self._hold_pace(need)

    def _waited_for_ledger(self, name: str, since: float, until: float) -> None:
        """Counts a wait for the ledger only where no request waits for the limits."""
        if name == "budget" or not len(self._queue):
            self.waits.add(name, since, until)

    def _hold_all(self, need: Demand) -> tuple[str, float | None] | None:
        if self.draining and need.first:
            raise _not_begun()
        if self._closed:
            return "setup", None
        wait = self._outage_s()
        return None if wait == 0.0 else ("outage", wait)

    def _hold_pace(self, need: Demand) -> tuple[str, float | None] | None:
        if not self._caps.owned():  # the last look before a request goes out
            return "lock", UNSURE_S
        if self._caps.full:
            return "storage", None
        if self._caps.ledger.behind:
            return "ledger", None
        if self.in_flight >= self.concurrency:
            if self._auto is not None:
                self._auto.waited()
            return "concurrency", None
        if self._caps.capped and self.in_flight >= self.bills.places:
            return "opening", None
        for name, bucket in self._buckets.items():
            if (wait := bucket.wait_s(self._charge(name, need))) > 0:
                return f"{name}_per_minute", wait
        if self._gate is not None and (wait := self._gate.wait_s()) > 0:
            return "requests_per_minute", wait
        if (wait := self.cooldown.until - self._clock()) > 0:
            return ("quota" if self.cooldown.quotas else "retry_after"), wait
        return None

    def _take(self, need: Demand) -> Permit:
        permit = self._go(self.bills.worst(need))
        permit.entry = self._caps.reserve(permit.need)
        return permit

    def _go(self, need: Demand) -> Permit:
        charges = tuple(self._charge(name, need) for name in self._buckets)
        for bucket, charge in zip(self._buckets.values(), charges, strict=True):
            bucket.take(charge)
        if self._gate is not None:
            self._gate.take()
        self.in_flight += 1
        permit = Permit(
            need=need,
            admitted_at=self._clock(),
            charges=charges,
            marks=tuple(bucket.given for bucket in self._buckets.values()),
            gate_mark=self._gate.given if self._gate is not None else 0.0,
            probe=self.breaker.send(),
        )
        self._out.add(permit)
        return permit

    def _back(self, permit: Permit) -> None:
        """It is in flight no longer."""
        self.in_flight -= 1
        self._out.discard(permit)
        if self._empty is not None and not self.in_flight:
            self._empty.set()

    def _charge(self, name: str, need: Demand, most_ratio: float = math.inf) -> float:
        """What the provider takes from this limit for such a request, as far as is known before it is sent."""
        prompt = need.tokens * min(self._ratio.value, most_ratio)
        output: float = need.output_tokens
        if self._rule.refunds and self._output.value is not None:
            output = min(output, self._output.value)
        return {"tokens": prompt + output, "input_tokens": prompt, "output_tokens": output}[name]

    # --- the way out ----------------------------------------------------------------------------------------------

    def settle(self, permit: Permit, outcome: Outcome) -> None:
        if permit.settled:
            raise AssertionError("a permit was settled twice")
        permit.settled = True
        self._back(permit)
        if outcome.usage is not None:
            self._true_up(permit, outcome)
        if outcome.hint is not None:
            self._observe(permit, outcome)
        if outcome.usage is not None or (outcome.alive and outcome.bill is not Billing.NOTHING):
            self.bills.answered(permit.need, outcome.usage, self._clock() - permit.admitted_at)
        if outcome.alive and outcome.bill is not Billing.NOTHING:  # an answer, not a refusal
            self._expire_lowered(outcome.hint)
        if outcome.throttled:
            self._throttled(permit, outcome)
        elif outcome.alive:
            self.met = True
            self.cooldown.answered(permit.admitted_at)
            if self._auto is not None:
                self._auto.answered(self._clock() - permit.admitted_at)
        elif self._auto is not None and outcome.alive is False:
            self._auto.failed()
        if outcome.alive or outcome.throttled:
            self.breaker.answered(success=bool(outcome.alive), sent_at=permit.admitted_at)
        elif outcome.alive is False:
            self.breaker.failed(probe=permit.probe, sent_at=permit.admitted_at)
        else:
            self.breaker.abandoned(probe=permit.probe)
        if outcome.throttled or outcome.alive is False:
            self.why = outcome.why
        elif outcome.alive and self.breaker.open_since is None:
            self.why = None
        if self.draining and not outcome.alive:
            self._let_go()
        self._caps.settle(permit.entry, outcome)  # which wakes the queues

    def _true_up(self, permit: Permit, outcome: Outcome) -> None:
        """The usage is known: the buckets get the difference, the estimates learn."""
        usage, need = outcome.usage, permit.need
        assert usage is not None
        self._ratio.add(usage.prompt_tokens, need.tokens)
        self._output.add(usage.completion_tokens)
        output = usage.completion_tokens if self._rule.refunds else need.output_tokens
        true = {
            "tokens": usage.prompt_tokens + output,
            "input_tokens": usage.prompt_tokens,
            "output_tokens": output,
        }
        for (name, bucket), charge in zip(self._buckets.items(), permit.charges, strict=True):
            bucket.give(charge - true[name])

    def _observe(self, permit: Permit, outcome: Outcome) -> None:
        """Takes over a lower limit from the headers, and never assumes more left than they say."""
        assert outcome.hint is not None
        elapsed = self._clock() - permit.admitted_at
        gauges = outcome.hint.gauges
        for index, (name, bucket) in enumerate(self._buckets.items()):
            gauge = gauges.get(name)
            if gauge is None:
                continue
            bucket.lower_to(gauge.limit, permit.admitted_at)
            if gauge.remaining is None:
                continue
            bucket.correct(gauge.remaining, elapsed, bucket.given - permit.marks[index])
            if name == "tokens" and outcome.usage is not None:
                usage = outcome.usage
                seen = ChargeObservation(
                    mark=permit.marks[index],
                    taken=permit.charges[index],
                    remaining=gauge.remaining,
                    reserve=usage.prompt_tokens + permit.need.output_tokens,
                    usage=usage.prompt_tokens + usage.completion_tokens,
                    sent_at=permit.admitted_at,
                    limit=gauge.limit,
                )
                self._rule.watch(seen, (gauge.limit or bucket.per_minute) / 60)
        if self._gate is not None and (gauge := gauges.get("requests")) is not None:
            self._gate.lower_to(gauge.limit, permit.admitted_at)
            if gauge.remaining is not None:
                per_second = self._gate.per_minute / 60
                left = gauge.remaining + per_second * elapsed - (self._gate.given - permit.gate_mark)
                if left < 1:
                    pause = min((1 - left) / per_second, LONGEST_PAUSE_S)
                    self.cooldown.pause(self._clock() + pause)

    def _expire_lowered(self, hint: RateHint | None) -> None:
        """The answer's headers do not state some limits: lower values of these may expire."""
        gauges = hint.gauges if hint is not None else {}
        for name, bucket in self._buckets.items():
            if name not in gauges:
                bucket.expire_lowered()
        if self._gate is not None and "requests" not in gauges:
            self._gate.expire_lowered()

    def _throttled(self, permit: Permit, outcome: Outcome) -> None:
        """One 429 pauses all requests, once: a 429 to a request sent before the last pause is no news."""
        cut = self.cooldown.throttled(permit.admitted_at, self._clock(), outcome.retry_after_s, quota=outcome.quota)
        if cut and self._auto is not None:
            self._auto.throttled()


@dataclass(frozen=True, slots=True)
class _Entry:
    """A ledger entry of a request that is not sent yet: its number, and the demand that it reserves."""

    number: int
    need: Demand


class _WorstCaseGrew(Exception):
    """The ledger entry is below the worst case as known now: a higher one must be written."""


def _not_begun() -> Interrupted:
    return Interrupted("draining: this row was not begun")
