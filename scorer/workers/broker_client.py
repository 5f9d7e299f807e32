"""The worker's side of the broker protocol: sends reports and applies answers. Knows no transport.

It reports every `BEAT_S`, and at once where rows, rates or budget are lacking, or a 429 came.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

import numpy as np

from scorer.canaries.mixing import CanaryRows
from scorer.frozen import values
from scorer.limits import Budget, LocalLimiter, RateLimits
from scorer.limits.bills import OPENING
from scorer.limits.leased import LeasedEndpoint
from scorer.limits.leased_budget import LeasedBudget
from scorer.limits.limiter import UNSURE_S
from scorer.output.canary_files import CanaryAnswer
from scorer.output.layout import Segment
from scorer.output.ledger import Ledger
from scorer.output.row_counts import Counts
from scorer.processes.periodic_service import PeriodicService
from scorer.types import Result, Shard
from scorer.workers.messages import (
    MOST_LATENCIES,
    Answer,
    AnsweredCanary,
    Failure,
    GaugeObservation,
    Order,
    Pace,
    Published,
    Report,
    Slice,
    Spendings,
    Throttle,
    published,
)

BEAT_S = 0.1
AHEAD = 2
"""Portions of rows that are leased in advance, so that reading does not wait for an answer."""
FRESH_S = 4.0
"""So long after an answer no other process can have the folder: on object storage, 6 s after a lease ended. A worker
that is silent for longer begins nothing, so that others may use its part of the requests in flight within 5 s."""
WISHED = 8
"""A worker asks for the budget of at least so many requests like the next one."""

Exchange = Callable[[Report], Awaitable[Answer]]
"""The transport: carries a report to `Broker.exchange` and returns its answer."""


class BrokerClient(PeriodicService):
    """Exchanges reports and answers with the broker while `serve` runs.

    `on_order` is called once with each order other than SCORE. `lived_s` is a clock that goes on while the machine is
    suspended, by default the loop's. Each of `workers` workers opens a capped run with its part of `OPENING` requests,
    at least one. `on_places` is called after the requests that it may have in flight changed.
    """

    rests_first = False

    def __init__(
        self,
        exchange: Exchange,
        *,
        lease_s: float,
        on_order: Callable[[Order], None],
        lived_s: Callable[[], float] | None = None,
        workers: int = 1,
        on_places: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(BEAT_S)
        self.endpoints: list[LeasedEndpoint] = []
        self.allowance: LeasedBudget | None = None
        self.ledger: Ledger | None = None
        self.canaries: CanaryRows | None = None
        self.order = Order.SCORE
        self._exchange = exchange
        self._lease_s = lease_s
        self._on_order = on_order
        self._on_places = on_places
        self._opening = max(1, OPENING // workers)
        self._clock = asyncio.get_running_loop().time
        self._lived_s = lived_s or self._clock
        self._heard_at = self._lived_s()
        self._talking = asyncio.Lock()
        self._published: list[Published] = []
        self._said: deque[str] = deque()
        self._unread: deque[tuple[str, str]] = deque()
        self._canaries: list[tuple[CanaryAnswer, float]] = []
        self._portions: deque[list[Slice]] = deque()
        self._answered = asyncio.Event()
        self._dry = False
        self._done = False
        self._wants = False
        self._recalled = False

    # --- what the parts of a worker call ------------------------------------------------------------------------------

    def fresh(self) -> bool:
        """True where the coordinator answered within `FRESH_S`: it answers only while it holds the lock."""
        return self._lived_s() - self._heard_at < FRESH_S

    async def sure(self) -> None:
        """Waits until `fresh`."""
        while not self.fresh():  # noqa: ASYNC110 - the answer that ends it comes once in an outage, if ever
            await asyncio.sleep(UNSURE_S)

    def leased(self, rates: RateLimits, caps: Budget, place: int, address: str = "") -> LocalLimiter:
        """Makes the limiter of an endpoint. It does not ask again before the time that the broker named.

        A replica's lets nothing out before the first answer: other workers may use all of it until then.
        """

        def ask() -> None:
            if self._clock() >= endpoint.not_before:
                self.wake()

        endpoint = LeasedEndpoint(rates, caps, ask, self._opening, place, address)
        if address and rates.concurrency is not None:
            endpoint.limiter.set_concurrency(0)
        self.endpoints.append(endpoint)
        return endpoint.limiter

    def say(self, text: str) -> None:
        """Reports a sentence for the user; from any thread."""
        self._said.append(text)

    def publish(self, shard: Shard, segment: Segment, results: Sequence[Result]) -> None:
        """Reports a segment that is on disk."""
        rows = np.array([result.row.number for result in results], dtype=np.int64)
        scores = np.array([math.nan if result.score is None else result.score.value for result in results])
        counts = Counts()
        for result in results:
            counts.note(result)
        self._published.append(published(shard.path, segment, rows, counts, scores))

    def answered_canary(self, answer: CanaryAnswer, ago_s: float) -> None:
        """Reports the answer to a canary that was drawn `ago_s` ago."""
        self._canaries.append((answer, self._clock() - ago_s))

    def unread(self, shard: Shard, why: str) -> None:
        """Reports that a shard cannot be read further; from any thread."""
        self._unread.append((shard.path, why))

    async def next_portion(self, *, wait: bool) -> list[Slice]:
        """The next rows to score; [] where there are none now. With `wait`, [] only where none will come."""
        self._wants = True
        self.wake()
        while not self._portions and self.order is Order.SCORE:
            self._answered.clear()
            await self._answered.wait()
            if not self._portions and (self._done or (self._dry and not wait)):
                return []
        return self._portions.popleft() if self.order is Order.SCORE else []

    # --- reports and answers ------------------------------------------------------------------------------------------

    async def work(self) -> None:
        """One exchange."""
        await self.talk()

    async def talk(self, *, ended: bool = False, failure: Failure | None = None) -> None:
        """One exchange. It sets the seconds until the next, where nothing wakes it before."""
        async with self._talking:
            sent_at, lived_s = self._clock(), self._lived_s()
            reported = [*self.endpoints]
            self.endpoints = [endpoint for endpoint in reported if not endpoint.limiter.gone]  # reported once more
            report = self._report(reported, ended=ended, failure=failure)
            self._woken.clear()
            answer = await self._exchange(report)
            self._heard_at = lived_s
            self.period_s = self._take_in(answer, reported, sent_at, asked=bool(report.wants))

    def _report(self, endpoints: Sequence[LeasedEndpoint], *, ended: bool, failure: Failure | None) -> Report:
        published, self._published = self._published, []
        canaries, self._canaries = self._canaries, []
        now = self._clock()
        wants = AHEAD - len(self._portions) if self._wants and not ended else 0
        return Report(
            spendings=self._spendings(ended=ended),
            paces=[self._pace(endpoint) for endpoint in endpoints],
            published=published,
            wants=max(0, wants),
            ended=ended,
            failure=failure,
            said=[self._said.popleft() for _ in range(len(self._said))],
            unread=dict(self._unread.popleft() for _ in range(len(self._unread))),
            canaries=[AnsweredCanary(answer, now - drawn_at) for answer, drawn_at in canaries],
            oldest_canary_s=None if self.canaries is None else self.canaries.oldest_s,
        )

    def _spendings(self, *, ended: bool) -> Spendings:
        if self.ledger is None or self.allowance is None:
            return Spendings({})
        ledger, allowance = self.ledger, self.allowance
        if allowance.lacking is not None:  # that request may be gone, or fit by now
            allowance.lacking = None
            for endpoint in self.endpoints:
                endpoint.limiter.look()
        lacking = allowance.lacking if not ended else None
        tokens, pico = allowance.keep(recalled=self._recalled or ended)
        many = WISHED + sum(endpoint.limiter.in_flight for endpoint in self.endpoints) // 4
        return Spendings(
            totals=values(ledger.totals),
            open_tokens=ledger.open_tokens,
            open_pico=ledger.open_pico,
            keep_tokens=tokens,
            keep_pico=pico,
            lacks_budget=lacking is not None,
            next_tokens=lacking.worst_tokens if lacking is not None else 0,
            next_pico=lacking.worst_pico if lacking is not None else 0,
            wish_tokens=lacking.worst_tokens * many if lacking is not None else 0,
            wish_pico=lacking.worst_pico * many if lacking is not None else 0,
        )

    def _pace(self, endpoint: LeasedEndpoint) -> Pace:
        now, limiter = self._clock(), endpoint.limiter
        observations, throttles = [], []
        for seen in endpoint.observations:
            ago_s = now - seen.sent_at
            if seen.throttled:
                throttles.append(Throttle(ago_s, seen.retry_after_s, seen.quota))
            observations += [GaugeObservation(name, g.limit, g.remaining, ago_s) for name, g in seen.gauges.items()]
        down = limiter.breaker.open_since
        hidden, output = limiter.bills.learned
        latencies = endpoint.latencies(MOST_LATENCIES)
        answered, least, wish = endpoint.answered, endpoint.least(), endpoint.wish(self._lease_s)
        return Pace(
            place=endpoint.place,
            address=endpoint.address,
            unused=endpoint.hand_back(),
            least=least,
            wish=wish,
            observations=observations,
            throttles=throttles,
            answered=answered,
            in_flight=limiter.in_flight,
            places=limiter.concurrency,
            down_s=None if down is None else now - down,
            waits=limiter.waits.shares(),
            met=limiter.health.met,
            oldest_s=limiter.oldest_s,
            why=limiter.health.why,
            notes=limiter.notes,
            hidden=hidden,
            output=output,
            latencies=latencies,
        )

    def _take_in(self, answer: Answer, endpoints: Sequence[LeasedEndpoint], sent_at: float, *, asked: bool) -> float:
        """Takes in the answer to a report about these endpoints. Returns the seconds until the next report."""
        now = self._clock()
        self._apply(answer, endpoints)
        self._portions.extend(answer.portions)
        self._done = answer.done
        self._recalled = answer.recall
        if asked:
            self._dry = not answer.portions
            self._answered.set()
        if answer.order > self.order:
            self.order = answer.order
            self._answered.set()
            self._on_order(answer.order)
        # Leased since the report was sent. Where the transport is slow, some time must be left to use it.
        until = max(sent_at + self._lease_s, now + self._lease_s / 2)
        next_s = BEAT_S
        for endpoint, grant in zip(endpoints, answer.grants, strict=False):
            if grant.pause_s:
                endpoint.pause(grant.pause_s)
            if wait_s := max(grant.wait_s, grant.pause_s):
                next_s = min(next_s, wait_s)
            endpoint.not_before = now + wait_s
            endpoint.limiter.bills.learn_from_others(grant.hidden, grant.output)
            endpoint.lease(grant.amounts, until)
        if self.allowance is not None:
            self.allowance.allow(answer.tokens, answer.pico, answer.refused)
        return next_s

    def _apply(self, answer: Answer, endpoints: Sequence[LeasedEndpoint]) -> None:
        """Applies what a person changed while the run goes on, and this worker's part of the requests in flight."""
        for endpoint in self.endpoints:
            endpoint.limiter.pause(paused=answer.paused)
        changed = [
            endpoint.limiter.set_concurrency(places)
            for endpoint, places in zip(endpoints, answer.places, strict=False)
            if places is not None
        ]
        if any(changed):
            self._on_places()
