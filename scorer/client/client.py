"""Sends one request until it is answered: chooses endpoints, retries, hedges. attempt.py makes each attempt.

Who is at fault decides what happens (errors.py). A temporary fault is retried through admission, and no
connection is held while it waits. An attempt counts against a row only if another request to the endpoint was sent and
answered between its sending and its failure: an endpoint that is down for an hour costs an hour, not rows.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable, Mapping, Sequence

from scorer.client.attempt import AskAnother, Attempts, Expired
from scorer.client.endpoints import Endpoint, Endpoints
from scorer.client.meter import Meter
from scorer.client.model_terms import ModelTerms
from scorer.client.retry import RetryState
from scorer.error_frames import without_frames
from scorer.errors import NoCapacity, RowError, SetupError, Throttled, TransientError, Unreachable
from scorer.frozen import replace
from scorer.limits import EndpointDown
from scorer.limits.cooldown import QUOTAS
from scorer.limits.running_quantile import RunningQuantile
from scorer.types import Client, Completion, Message, Request, Transport

LATE = 0.97
"""A request is late beyond this quantile of the latencies so far."""
CERTAIN_S = 3.0
"""An address that was never reached is called wrong, where it looks so, after this long."""


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
        self._endpoints = Endpoints(endpoints)
        self._retries = retries
        self._clock = clock
        self._random = random.Random(seed)
        self._late = RunningQuantile(LATE) if hedge else None
        latencies = None if self._late is None else self._late.add
        self._attempts = Attempts(self._endpoints, transport, terms, clock, timeout_s, latencies)
        self._attempt = self._attempts.once if self._late is None else self._hedged
        self._fallback, self._cache = terms.fallback, terms.cache
        self._unmet_since: float | None = None

    @property
    def endpoints(self) -> Sequence[Endpoint]:
        """The endpoints that take requests now."""
        return self._endpoints.all

    def replace(self, joining: Sequence[Endpoint], leaving: Sequence[Endpoint]) -> None:
        """Takes in endpoints, and retires others: their requests in flight end, those that wait go elsewhere at once.

        At least one endpoint is to stay or join.
        """
        self._endpoints.replace(joining, leaving)

    async def complete(self, request: Request) -> Completion:
        """One completion for `request`.

        Raises RowError (with `spent`), SetupError, BudgetSpent, or Interrupted while draining. Cancelling it settles
        what is in flight as possibly billed.
        """
        now = self._clock()
        spent = Meter(self._clock, since=now, sent_at=now)
        state: RetryState | None = None  # few requests fail
        failed: Endpoint | None = None
        again: Endpoint | None = None
        if self._fallback is not None:
            self._fallback.begin()
        if self._cache is not None and (prefixes := self._cache.prefixes(request)):
            request = replace(request, prefixes=prefixes)
        try:
            while True:
                endpoint = self._endpoints.only or self._endpoints.choose(request.prefixes, failed, again)
                again = None
                try:
                    done = await (self._attempt if not request.prefixes else self._in_turn)(endpoint, request, spent)
                    break
                except (EndpointDown, Expired):
                    continue
                except SetupError:
                    await self._endpoints.stragglers(self._clock)
                    raise
                except AskAnother as error:
                    spent.fresh, again = True, endpoint
                    if error.doubted is not None:
                        spent.doubted = (endpoint.repeats, error.doubted)
                    continue
                except TransientError as error:
                    last, failed = without_frames(error), endpoint
                state = state or RetryState(self._retries)
                await self._pause(last, endpoint, state, spent)
                if self._leaves_tier(request, spent, endpoint):
                    request = replace(request, tier="standard")
        except RowError as error:
            error.spent = spent.read()
            raise
        return replace(done, spent=spent.read())

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
            await endpoint.limits.rest(pause_s, self._endpoints.may_leave)
            return
        if state.needs_probe:
            state.probed(breaker, sent_at, answered=await self._answers(endpoint, spent))
        state.check(error, spent.attempts)
        at_once = state.failures == 1 and self._endpoints.others_up(endpoint)
        if not (isinstance(error, Throttled) or at_once):
            await endpoint.limits.rest(state.pause_s(self._random.random()), self._endpoints.may_leave)

    def _leaves_tier(self, request: Request, spent: Meter, endpoint: Endpoint) -> bool:
        """Whether a request that failed is asked at the standard tier from now on."""
        if self._fallback is None or request.tier or not self._fallback.may_leave(spent.asking_s):
            return False
        endpoint.limits.note(self._fallback.note)
        return True

    def _check_setup(self, error: TransientError, endpoint: Endpoint) -> None:
        """Raises SetupError where this failure shows that waiting does not help."""
        if isinstance(error, Unreachable) and error.hint is not None and not self._attempts.met:
            self._doubt(f"{error.detail}. {error.hint}")
        if isinstance(error, Throttled) and error.quota and endpoint.limits.cooldown.quotas >= QUOTAS:
            raise SetupError(
                f"{error.detail}. {QUOTAS} times in a row this quota had not renewed when the server said that it "
                "would. Raise it, or run the same command again once it has; what is finished is kept."
            )

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
            chosen = first.pop() if first else self._endpoints.choose()
            return await self._attempts.once(chosen, request, spent, sent)

        from scorer.client.hedging import first_answer

        try:
            return await first_answer(ask, lambda: late.value, (TransientError, RowError, EndpointDown))
        except BaseExceptionGroup as failures:  # of those that stop a run, one is raised
            raise failures.exceptions[0] from None

    async def _answers(self, endpoint: Endpoint, spent: Meter) -> bool:
        """True where the endpoint answers a request of a few tokens right after this one failed.

        Asked when a request failed again and again and no other was answered meanwhile: near the end of a run, nothing
        else tells an outage from rows that break the server, and those would be probed for ever. An attempt between
        two of these that were answered failed by itself; one after the first may have met an outage that just began.
        """
        probe = Request(messages=(Message("user", "Reply with: ok"),), max_output_tokens=1, tokens=8, begun=True)
        try:
            await self._attempts.once(endpoint, probe, spent)
        except AskAnother:
            spent.fresh = True  # once: it does not happen on a new connection
            return await self._answers(endpoint, spent)
        except (TransientError, EndpointDown):
            return False
        except RowError:
            pass
        return True


class ModelRouter:
    """`Client` for several models: each request goes to the one whose alias it names."""

    def __init__(self, clients: Mapping[str, Client]) -> None:
        self._clients = dict(clients)

    async def complete(self, request: Request) -> Completion:
        return await self._clients[request.model].complete(request)
