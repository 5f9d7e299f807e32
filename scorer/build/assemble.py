"""Constructs clients, limiters, transports and embedded servers from a checked spec. plan.py checks it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import field
from typing import Any

from scorer.build.endpoints import all_rate_limits, base_of, concurrency, on_this_machine, rate_limits
from scorer.build.keys import AwsAccount, asked_key, aws_account, key_header, key_of, resolved, secrets_of
from scorer.client.blanking import SecretBlankingTransport, Secrets
from scorer.client.cache_leaders import CacheLeaders
from scorer.client.client import Endpoint, HttpClient, ModelRouter, ModelTerms
from scorer.client.key_command import KeyCommandTransport
from scorer.client.prompt_cache import BYTES_A_TOKEN, PromptCache, least_tokens
from scorer.client.providers import APIS, LEAST_OUTPUT, PROVIDERS
from scorer.client.providers.reasoning import room_for
from scorer.client.tiers import TierFallback
from scorer.client.tokens import Counter, SampledCounter, encoding_for
from scorer.client.transport import HttpTransport
from scorer.config.model_prices import tier_prices, window
from scorer.config.spec import Limits, Model, Rates, Spec
from scorer.errors import SpecError
from scorer.frozen import dataclass
from scorer.limits import Budget, LocalLimiter, RateLimits
from scorer.plugins import found, made
from scorer.types import Client, Completion, Transport

MOST_RAISED = 4
"""Requests in flight may be raised to so many times their number at the start while a run goes on."""
ROOM_FOR_TEXT = 64 * 1024 * 1024
"""Bytes of row text in flight at once."""

MakeTransport = Callable[..., AbstractAsyncContextManager[Transport]]
"""The constructor of `HttpTransport`, or of the simulation's transport."""


def load(target: str, key: str, known: Mapping[str, str]) -> Callable[..., Any]:
    """The class behind a name of `known`, or behind an import path "package.module:Name"."""
    if ":" not in target:
        raise SpecError(
            [f'{key} = "{target}" is unknown. Allowed: {", ".join(known)}, or an import path "package.module:Name".']
        )
    make = found(target, key)
    try:
        inspect.signature(make)
    except (TypeError, ValueError) as error:
        raise SpecError([f'{key} = "{target}" does not say which arguments it takes: {error}.']) from error
    return make


SAMPLED_FROM = 30_000_000
"""Where all limits are at least so many tokens a minute, not every text is counted: in each second 1,700 requests of
300 tokens may go out, and the sum of their estimates is right within 1 %. Below it, counting takes 7 % of a core."""


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
class WorkerShare:
    """A worker's share of a run: worker `number` of `of`, with an even share of the requests in flight.

    `limit` makes the limiter of an endpoint. `served` has the addresses, by alias, of embedded judges that the
    coordinator started.
    """

    number: int = 0
    of: int = 1
    limit: Callable[[RateLimits, Budget], LocalLimiter] = LocalLimiter
    served: Mapping[str, str] = field(default_factory=dict)

    def places(self, total: int) -> int:
        """This worker's part of `total` requests in flight. The parts of all workers sum up to `total`."""
        return total // self.of + (self.number < total % self.of)


WHOLE_RUN = WorkerShare()


