"""Sends one request until it is answered: admission, HTTP calls, retries, hedging, settlement.

Who is at fault decides what happens (errors.py). A temporary fault is retried through admission, and no
connection is held while it waits. An attempt counts against a row only if another request to the endpoint was sent and
answered between its sending and its failure: an endpoint that is down for an hour costs an hour, not rows.

Over 300 lines: every way out of a request shares one settlement.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field, replace

from scorer.client.adaptive_timeout import LEAST_S, AdaptiveTimeout
from scorer.client.cache_leaders import CacheLeaders
from scorer.client.hedging import first_answer
from scorer.client.judge_names import JudgeNames
from scorer.client.meter import Meter
from scorer.client.placement import chosen
from scorer.client.prompt_cache import PromptCache
from scorer.client.repeated_replies import DuplicateReplies
from scorer.client.reservation import Reservation, Tariff
from scorer.client.retry import RetryState
from scorer.client.settlement import Settlement
from scorer.client.tiers import TierFallback, tier_note
from scorer.client.unsent import Unsent
from scorer.errors import (
    Interrupted,
    NoCapacity,
    RowError,
    ServerFault,
    SetupError,
    Throttled,
    TransientError,
    Unreachable,
)
from scorer.frozen import dataclass
from scorer.limits import Admission, Billing, EndpointDown, Outcome
from scorer.limits.cooldown import QUOTAS
from scorer.limits.running_quantile import RunningQuantile
from scorer.types import (
    Call,
    Client,
    Completion,
    Message,
    Prefix,
    Provider,
    RateHint,
    Reply,
    Request,
    Transport,
)

LATE = 0.97
"""A request is late beyond this quantile of the latencies so far."""
CERTAIN_S = 3.0
"""An address that was never reached is called wrong, where it looks so, after this long."""
_UNKNOWN, _NOTHING = Outcome(Billing.UNKNOWN), Outcome(Billing.NOTHING)
STRAGGLERS_S = 5.0
"""Where the set-up is wrong, replies to what is in flight are waited for so long: their bills are then known."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address of a model: who speaks its dialect, and its limits. `weight` is its share of the load.

    `address` names it among the replicas of a fleet.
    `leaders` says which request writes a prefix to its cache; None where no prompt is to be cached.
    """

    provider: Provider
    limits: Admission
    weight: float = 1.0
    address: str = ""
    repeats: DuplicateReplies = field(default_factory=DuplicateReplies)
    leaders: CacheLeaders | None = None

    @property
    def load(self) -> float:
        in_turn = 0 if self.leaders is None else self.leaders.waiting
        return (self.limits.waiting + self.limits.in_flight + in_turn + 1) / self.weight


class _Expired(Exception):
    """The request was admitted after its cached prefix had expired: one must write it again first."""


class _Another(TransientError):
    """The request is to be asked again at once on a new connection, and the row has no part in it.

    `doubted` is the id of a reply that may be another's; None where a kept connection ended as it was used.
    """

    def __init__(self, detail: str, *, billed: bool, doubted: str | None = None) -> None:
        self.doubted = doubted
        super().__init__(detail, billed=billed)


@dataclass(frozen=True, slots=True)
class ModelTerms:
    """What a model charges and takes. `tariff` is None where the price is unknown: costs are then null.

    `max_output_tokens` serves requests without one. No count of tokens beyond `window`, its context window, is
    believed. `tier` is the service tier that is asked for, and `fallback` says when a request leaves it, None for
    never. `cache` chooses the prefixes of prompts that the provider is to cache; None for none.
    """

    tariff: Tariff | None
    max_output_tokens: int
    window: int = 2_000_000
    tier: str = "standard"
    fallback: TierFallback | None = None
    cache: PromptCache | None = None


class HttpClient:
    """`Client` for one model behind one or several endpoints, by placement.py. They may change while it works.

    Make it inside a running event loop. With `hedge` a late request is asked once more, and the first answer wins.
    `timeout_s` is how long the transport waits for a reply; once enough replies are known, those that hang are waited
    for less long (adaptive_timeout.py).
    """

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        transport: Transport,
        terms: ModelTerms,
        *,
        retries: int,
        clock: Callable[[], float],
        timeout_s: float = math.inf,
        hedge: bool = False,
        seed: int = 0,
    ) -> None:
        self._endpoints = tuple(endpoints)
        self._only = self._endpoints[0] if len(self._endpoints) == 1 else None
        self._transport = transport
        self._reservation = Reservation(terms.tariff, terms.max_output_tokens)
        self._settlement = Settlement(terms.tariff, terms.window)
        self._retries = retries
        self._clock = clock
        self._random = random.Random(seed)
        self._loop = asyncio.get_running_loop()
        self._late = RunningQuantile(LATE) if hedge else None
        self._attempt = self._once if self._late is None else self._hedged
        # How long a cheap tier takes changes with the hour: the latencies so far tell nothing of the next one.
        self._deadline = AdaptiveTimeout(timeout_s, timeout_s if terms.tier == "flex" else LEAST_S)
        self._tier, self._fallback, self._cache = terms.tier, terms.fallback, terms.cache
        self._names = JudgeNames()
        self._met = False  # any endpoint sent any reply
        self._unmet_since: float | None = None

    @property
    def endpoints(self) -> Sequence[Endpoint]:
        """The endpoints that take requests now."""
        return self._endpoints

    def replace(self, joining: Sequence[Endpoint], leaving: Sequence[Endpoint]) -> None:
        """Takes in endpoints, and retires others: their requests in flight end, those that wait go elsewhere at once.

        At least one endpoint is to stay or join.
        """
        self._endpoints = (*(one for one in self._endpoints if one not in leaving), *joining)
        self._only = self._endpoints[0] if len(self._endpoints) == 1 else None
        for endpoint in leaving:
            endpoint.limits.retire()

    def _leave(self) -> bool:
        """Whether a request that waits for the end of an outage may go to another endpoint."""
        return len(self._endpoints) > 1 and bool(self._up())

    async def complete(self, request: Request) -> Completion:
        """One completion for `request`.

        Raises RowError (with `spent`), SetupError, BudgetSpent, or Interrupted while draining. Cancelling it settles
        what is in flight as possibly billed.
        """
        spent = Meter(self._clock)
        state: RetryState | None = None  # few requests fail
        failed: Endpoint | None = None
        again: Endpoint | None = None
        if self._fallback is not None:
            self._fallback.begin()
        if self._cache is not None and (prefixes := self._cache.prefixes(request)):
            request = replace(request, prefixes=prefixes)
        try:
            while True:
                endpoint = self._only or (again if again in self._up() else self._choose(failed, request.prefixes))
                again = None
                try:
                    done = await (self._attempt if not request.prefixes else self._in_turn)(endpoint, request, spent)
                    break
                except (EndpointDown, _Expired):
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
                state = state or RetryState(self._retries)
                await self._pause(last, endpoint, state, spent)
                if self._leaves_tier(request, spent, endpoint):
                    request = replace(request, tier="standard")
        except RowError as error:
            error.spent = spent.read()
            raise
        return Completion(  # three times as fast as dataclasses.replace
            done.text,
            done.finish_reason,
            done.model,
            done.usage,
            done.logprobs,
            done.body,
            spent.read(),
            done.choices,
            done.system_fingerprint,
        )

    async def _in_turn(self, endpoint: Endpoint, request: Request, spent: Meter) -> Completion:
        """One attempt, once its prefix is cached at this endpoint or it is the one to write it."""
        if endpoint.leaders is None:
            return await self._attempt(endpoint, request, spent)
        turn = spent.turn = await endpoint.leaders.turn(request.prefixes)
        try:
            return await self._attempt(endpoint, request, spent)
        finally:
            turn.over()
            spent.turn = None

    async def _pause(self, error: TransientError, endpoint: Endpoint, state: RetryState, spent: Meter) -> None:
        """Waits until a request that failed may be sent again. Raises RowError and SetupError where it is not."""
        self._check_setup(error, endpoint)
        breaker, sent_at = endpoint.limits.breaker, spent.sent_at
        state.failed(error, breaker, sent_at)
        if isinstance(error, NoCapacity):
            pause_s = state.capacity_pause_s(self._random.random(), error.retry_after_s)
            if self._fallback is not None:
                pause_s = self._fallback.shorter(pause_s, spent.asking_s)
            await endpoint.limits.rest(pause_s, self._leave)
            return
        if state.needs_probe:
            state.probed(breaker, sent_at, answered=await self._answers(endpoint, spent))
        state.check(error, spent.attempts)
        at_once = state.failures == 1 and self._others_up(endpoint)
        if not (isinstance(error, Throttled) or at_once):
            await endpoint.limits.rest(state.pause_s(self._random.random()), self._leave)

    def _leaves_tier(self, request: Request, spent: Meter, endpoint: Endpoint) -> bool:
        """Whether a request that failed is asked at the standard tier from now on."""
        if self._fallback is None or request.tier or not self._fallback.may_leave(spent.asking_s):
            return False
        endpoint.limits.note(self._fallback.note)
        return True

    def _check_setup(self, error: TransientError, endpoint: Endpoint) -> None:
        """Raises SetupError where this failure shows that waiting does not help."""
        if isinstance(error, Unreachable) and error.hint is not None and not self._met:
            self._doubt(f"{error.detail}. {error.hint}")
        if isinstance(error, Throttled) and error.quota and endpoint.limits.cooldown.quotas >= QUOTAS:
            raise SetupError(
                f"{error.detail}. {QUOTAS} times in a row this quota had not renewed when the server said that it "
                "would. Raise it, or run the same command again once it has; what is finished is kept."
            )

    async def _stragglers(self) -> None:
        """The set-up is wrong, and all in flight will fail of it: until then it is unknown that they are free."""
        until = self._clock() + STRAGGLERS_S
        for endpoint in self._endpoints:
            await endpoint.limits.emptied(until - self._clock())

    def _doubted_again(
        self, endpoint: Endpoint, reply: Reply, spent: Meter, before: tuple[DuplicateReplies, str]
    ) -> str | None:
        """The id of a reply that may be another's, as the one `before` may have been.

        None, with one message, where this endpoint's ids turn out mute.
        """
        repeats = endpoint.repeats
        if repeats.off:
            return None
        mine = before[0] is repeats
        kept = repeats.kept
        doubted = repeats.doubts(reply, before[1] if mine else None)
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
        except BaseExceptionGroup as failures:  # of those that stop a run, one is raised
            raise failures.exceptions[0] from None

    async def _once(
        self, endpoint: Endpoint, request: Request, spent: Meter, sent: asyncio.Event | None = None
    ) -> Completion:
        """One attempt: admitted, sent, read, and settled on every way out.

        Over a complexity of 15: each way out has a branch, and all of them share the one settlement in `finally`.
        """
        conversation = endpoint.provider.converse(request)
        call = next(conversation)
        demand = self._reservation.demand(
            request, call.body, endpoint.limits.bills, asked=call.output, begun=spent.attempts > 0
        )
        permit = await endpoint.limits.admit(demand, self._leave)
        if spent.turn is not None and not spent.turn.sent():
            endpoint.limits.settle(permit, _NOTHING)
            raise _Expired
        spent.sent()
        permit.task = task = asyncio.current_task(self._loop)
        assert task is not None
        cancels = task.cancelling()
        if sent is not None:
            sent.set()
        outcome = _UNKNOWN
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
                if spent.doubted is None:
                    doubted = endpoint.repeats.doubts(reply, None)
                else:
                    doubted = self._doubted_again(endpoint, reply, spent, spent.doubted)
                if doubted is not None:
                    raise _Another("the reply has the id of another one", billed=True, doubted=doubted)
                try:
                    call = conversation.send(reply)
                except StopIteration as done:
                    completion: Completion = done.value
                    break
            if spent.turn is not None:
                spent.turn.answered_by(endpoint.leaders, completion.usage)
            outcome = self._settlement.answered(completion.usage, hint, permit.demand, billed=True)
            spent.bill(outcome.usage, self._settlement.known_pico(outcome))
            if self._tier != "standard" and outcome.usage is not None:
                note = tier_note(request.tier or self._tier, outcome.usage.tier)
                if note is not None:
                    endpoint.limits.note(note)
            if self._names.last != (completion.model, completion.system_fingerprint):
                for change in self._names.changed(completion.model, completion.system_fingerprint):
                    endpoint.limits.note(change)
            latency_s = self._clock() - permit.admitted_at
            self._deadline.answered(latency_s)
            if self._late is not None:
                self._late.add(latency_s)
            return completion if outcome.usage is completion.usage else replace(completion, usage=None)
        except _Another:
            _drop(reply)
            outcome = Outcome(Billing.UNKNOWN, hint=hint)  # a copy of an earlier reply says nothing of the endpoint now
            raise
        except TransientError as error:
            _drop(reply)
            if isinstance(error, Unreachable) and not error.billed and hint is None:  # nor did a turn before it go out
                spent.unsent()
            if isinstance(error, Unreachable) and not fresh and self._was_stale(endpoint, error, asked_at):
                outcome = _NOTHING
                raise _Another(error.detail, billed=False) from None
            hung = deadline_s is not None and self._clock() - asked_at >= deadline_s
            if hung and isinstance(error, Unreachable):
                spent.cut = True
                self._deadline.cut()
            since_s = self._clock() - permit.admitted_at
            # What fails sooner than nearly any reply comes has done no work; nor has a probe.
            too_soon = error.if_late and (permit.probe or since_s <= endpoint.limits.bills.quick_s)
            outcome = self._settlement.outcome_of(error, hint, permit.demand, too_soon=too_soon)
            if isinstance(error, ServerFault) and error.retry_after_s is not None and self._others_up(endpoint):
                outcome = replace(outcome, away_s=error.retry_after_s)
            spent.bill(outcome.usage, self._settlement.known_pico(outcome))
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
                outcome = _NOTHING
                if hint is None:
                    spent.unsent()
            if permit.left and task.uncancel() <= cancels:
                raise Interrupted("draining: the reply to this row's request did not come") from None
            if isinstance(cancelled, Unsent):  # asyncio.timeout knows its own cancellation by the class
                raise asyncio.CancelledError from None
            raise
        except RowError as error:
            _drop(reply)
            outcome = self._settlement.answered(error.usage, hint, permit.demand, billed=error.billed)
            spent.bill(outcome.usage, self._settlement.known_pico(outcome))
            raise
        finally:
            spent.over()
            endpoint.limits.settle(permit, outcome)

    def _choose(self, failed: Endpoint | None = None, prefixes: Sequence[Prefix] = ()) -> Endpoint:
        """One that is up; where there is another, not the one at which this request just failed."""
        if self._only is not None:
            return self._only
        up = self._up()
        others = [endpoint for endpoint in up if endpoint is not failed]
        return chosen(others or up or self._endpoints, prefixes)

    def _others_up(self, endpoint: Endpoint) -> bool:
        return any(one is not endpoint for one in self._up())

    def _up(self) -> list[Endpoint]:
        """Where a request may go as far as breakers know; one that is due for a probe counts, so that it gets one."""
        return [endpoint for endpoint in self._endpoints if endpoint.limits.up]

    async def _answers(self, endpoint: Endpoint, spent: Meter) -> bool:
        """True where the endpoint answers a request of a few tokens right after this one failed.

        Asked when a request failed again and again and no other was answered meanwhile: near the end of a run, nothing
        else tells an outage from rows that break the server, and those would be probed for ever. An attempt between
        two of these that were answered failed by itself; one after the first may have met an outage that just began.
        """
        probe = Request(messages=(Message("user", "Reply with: ok"),), max_output_tokens=1, tokens=8, begun=True)
        try:
            await self._once(endpoint, probe, spent)
        except _Another:
            spent.fresh = True  # once: it does not happen on a new connection
            return await self._answers(endpoint, spent)
        except (TransientError, EndpointDown):
            return False
        except RowError:
            pass
        return True


def _drop(reply: Reply | None) -> None:
    """What is no completion has no id: were it sent twice, the copy could not be distinguished from the next reply."""
    if reply is not None and reply.line is not None:
        reply.line.drop()


class ModelRouter:
    """`Client` for several models: each request goes to the one whose alias it names."""

    def __init__(self, clients: Mapping[str, Client]) -> None:
        self._clients = dict(clients)

    async def complete(self, request: Request) -> Completion:
        return await self._clients[request.model].complete(request)
