"""Constructs clients, limiters, transports and embedded servers from a checked spec. plan.py checks it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import field
from operator import attrgetter
from typing import TYPE_CHECKING

from scorer.build.endpoints import all_rate_limits, on_this_machine
from scorer.build.keys import asked_key, aws_account, secrets_of
from scorer.build.model_endpoints import ModelEndpoints, tidy
from scorer.build.model_provider import most_output
from scorer.build.worker_share import WHOLE_RUN, WorkerShare
from scorer.client.blanking import SecretBlankingTransport, Secrets
from scorer.client.client import HttpClient, ModelRouter
from scorer.client.model_terms import ModelTerms
from scorer.client.prompt_cache import PromptCache, least_tokens
from scorer.client.tiers import TierFallback
from scorer.client.tokens import Counter, SampledCounter, encoding_for
from scorer.client.transport import HttpTransport
from scorer.config.model_prices import tier_prices, window
from scorer.config.spec import Model, Spec
from scorer.frozen import dataclass
from scorer.limits import Budget, LocalLimiter
from scorer.types import Client, Completion, Transport

if TYPE_CHECKING:
    from scorer.client.fleet import Fleet

MOST_REPLICAS = 1000
"""A fleet may grow to so many replicas before its connections are too few."""
MOST_RAISED = 4
"""Requests in flight may be raised to so many times their number at the start while a run goes on."""
ROOM_FOR_TEXT = 64 * 1024 * 1024
"""Bytes of row text in flight at once."""

MakeTransport = Callable[..., AbstractAsyncContextManager[Transport]]
"""The constructor of `HttpTransport`, or of the simulation's transport."""


SAMPLED_FROM = 30_000_000
"""Where all limits are at least so many tokens a minute, not every text is counted: in each second 1,700 requests of
300 tokens may go out, and the standard error of their sum is 1 % where texts are alike. Below it, counting takes 7 % of
a core."""


def counter(spec: Spec) -> Counter:
    """Counts tokens with the first model's tokeniser where a rate limit needs them; else estimates them from bytes."""
    model = spec.all_models[0]
    limits = [
        limit
        for rates in all_rate_limits(spec)
        for limit in (rates.tokens_per_minute, rates.input_tokens_per_minute)
        if limit
    ]
    known = model.provider not in ("embedded", "recorded")
    encoding = encoding_for(model.name or "") if limits and known else None
    if encoding is not None and min(limits) >= SAMPLED_FROM:
        return SampledCounter(encoding)
    return Counter(encoding)


@dataclass(frozen=True, slots=True)
class Assembled:
    """A client, the limiters of its endpoints, and the most requests in flight in all by the run file.

    Each of `checks` raises SetupError once a server that the run started has ended. `fleets` are to be served while the
    client works; each call of `on_fleet` follows a look at their sources. Then `limits` may have changed.
    """

    client: Client
    limits: list[LocalLimiter]
    in_flight: int
    checks: list[Callable[[], None]]
    fleets: Sequence[Fleet] = ()
    on_fleet: list[Callable[[], None]] = field(default_factory=list)

    @property
    def most_in_flight(self) -> int:
        """The most requests in flight in all, where a person raised it while the run goes on."""
        return max(self.in_flight, sum(one.concurrency for one in self.limits))