@dataclass(frozen=True, slots=True)
class Assembled:
    """A client, the limiters of its endpoints, and the most requests in flight in all by the run file.

    Each of `checks` raises SetupError once a server that the run started has ended.
    """

    client: Client
    limits: list[LocalLimiter]
    in_flight: int
    checks: list[Callable[[], None]]

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
    in_flight = 0
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
        key = command.key if command is not None else None
        account = aws_account(model)
        addresses = _addresses(model, spec.limits, stack, checks, share.served, key, account)
        places = [share.places(concurrency(rates, model.provider)) for _, _, rates in addresses]
        loopback = all(on_this_machine(url) for url, _, _ in addresses)
        wire = await stack.enter_async_context(
            transport(
                connections=MOST_RAISED * sum(places),
                timeout_s=model.timeout_s,
                proxies=not loopback,
                room=caps,
                say=lambda sentence: limits[0].note(sentence),
            )
        )
        if account is not None:
            wire = account.signing(wire)
        if command is not None:
            wire = KeyCommandTransport(wire, command, command.key)
        if secrets:
            wire = SecretBlankingTransport(wire, secrets)
        endpoints = []
        for (url, headers, rates), most in zip(addresses, places, strict=True):
            local = share.limit(rate_limits(rates, spec.limits.burst_s, most), caps)
            limits.append(local)
            provider = make_provider(model, url, headers)
            if ":" not in model.provider:
                provider.learned.tell = local.note
            endpoints.append(Endpoint(provider, local, weight=most, leaders=_leaders(model, provider, local, clock)))
        clients[model.alias] = HttpClient(
            endpoints,
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
        in_flight += sum(places)
    client = next(iter(clients.values())) if len(clients) == 1 else ModelRouter(clients)
    return Assembled(client, limits, in_flight, checks)


def _fallback(model: Model) -> TierFallback | None:
    given = model.tier_fallback
    return None if given is None or model.tier == "standard" else TierFallback(given.after_s, given.share)


def prompt_cache(model: Model, clock: Callable[[], float], *, lasting: bool = False) -> PromptCache | None:
    """Chooses the prefixes that the model's provider is to cache, for an hour if `lasting`; None without it."""
    return PromptCache(least_tokens(model.name or ""), clock, lasting=lasting) if model.cache == "auto" else None


def _leaders(model: Model, provider: Any, local: LocalLimiter, clock: Callable[[], float]) -> CacheLeaders | None:
    if model.cache == "none":
        return None
    warning = (
        f'model.cache = "auto": replies of {provider!r} read nothing from a cache where they should. Requests do not '
        "wait for one another there any more."
    )
    return CacheLeaders(clock, least_tokens(model.name or "") * BYTES_A_TOKEN, lambda: local.note(warning))


def temperature(model: Model) -> float | None:
    """The temperature as given, else 0; None for model families that refuse the parameter."""
    if model.temperature is not None or model.provider not in PROVIDERS:
        return model.temperature or 0.0
    make = load(PROVIDERS[model.provider], "model.provider", PROVIDERS)
    default: float | None = make.default_temperature(model.name or "", model.reasoning)  # type: ignore[attr-defined]
    return default


def most_output(model: Model) -> int:
    """The most tokens of one reply, its reasoning included; a classifier generates none."""
    if model.classifies:
        return 0
    most = model.max_output_tokens + room_for(model.reasoning, model.name or "")
    return max(LEAST_OUTPUT, most) if model.api == "responses" else most


def provider_of(model: Model) -> Callable[..., Any]:
    """The provider class of the model. Raises SpecError where there is none, or where it has no address."""
    name = "openai" if model.provider == "embedded" else model.provider
    path = APIS.get(model.api) or PROVIDERS.get(name, name)
    make = load(path, "model.provider", PROVIDERS)
    if name not in PROVIDERS and not (model.base_url or model.endpoints or getattr(make, "default_base_url", None)):
        raise SpecError([f'model.base_url is missing: model.provider = "{name}" has no address of its own.'])
    return make


def make_provider(model: Model, base_url: str, headers: Mapping[str, str]) -> Any:
    """The provider of the model at one address."""
    make = provider_of(model)
    options = {
        "name": model.name or "embedded",
        "base_url": base_url,
        "headers": headers,
        "query": resolved(model.query, "model.query"),
        "extra": model.extra,
        "temperature": temperature(model),
        "max_output_tokens": model.max_output_tokens,
        "dialect": "llamacpp" if model.provider == "embedded" and model.dialect == "auto" else model.dialect,
    }
    if model.reasoning is not None:
        options["reasoning"] = model.reasoning
    if model.tier != "standard":
        options["tier"] = model.tier
    if ":" not in model.provider:
        return make(**options)
    return made(lambda: make(**options), model.provider, "model.provider", ("converse", "rate"))


def serve_embedded(spec: Spec, stack: AsyncExitStack, checks: list[Callable[[], None]]) -> dict[str, str]:
    """Starts the embedded judge of each model that asks for one; their addresses by alias. They end with `stack`."""
    return {model.alias: _serve(model, stack, checks) for model in spec.all_models if model.provider == "embedded"}


def _serve(model: Model, stack: AsyncExitStack, checks: list[Callable[[], None]]) -> str:
    from scorer.client.llamacpp_server import EmbeddedServer

    server = stack.enter_context(EmbeddedServer(model.place, name=model.name))
    checks.append(server.check)
    return server.url


def _addresses(
    model: Model,
    limits: Limits,
    stack: AsyncExitStack,
    checks: list[Callable[[], None]],
    served: Mapping[str, str],
    key: str | None,
    account: AwsAccount | None,
) -> list[tuple[str, dict[str, str], Rates]]:
    """Each endpoint's base URL, its headers with the key in them, and its limits; `key` is one that a command gave."""
    if model.provider == "embedded":
        url = served.get(model.alias) or _serve(model, stack, checks)
        return [(url, {}, endpoint.limits) for endpoint in model.all_endpoints(limits)]
    headers = resolved(model.headers, "model.headers")
    default: str = getattr(provider_of(model), "default_base_url", "https://api.openai.com/v1")
    found = []
    for endpoint in model.all_endpoints(limits):
        url = endpoint.base_url or (default if account is None else default.format(region=account.region))
        own_key = key or key_of(endpoint.api_key_env, url)
        found.append((base_of(url), {**key_header(model.provider, url, own_key), **headers}, endpoint.limits))
    return found


def raw_of(keep: bool | str) -> Callable[[Completion], str] | None:
    """The function from a reply to what `output.keep_raw` stores of it; None where nothing is stored."""
    if keep == "full":
        return lambda completion: completion.body.decode("utf-8", "replace") or completion.text
    return (lambda completion: completion.text) if keep else None
