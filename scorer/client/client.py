"""Answers one request over the wire: admission, calls, retry, settlement.

Whose fault a failure is decides what happens (see errors.py). The moment's fault is retried through admission, and no
connection is held while it waits. An attempt counts against a row only if another request to the endpoint was sent and
answered between its sending and its failure: an endpoint that is down for an hour costs an hour, not rows.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol

from scorer.client.adaptive_timeout import AdaptiveTimeout
from scorer.client.hedging import first_answer
from scorer.client.meter import Meter
from scorer.client.repeated_replies import DuplicateReplies
from scorer.client.request_body import asked_output
from scorer.client.unsent import Unsent
from scorer.errors import (
    Interrupted,
    RowError,
    ServerFault,
    SetupError,
    Throttled,
    TransientError,
    Unavailable,
    Unreachable,
    Unreadable,
)
from scorer.limits import Admission, Asked, Billing, Demand, EndpointDown, Outcome
from scorer.limits.bills import LearnedBilling
from scorer.limits.breaker import Breaker
from scorer.limits.cooldown import QUOTAS
from scorer.limits.rate_limits import RunningQuantile
from scorer.types import (
    Call,
    Client,
    Completion,
    Message,
    Provider,
    RateHint,
    Reply,
    Request,
    Transport,
)
from scorer.usage import (
    Usage,
)

FIRST_BACKOFF_S = 0.5
LONGEST_BACKOFF_S = 30.0
LATE = 0.97
"""A request is late beyond this quantile of the latencies so far."""
CERTAIN_S = 3.0
"""An address that was never reached is called wrong, where it looks so, after this long."""
THROTTLES_PER_RETRY = 10
"""A 429 is hardly ever the row's fault: this many weigh as much as one failure."""
STRAGGLERS_S = 5.0
"""Where the set-up is wrong, replies to what is in flight are waited for so long: their bills are then known."""
TEMPLATE_TOKENS = 16
"""The most that a chat template adds for one message."""
ADDED_TOKENS = 64
"""What a server may add to any prompt before a bill has told how much it is."""