async def make_client(
    spec: Spec,
    caps: Budget,
    stack: AsyncExitStack,
    clock: Callable[[], float],
    transport: MakeTransport = HttpTransport,
    share: WorkerShare = WHOLE_RUN,
) -> Assembled:
    """A client for the spec's models. `transport` makes a transport; `share` is a worker's part of the run.

    What it starts (an embedded server, an HTTP session) ends with `stack`. Raises SetupError, SpecError.
    """
    clients: dict[str, Client] = {}
    limits: list[LocalLimiter] = []
    checks: list[Callable[[], None]] = []
    fleets: list[Fleet] = []
    on_fleet: list[Callable[[], None]] = []
    in_flight = place = 0

    def looked() -> None:
        tidy(limits)
        for limiter in limits:
            limiter.look()  # what waits for a dead replica may go to one that joined
        for call in on_fleet:
            call()

    for model in spec.all_models:
        if model.provider == "recorded":
            from scorer.client.recorded import Recorded

            clients[model.alias] = Recorded(
                path=model.place or "", keys=model.keys, replies=model.replies or "", where=model.where
            )
            in_flight += 64
            continue
        secrets = Secrets(secrets_of(model))
        command = await asked_key(model, secrets)
        account = aws_account(model)
        endpoints = ModelEndpoints(
            model,
            spec.limits,
            place,
            key=command.key if command is not None else None,
            account=account,
            served=_served(model, stack, checks, share.served),
            share=share,
            caps=caps,
            clock=clock,
            limiters=limits,
        )
        place += endpoints.places
        addresses = await endpoints.addresses()
        most = sum(map(endpoints.most, addresses))
        loopback = all(on_this_machine(address.url) for address in addresses)
        wire = await stack.enter_async_context(
            transport(
                connections=MOST_RAISED * most * (1 if endpoints.discovery is None else MOST_REPLICAS),
                timeout_s=model.timeout_s,
                proxies=not loopback,
                room=caps,
                say=lambda sentence: limits[0].note(sentence),
            )
        )
        if account is not None:
            wire = account.signing(wire)
        if command is not None:
            from scorer.client.key_command import KeyCommandTransport

            wire = KeyCommandTransport(wire, command, command.key)
        if secrets:
            wire = SecretBlankingTransport(wire, secrets)
        clients[model.alias] = client = HttpClient(
            [endpoints.make(address) for address in addresses],
            wire,
            ModelTerms(
                tier_prices(model),
                most_output(model),
                window(model),
                model.tier,
                _fallback(model),
                prompt_cache(model, clock),
            ),
            retries=model.retries,
            clock=clock,
            timeout_s=model.timeout_s,
            hedge=spec.limits.hedge,
        )
        in_flight += most
        if endpoints.discovery is not None:
            from scorer.client.fleet import Fleet

            fleets.append(
                Fleet(client, endpoints.discovery, endpoints.join, looked, lambda sentence: limits[0].note(sentence))
            )
    whole = next(iter(clients.values())) if len(clients) == 1 else ModelRouter(clients)
    return Assembled(whole, limits, in_flight, checks, fleets, on_fleet)


def _served(
    model: Model, stack: AsyncExitStack, checks: list[Callable[[], None]], served: Mapping[str, str]
) -> str | None:
    """The address of the model's embedded judge, started here unless it runs already; None for any other model."""
    return None if model.provider != "embedded" else served.get(model.alias) or _serve(model, stack, checks)


def _fallback(model: Model) -> TierFallback | None:
    given = model.tier_fallback
    return None if given is None or model.tier == "standard" else TierFallback(given.after_s, given.share)


def prompt_cache(model: Model, clock: Callable[[], float], *, lasting: bool = False) -> PromptCache | None:
    """Chooses the prefixes that the model's provider is to cache, for an hour if `lasting`; None without it."""
    return PromptCache(least_tokens(model.name or ""), clock, lasting=lasting) if model.cache == "auto" else None


def serve_embedded(spec: Spec, stack: AsyncExitStack, checks: list[Callable[[], None]]) -> dict[str, str]:
    """Starts the embedded judge of each model that asks for one; their addresses by alias. They end with `stack`."""
    return {model.alias: _serve(model, stack, checks) for model in spec.all_models if model.provider == "embedded"}


def _serve(model: Model, stack: AsyncExitStack, checks: list[Callable[[], None]]) -> str:
    from scorer.client.llamacpp_server import EmbeddedServer

    server = stack.enter_context(EmbeddedServer(model.place, name=model.name))
    checks.append(server.check)
    return server.url


def raw_of(keep: bool | str) -> Callable[[Completion], str] | None:
    """The function from a reply to what `output.keep_raw` stores of it; None where nothing is stored."""
    if keep == "full":
        return lambda completion: completion.body.decode("utf-8", "replace") or completion.text
    return attrgetter("text") if keep else None
