"""Answers one request over the wire: admission, calls, retry, settlement.

Whose fault a failure is decides what happens (see errors.py). The moment's fault is retried through admission, and no
connection is held while it waits. An attempt counts against a row only if the endpoint answered another request between
its sending and its failure: an endpoint that is down for an hour costs an hour, not rows.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from scorer.errors import MomentError, RowError, Throttled, Unavailable
from scorer.hedging import first_answer
from scorer.limits import Admission, Bill, Need, Outcome, TurnedAway
from scorer.limits.breaker import Breaker
from scorer.limits.pacing import Quantile
from scorer.schema import Client, Completion, Message, Provider, RateHint, Request, Spent, Transport, Usage

FIRST_BACKOFF_S = 0.5
LONGEST_BACKOFF_S = 30.0
LATE = 0.97
"""A request is late beyond this quantile of the latencies so far."""
THROTTLES_PER_RETRY = 10
"""A 429 is hardly ever the row's fault: this many weigh as much as one failure."""
TEMPLATE_TOKENS = 16
"""The most that a chat template adds for one message."""


class Tariff(Protocol):
    """What a usage costs, in pico-dollars (10^-12 USD)."""

    def cost_pico(self, usage: Usage) -> int: ...
    def worst_pico(self, prompt_tokens: int, completion_tokens: int) -> int: ...


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address of a model: who speaks its dialect, and its limits. `weight` is its share of the load."""

    provider: Provider
    limits: Admission
    weight: float = 1.0

    @property
    def load(self) -> float:
        return (self.limits.waiting + self.limits.in_flight + 1) / self.weight


class HttpClient:
    """`Client` for one model behind one or several endpoints; each attempt goes to the least loaded that is up.

    `tariff` is None where the price is unknown: costs are then null. `max_output_tokens` serves requests without one.
    With `hedge` a late request is asked once more, and the first answer wins.
    """

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        transport: Transport,
        tariff: Tariff | None,
        *,
        max_output_tokens: int,
        retries: int,
        clock: Callable[[], float],
        hedge: bool = False,
        seed: int = 0,
    ) -> None:
        self._endpoints = tuple(endpoints)
        self._transport = transport
        self._tariff = tariff
        self._max_output_tokens = max_output_tokens
        self._retries = retries
        self._clock = clock
        self._random = random.Random(seed)
        self._late = Quantile(LATE) if hedge else None
        self._slack = (
            64  # tokens by which a server's count exceeded the bytes of a request: prompts that it adds itself
        )

    async def complete(self, request: Request) -> Completion:
        """One completion for `request`.

        Raises RowError (with `spent`), SetupError, BudgetSpent, or Interrupted while draining. Cancelling it settles
        what is in flight as possibly billed.
        """
        spent = _Meter(self._clock)
        try:
            completion = await self._until_answered(request, spent)
        except RowError as error:
            error.spent = spent.read()
            raise
        done = completion
        return Completion(  # thrice as fast as dataclasses.replace
            done.text, done.finish_reason, done.model, done.usage, done.logprobs, done.body, spent.read()
        )

    async def _until_answered(self, request: Request, spent: _Meter) -> Completion:
        failures = knocks = throttles = 0
        knocked = False  # the endpoint answered another request right before this attempt
        own: list[tuple[Breaker, float]] = []  # sent and failed while others were answered: its own, or an outage began
        failed: Endpoint | None = None
        while True:
            endpoint = self._choose(failed)
            try:
                return await self._hedged(endpoint, request, spent)
            except TurnedAway:
                continue
            except MomentError as error:
                last, failed = error, endpoint
            answered_others = endpoint.limits.breaker.last_success > spent.sent_at
            if isinstance(last, Throttled):  # the gate is paused for everyone: standing in line again is enough
                throttles += answered_others
            else:
                failures += 1
                knocks += knocked
                if answered_others and not knocked:
                    own.append((endpoint.limits.breaker, spent.sent_at))
            counted = knocks + sum(breaker.was_up(sent_at) for breaker, sent_at in own)
            if counted + throttles / THROTTLES_PER_RETRY >= self._retries:
                raise Unavailable(f"{last.detail} ({spent.attempts} attempts, while other requests were answered)")
            knocked = failures - counted >= self._retries and await self._answers(endpoint, spent)
            if not isinstance(last, Throttled):
                longest = min(LONGEST_BACKOFF_S, FIRST_BACKOFF_S * 2 ** min(failures - 1, 10))
                await asyncio.sleep(longest * (0.5 + 0.5 * self._random.random()))

    async def _hedged(self, endpoint: Endpoint, request: Request, spent: _Meter) -> Completion:
        """One attempt, or several at once where hedging is asked for and one is later than nearly all others were."""
        late = self._late
        if late is None:
            return await self._once(endpoint, request, spent)
        first = [endpoint]

        async def ask(sent: asyncio.Event) -> Completion:
            chosen = first.pop() if first else self._choose()
            return await self._once(chosen, request, spent, sent)

        try:
            return await first_answer(ask, lambda: late.value, (MomentError, RowError, TurnedAway))
        except BaseExceptionGroup as failures:  # of those that stop a run, one is told
            raise failures.exceptions[0] from None

    async def _once(
        self, endpoint: Endpoint, request: Request, spent: _Meter, sent: asyncio.Event | None = None
    ) -> Completion:
        """One attempt: admitted, sent, read, and settled on every way out."""
        conversation = endpoint.provider.converse(request)
        call = next(conversation)
        permit = await endpoint.limits.admit(self._need(request), lambda: bool(self._up()))
        spent.sent()
        if sent is not None:
            sent.set()
        outcome = Outcome(Bill.UNKNOWN)
        hint: RateHint | None = None
        try:
            while True:
                reply = await self._transport.post(call)
                hint = endpoint.provider.rate(reply.headers)
                try:
                    call = conversation.send(reply)
                except StopIteration as done:
                    completion: Completion = done.value
                    break
            outcome = self._answered(completion.usage, hint, permit.need, billed=True)
            spent.bill(completion.usage, outcome.cost_pico if self._tariff else None)
            if self._late is not None:
                self._late.add(self._clock() - permit.admitted_at)
            return completion
        except MomentError as error:
            throttled = isinstance(error, Throttled)
            outcome = Outcome(
                Bill.UNKNOWN if error.billed else Bill.NOTHING,
                hint=hint,
                alive=None if throttled else False,
                throttled=throttled,
                retry_after_s=error.retry_after_s,
            )
            raise
        except RowError as error:
            outcome = self._answered(error.usage, hint, permit.need, billed=error.billed)
            spent.bill(error.usage, outcome.cost_pico if self._tariff else None)
            raise
        finally:
            spent.over()
            endpoint.limits.settle(permit, outcome)

    def _answered(self, usage: Usage | None, hint: RateHint | None, need: Need, *, billed: bool) -> Outcome:
        if usage is None:
            return Outcome(Bill.UNKNOWN if billed else Bill.NOTHING, hint=hint, alive=True)
        excess = usage.prompt_tokens + need.output_tokens - need.worst_tokens
        self._slack += max(0, 2 * excess)
        cost = self._tariff.cost_pico(usage) if self._tariff else 0
        return Outcome(Bill.KNOWN, usage=usage, cost_pico=cost, hint=hint, alive=True)

    def _need(self, request: Request) -> Need:
        """What it may take. No tokeniser makes more tokens than there are bytes, so bytes bound it from above."""
        texts = [m.content for m in request.messages] or [request.prompt, request.continuation or ""]
        prompt = sum(len(t) if t.isascii() else len(t.encode("utf-8", "replace")) for t in texts)
        prompt += TEMPLATE_TOKENS * len(texts) + self._slack
        output = request.max_output_tokens or (self._max_output_tokens if request.messages else 1)
        return Need(
            tokens=request.tokens or prompt // 4,
            output_tokens=output,
            worst_tokens=prompt + output,
            worst_pico=self._tariff.worst_pico(prompt, output) if self._tariff else 0,
            first=request.index == 0,
        )

    def _choose(self, failed: Endpoint | None = None) -> Endpoint:
        """The least loaded that is up; where there is another, not the one at which this request just failed."""
        if len(self._endpoints) == 1:
            return self._endpoints[0]
        up = self._up()
        others = [endpoint for endpoint in up if endpoint is not failed]
        return min(others or up or self._endpoints, key=lambda endpoint: endpoint.load)

    def _up(self) -> list[Endpoint]:
        """Where a request may go as far as breakers know; one that is due for a probe counts, so that it gets one."""
        return [endpoint for endpoint in self._endpoints if endpoint.limits.breaker.wait_s() == 0.0]

    async def _answers(self, endpoint: Endpoint, spent: _Meter) -> bool:
        """True where the endpoint answers a request of a few tokens right after this one failed.

        Asked when a request failed again and again and no other was answered meanwhile: near the end of a run, nothing
        else tells an outage from rows that break the server, and those would be probed for ever.
        """
        knock = Request(messages=(Message("user", "Reply with: ok"),), max_output_tokens=1, tokens=8, index=1)
        try:
            await self._once(endpoint, knock, spent)
        except (MomentError, TurnedAway):
            return False
        except RowError:
            pass
        return True


class Panel:
    """`Client` for several models: each request goes to the one whose alias it names."""

    def __init__(self, clients: Mapping[str, Client]) -> None:
        self._clients = dict(clients)

    async def complete(self, request: Request) -> Completion:
        return await self._clients[request.model].complete(request)


class _Meter:
    """What one request takes, added up over its attempts."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._since = self.sent_at = clock()
        self.attempts = 0
        self._waited_s = self._answered_s = 0.0
        self._usage: Usage | None = None
        self._cost_pico: int | None = None

    def sent(self) -> None:
        self.sent_at = self._clock()
        self.attempts += 1
        self._waited_s += self.sent_at - self._since
        self._since = self.sent_at

    def over(self) -> None:
        now = self._clock()
        self._answered_s += now - self._since
        self._since = now

    def bill(self, usage: Usage | None, cost_pico: int | None) -> None:
        if usage is not None:
            self._usage = usage if self._usage is None else add(self._usage, usage)
        if cost_pico is not None:
            self._cost_pico = (self._cost_pico or 0) + cost_pico

    def read(self) -> Spent:
        return Spent(self.attempts, self._waited_s, self._answered_s, self._usage, self._cost_pico)


def add(a: Usage, b: Usage) -> Usage:
    """The sum of two usages."""
    return Usage(
        a.prompt_tokens + b.prompt_tokens, a.completion_tokens + b.completion_tokens, a.cached_tokens + b.cached_tokens
    )