class Tariff(Protocol):
    """What a usage costs, in pico-dollars (10^-12 USD)."""

    def cost_pico(self, usage: Usage) -> int: ...
    def worst_pico(self, prompt_tokens: int, completion_tokens: int, *, caching: bool = True) -> int:
        """`caching`: the server may be asked to write to its cache."""
        ...


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address of a model: who speaks its dialect, and its limits. `weight` is its share of the load."""

    provider: Provider
    limits: Admission
    weight: float = 1.0
    repeats: DuplicateReplies = field(default_factory=DuplicateReplies)

    @property
    def load(self) -> float:
        return (self.limits.waiting + self.limits.in_flight + 1) / self.weight


class _Another(TransientError):
    """The request is to be asked again at once on a new connection, and the row has no part in it.

    `doubted` is the id of a reply that may be another's; None where a kept connection ended as it was used.
    """

    def __init__(self, detail: str, *, billed: bool, doubted: str | None = None) -> None:
        self.doubted = doubted
        super().__init__(detail, billed=billed)


class HttpClient:
    """`Client` for one model behind one or several endpoints; each attempt goes to the least loaded that is up.

    `tariff` is None where the price is unknown: costs are then null. `max_output_tokens` serves requests without one.
    With `hedge` a late request is asked once more, and the first answer wins. `timeout_s` is how long the transport
    waits for a reply; once enough replies are known, those that hang are waited for less long (deadline.py). No count
    of tokens beyond `window`, the model's context window, is believed: such a reply tells no bill.
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
        timeout_s: float = math.inf,
        hedge: bool = False,
        window: int = 2_000_000,
        seed: int = 0,
    ) -> None:
        self._endpoints = tuple(endpoints)
        self._transport = transport
        self._tariff = tariff
        self._max_output_tokens = max_output_tokens
        self._retries = retries
        self._clock = clock
        self._random = random.Random(seed)
        self._late = RunningQuantile(LATE) if hedge else None
        self._deadline = AdaptiveTimeout(timeout_s)
        self._met = False  # any endpoint sent any reply
        self._unmet_since: float | None = None
        self._window = window
        self._worst_pico = tariff.worst_pico if tariff else None
        self._plain_pico = self._worst_pico  # of a request that asks for no caching
        if tariff is not None and tariff.worst_pico(1, 0) != tariff.worst_pico(1, 0, caching=False):
            self._plain_pico = partial(tariff.worst_pico, caching=False)

    async def complete(self, request: Request) -> Completion:
        """One completion for `request`.

        Raises RowError (with `spent`), SetupError, BudgetSpent, or Interrupted while draining. Cancelling it settles
        what is in flight as possibly billed.
        """
        spent = Meter(self._clock)
        try:
            completion = await self._until_answered(request, spent)
        except RowError as error:
            error.spent = spent.read()
            raise
        done = completion
        return Completion(  # thrice as fast as dataclasses.replace
            done.text,
            done.finish_reason,
            done.model,
            done.usage,
            done.logprobs,
            done.body,
            spent.read(),
            done.choices,
        )

    async def _until_answered(self, request: Request, spent: Meter) -> Completion:
        failures = knocks = throttles = 0
        knocked: Endpoint | None = None  # it answered a small request right before this attempt
        own: list[tuple[Breaker, float]] = []  # sent and failed while others were answered: its own, or an outage began
        garbled: tuple[Breaker, float] | None = None  # where and when its first reply was sent that said nothing
        failed: Endpoint | None = None
        again: Endpoint | None = None
        while True:
            endpoint = self._choose(failed) if again is None or again not in self._up() else again
            again = None
            try:
                return await (self._once if self._late is None else self._hedged)(endpoint, request, spent)
            except EndpointDown:
                continue
            except SetupError:
                await self._stragglers()
                raise
            except _Another as error:
                spent.fresh, again = True, endpoint
                if error.doubted is not None:
                    spent.doubted = (endpoint.repeats, error.doubted)
                continue
            except TransientError as error:
                last, failed = error, endpoint
            if isinstance(last, Unreachable) and last.mend is not None and not self._met:
                self._doubt(f"{last.detail}. {last.mend}")
            if isinstance(last, Throttled) and last.quota and endpoint.limits.cooldown.quotas >= QUOTAS:
                raise SetupError(
                    f"{last.detail}. {QUOTAS} times in a row this quota had not renewed when the server said that it "
                    "would. Raise it, or run the same command again once it has; what is finished is kept."
                )
            breaker, sent_at = endpoint.limits.breaker, spent.sent_at
            # Sent after it and answered before it failed: a late answer to what was sent earlier says nothing.
            answered_others = breaker.was_up(sent_at)
            if isinstance(last, ServerFault) and last.garbled:
                if garbled is not None and garbled[0].was_up(garbled[1]):
                    raise Unreadable(f"{last.detail} (twice, while other requests were answered)")
                garbled = garbled or (breaker, sent_at)
            if isinstance(last, Throttled):  # the gate is paused for everyone: standing in line again is enough
                throttles += breaker.last_success > sent_at
            else:
                failures += 1
                if answered_others:
                    own.append((breaker, sent_at))
            counted = knocks + sum(breaker.was_up(sent_at) for breaker, sent_at in own)
            if failures - counted >= self._retries:
                before = knocked
                knocked = endpoint if await self._answers(endpoint, spent) else None
                if before is knocked is endpoint and not answered_others and breaker.was_up(sent_at):
                    knocks += 1
                    counted += 1
            if counted + throttles / THROTTLES_PER_RETRY >= self._retries:
                raise Unavailable(f"{last.detail} ({spent.attempts} attempts, while other requests were answered)")
            if not isinstance(last, Throttled):
                longest = min(LONGEST_BACKOFF_S, FIRST_BACKOFF_S * 2 ** min(failures - 1, 10))
                pause_s = longest * (0.5 + 0.5 * self._random.random())
                await endpoint.limits.rest(pause_s, lambda: bool(self._up()))

    async def _stragglers(self) -> None:
        """The set-up is wrong, and all in flight will be told so: until they are, nobody knows that they are free."""
        until = self._clock() + STRAGGLERS_S
        for endpoint in self._endpoints:
            await endpoint.limits.emptied(until - self._clock())

    def _doubted(self, endpoint: Endpoint, reply: Reply, spent: Meter) -> str | None:
        """The id of a reply that may be another's; None, and told once, where this endpoint's ids turn out mute."""
        repeats = endpoint.repeats
        if repeats.off:
            return None
        mine = spent.doubted is not None and spent.doubted[0] is repeats
        kept = repeats.kept
        doubted = repeats.doubts(reply, spent.doubted[1] if mine and spent.doubted is not None else None)
        if mine:
            spent.doubted = None
            if repeats.off:
                endpoint.limits.note(
                    f"{endpoint.provider!r} gives different replies the same id (a cache does): a reply that was sent "
                    "twice on one connection could not be told from its own there."
                )
            elif kept and not repeats.kept:
                endpoint.limits.note(
                    f"{endpoint.provider!r} sends replies twice: each request now has a connection of its own. What "
                    "was sent twice was thrown away, asked again, and counted as possibly billed."
                )
        return doubted

    def _was_stale(self, endpoint: Endpoint, error: Unreachable, asked_at: float) -> bool:
        """True where the server closed a connection that idled, too soon to have done any work for this request."""
        return error.kept and error.silent and self._clock() - asked_at <= endpoint.limits.bills.quick_s

    def _doubt(self, problem: str) -> None:
        """An address that was never reached and looks wrong: raises SetupError once that has lasted."""
        if self._unmet_since is None:
            self._unmet_since = self._clock()
        elif self._clock() - self._unmet_since >= CERTAIN_S:
            raise SetupError(problem)

    async def _hedged(self, endpoint: Endpoint, request: Request, spent: Meter) -> Completion:
        """One attempt, or several at once where one is later than nearly all others were."""
        late = self._late
        assert late is not None
        first = [endpoint]

        async def ask(sent: asyncio.Event) -> Completion:
            chosen = first.pop() if first else self._choose()
            return await self._once(chosen, request, spent, sent)

        try:
            return await first_answer(ask, lambda: late.value, (TransientError, RowError, EndpointDown))
        except BaseExceptionGroup as failures:  # of those that stop a run, one is told
            raise failures.exceptions[0] from None

    async def _once(
        self, endpoint: Endpoint, request: Request, spent: Meter, sent: asyncio.Event | None = None
    ) -> Completion:
        """One attempt: admitted, sent, read, and settled on every way out."""
        conversation = endpoint.provider.converse(request)
        call = next(conversation)
        need = self._need(request, call.body, endpoint.limits.bills, begun=spent.attempts > 0)
        permit = await endpoint.limits.admit(need, lambda: bool(self._up()))
        spent.sent()
        permit.task = task = asyncio.current_task()
        assert task is not None
        cancels = task.cancelling()
        if sent is not None:
            sent.set()
        outcome = Outcome(Billing.UNKNOWN)
        hint: RateHint | None = None
        reply: Reply | None = None
        fresh = spent.fresh or not endpoint.repeats.kept
        deadline_s = self._deadline.seconds
        if spent.cut or endpoint.limits.breaker.open_since is not None:  # slow by itself, or a probe: all of timeout_s
            deadline_s = None
        try:
            while True:
                if deadline_s is not None or fresh:
                    call = Call(call.url, call.body, call.headers, deadline_s, fresh)
                asked_at, reply = self._clock(), None
                reply = await self._transport.post(call)
                self._met = True
                hint = endpoint.provider.rate(reply.headers)
                if (doubted := self._doubted(endpoint, reply, spent)) is not None:
                    raise _Another("the reply has the id of another one", billed=True, doubted=doubted)
                try:
                    call = conversation.send(reply)
                except StopIteration as done:
                    completion: Completion = done.value
                    break
            outcome = self._answered(completion.usage, hint, permit.need, billed=True)
            spent.bill(outcome.usage, outcome.cost_pico if self._tariff and outcome.usage else None)
            latency_s = self._clock() - permit.admitted_at
            self._deadline.answered(latency_s)
            if self._late is not None:
                self._late.add(latency_s)
            return completion if outcome.usage is completion.usage else replace(completion, usage=None)
        except _Another:
            _drop(reply)
            outcome = Outcome(Billing.UNKNOWN, hint=hint, alive=True)
            raise
        except TransientError as error:
            _drop(reply)
            if isinstance(error, Unreachable) and not fresh and self._was_stale(endpoint, error, asked_at):
                outcome = Outcome(Billing.NOTHING)
                raise _Another(error.detail, billed=False) from None
            hung = deadline_s is not None and self._clock() - asked_at >= deadline_s
            if hung and isinstance(error, Unreachable):
                spent.cut = True
                self._deadline.cut()
            throttled = isinstance(error, Throttled)
            billed, usage = error.billed, error.usage
            if usage is not None and not self._believed(usage, permit.need):
                usage = None
            if (
                error.if_late and usage is None
            ):  # what fails sooner than nearly any reply comes has done no work; nor has a probe
                since_s = self._clock() - permit.admitted_at
                billed = billed and not permit.probe and since_s > endpoint.limits.bills.quick_s
            cost = self._tariff.cost_pico(usage) if self._tariff and usage else 0
            spent.bill(usage, cost if self._tariff and usage else None)
            outcome = Outcome(
                Billing.KNOWN if usage is not None else Billing.UNKNOWN if billed else Billing.NOTHING,
                usage=usage,
                cost_pico=cost,
                hint=hint,
                alive=None if throttled else False,
                throttled=throttled,
                retry_after_s=error.retry_after_s,
                quota=isinstance(error, Throttled) and error.quota,
                why=error.detail,
            )
            raise
        except SetupError:
            for one in self._endpoints:  # before the settlement lets another go
                one.limits.close()
            _drop(reply)
            if reply is None or reply.status >= 300:  # an answer without the work, or nothing was sent
                outcome = Outcome(Billing.NOTHING, hint=hint)
            raise
        except asyncio.CancelledError as cancelled:
            if isinstance(cancelled, Unsent):
                outcome = Outcome(Billing.NOTHING)
            if permit.left and task.uncancel() <= cancels:
                raise Interrupted("draining: the reply to this row's request did not come") from None
            if isinstance(cancelled, Unsent):  # asyncio.timeout knows its own cancellation by the class
                raise asyncio.CancelledError from None
            raise
        except RowError as error:
            _drop(reply)
            outcome = self._answered(error.usage, hint, permit.need, billed=error.billed)
            spent.bill(outcome.usage, outcome.cost_pico if self._tariff and outcome.usage else None)
            raise
        finally:
            spent.over()
            endpoint.limits.settle(permit, outcome)

    def _answered(self, usage: Usage | None, hint: RateHint | None, need: Demand, *, billed: bool) -> Outcome:
        if usage is not None and not self._believed(usage, need):
            usage = None
        if usage is None:
            return Outcome(Billing.UNKNOWN if billed else Billing.NOTHING, hint=hint, alive=True)
        cost = self._tariff.cost_pico(usage) if self._tariff else 0
        return Outcome(Billing.KNOWN, usage=usage, cost_pico=cost, hint=hint, alive=True)

    def _believed(self, usage: Usage, need: Demand) -> bool:
        """Neither a prompt nor a choice is longer than the window; some servers bill a prompt for each choice."""
        most = self._window * (need.asked.choices if need.asked is not None else 1)
        return usage.prompt_tokens <= most and usage.completion_tokens <= most

    def _need(self, request: Request, body: bytes, bills: LearnedBilling, *, begun: bool = False) -> Demand:
        """What it may take, by the first body that goes out.

        No tokeniser makes more tokens than there are bytes, so bytes bound the prompt from above: those of the body,
        with all that `model.extra` put into it, or of the request's texts where that body does not hold them yet.
        """
        texts = [m.content for m in request.messages] or [request.prompt, request.continuation or ""]
        prompt = len(body)
        if prompt < sum(map(len, texts)) or request.continuation is not None:
            prompt = max(prompt, sum(_bytes(text) for text in texts))
        limit, choices = asked_output(body)
        choices = max(choices, request.choices)
        if request.continuation is None:
            limit = limit or request.max_output_tokens or self._max_output_tokens
            output = limit * choices
        else:  # forced, the continuation itself may be what is generated
            output = limit or 1
            limit = limit or _bytes(request.continuation) + 1
        worst_pico = self._plain_pico
        if worst_pico is not self._worst_pico and b"cache_control" in body:
            worst_pico = self._worst_pico
        asked = Asked(
            prompt=prompt + TEMPLATE_TOKENS * len(texts) + ADDED_TOKENS,
            limit=limit,
            choices=choices,
            worst_pico=worst_pico,
        )
        return bills.worst(
            Demand(
                tokens=request.tokens or prompt // 4,
                output_tokens=output,
                worst_tokens=asked.prompt + limit * choices,
                worst_pico=worst_pico(asked.prompt, limit * choices) if worst_pico else 0,
                first=not (begun or request.begun),
                asked=asked,
            )
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
        return [endpoint for endpoint in self._endpoints if endpoint.limits.up]

    async def _answers(self, endpoint: Endpoint, spent: Meter) -> bool:
        """True where the endpoint answers a request of a few tokens right after this one failed.

        Asked when a request failed again and again and no other was answered meanwhile: near the end of a run, nothing
        else tells an outage from rows that break the server, and those would be probed for ever. An attempt between
        two of these that were answered failed by itself; one after the first may have met an outage that just began.
        """
        knock = Request(messages=(Message("user", "Reply with: ok"),), max_output_tokens=1, tokens=8, begun=True)
        try:
            await self._once(endpoint, knock, spent)
        except _Another:
            spent.fresh = True  # once: it does not happen on a new connection
            return await self._answers(endpoint, spent)
        except (TransientError, EndpointDown):
            return False
        except RowError:
            pass
        return True


def _drop(reply: Reply | None) -> None:
    """What is no completion has no id: were it sent twice, nobody could tell the copy from the next reply."""
    if reply is not None and reply.line is not None:
        reply.line.drop()


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))


class ModelRouter:
    """`Client` for several models: each request goes to the one whose alias it names."""

    def __init__(self, clients: Mapping[str, Client]) -> None:
        self._clients = dict(clients)

    async def complete(self, request: Request) -> Completion:
        return await self._clients[request.model].complete(request)
