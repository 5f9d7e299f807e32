"""Spec to parts, joined: the one place that chooses a judge, a provider, a client, limits."""

from __future__ import annotations

import importlib
import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from scorer.client import Endpoint, HttpClient, Panel
from scorer.errors import SetupError, SpecError
from scorer.judges import JUDGES
from scorer.limits import Caps, Local
from scorer.limits import Rates as Paces
from scorer.metrics import REFERENCE_FREE, unknown
from scorer.metrics.pool import Pool
from scorer.mistakes import shown
from scorer.prices import Price, price_of
from scorer.providers import PROVIDERS
from scorer.rehearsal.config import RehearsalConfig
from scorer.runfile import parse, resolve_references
from scorer.schema import RESULT_COLUMNS, Client, Completion, Judge, Result, Transport
from scorer.source import Columns
from scorer.spec import Limits, Model, Rates, Spec, covered, fingerprint
from scorer.store.segments import Measure
from scorer.tokens import Counter, encoding_for
from scorer.transport import HttpTransport

ROOM_FOR_TEXT = 64 * 1024 * 1024
"""Bytes of row text under way at once."""

MakeTransport = Callable[..., AbstractAsyncContextManager[Transport]]
"""Called as `HttpTransport` is; the simulation has another."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A spec that was checked: its judge, what its scores depend on, what to read of a row."""

    spec: Spec
    judge: Judge
    covers: Mapping[str, Any]
    fingerprint: str
    columns: Columns


def check(tree: Mapping[str, Any]) -> Plan:
    """The run file's tree as a plan. Raises SpecError with every mistake in it."""
    spec, problems = parse(tree)
    judge: Judge | None = None
    prompt: str | None = None
    if spec is not None:
        try:
            prompt = _prompt_text(spec)
            judge = make_judge(spec, prompt)
        except SpecError as error:
            problems += error.problems
        problems += _provider_problems(spec) + _price_problems(spec) + unknown(spec.metrics.names)
        problems += _rehearsal_problems(spec) + _panel_problems(spec)
        if judge is not None:
            problems += _column_problems(spec, judge)
    if problems or spec is None or judge is None:
        raise SpecError(list(dict.fromkeys(problems)))
    covers = covered(spec, prompt)
    kept = (*([spec.input.id] if spec.input.id else []), *spec.input.keep)
    keys = tuple(key for model in spec.all_models for key in model.keys)
    metrics = _measured(spec)
    judged = tuple(name for name in judge.columns if name not in keys)
    columns = Columns(read=tuple(dict.fromkeys((*judge.columns, *keys, *metrics))), judged=judged, kept=kept)
    try:
        return Plan(spec, judge, covers, fingerprint(covers), columns)
    except TypeError as error:
        raise SpecError([f"The run file holds a value that JSON has no place for: {error}. Take it out."]) from error


# --- the judge --------------------------------------------------------------------------------------------------------


def make_judge(spec: Spec, prompt: str | None) -> Judge:
    """The judge that `[judge]` asks for. Raises SpecError."""
    kind = spec.judge.kind
    make = _load(JUDGES.get(kind, kind), "judge.kind", JUDGES)
    options = dict(spec.judge.options)
    if prompt is not None:
        options["prompt"] = prompt
    taken = inspect.signature(make).parameters
    if keys := tuple(key for model in spec.all_models for key in model.keys):
        options["keys"] = keys
    if "temperature" in taken and spec.all_models:
        options["temperature"] = _temperature(spec.all_models[0])
    if not any(p.kind is p.VAR_KEYWORD for p in taken.values()):
        unknown = [name for name in options if name not in taken]
        if unknown:
            known = ", ".join(name for name in taken if name not in ("keys", "temperature"))
            raise SpecError(
                [
                    f"judge.{name} = {shown(name, options[name])} is no option of kind = {kind!r}. Known: {known}."
                    for name in unknown
                ]
            )
    try:
        judge: Judge = make(**options)
    except TypeError as error:
        raise SpecError([f"[judge] kind = {kind!r} cannot be made so: {error}."]) from error
    return judge


def _load(target: str, key: str, known: Mapping[str, str]) -> Callable[..., Any]:
    """The class behind a name of `known`, or behind an import path "package.module:Name"."""
    module, colon, name = target.partition(":")
    if not colon:
        raise SpecError(
            [f'{key} = "{target}" is unknown. Allowed: {", ".join(known)}, or an import path "package.module:Name".']
        )
    try:
        found: Callable[..., Any] = getattr(importlib.import_module(module), name)
        inspect.signature(found)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise SpecError([f'{key} = "{target}" cannot be imported: {error}. Is its package installed here?']) from error
    return found


def _prompt_text(spec: Spec) -> str | None:
    if spec.judge.prompt_file is None:
        return None
    if "prompt" in spec.judge.options:
        raise SpecError(["judge.prompt and judge.prompt_file are both given: keep one of them."])
    try:
        return Path(spec.judge.prompt_file).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(
            [f'judge.prompt_file = "{spec.judge.prompt_file}" cannot be read ({error}). Give a UTF-8 text file.']
        ) from error


def _provider_problems(spec: Spec) -> list[str]:
    known = (*PROVIDERS, "embedded", "recorded")
    return [
        f'model.provider = "{model.provider}" is unknown. Allowed: {", ".join(known)}, or an import path '
        '"package.module:Name".'
        for model in spec.all_models
        if model.provider not in known and ":" not in model.provider
    ]


def _price_problems(spec: Spec) -> list[str]:
    if spec.limits.max_usd is None:
        return []
    return [
        f'limits.max_usd = {spec.limits.max_usd:g} needs a price and none is known for "{model.name}". Add '
        "model.price = {input = ..., output = ...} in USD per million tokens."
        for model in spec.all_models
        if model.provider not in ("recorded", "embedded") and price(model) is None
    ]


def _panel_problems(spec: Spec) -> list[str]:
    """A panel asks models by their aliases; any other judge asks one model."""
    aliases = [model.alias for model in spec.models]
    asked = spec.judge.options.get("models")
    if spec.judge.kind == "panel" and isinstance(asked, list | tuple):
        return [
            f'judge.models: "{name}" is the alias of no [[models]]. Known: {", ".join(aliases) or "none"}.'
            for name in asked
            if name not in aliases
        ]
    if len(aliases) > 1 and spec.judge.kind in JUDGES:
        return [f'judge.kind = "{spec.judge.kind}" asks one model, and [[models]] lists {len(aliases)}: keep one.']
    return []


def _rehearsal_problems(spec: Spec) -> list[str]:
    try:
        RehearsalConfig().changed(spec.rehearsal)
    except SpecError as error:
        return [f"[rehearsal] {problem}" for problem in error.problems]
    return []


def _column_problems(spec: Spec, judge: Judge) -> list[str]:
    taken = {*RESULT_COLUMNS, "id", *(field.name for field in judge.fields)}
    return [
        f"input.keep: {name!r} is the name of a result column. Rename it in the input; it cannot be kept so."
        for name in spec.input.keep
        if name in taken
    ]


# --- models -----------------------------------------------------------------------------------------------------------


def price(model: Model) -> Price | None:
    """What the model's tokens cost: the run file's word, else the built-in table's, None where nobody knows."""
    if model.price is not None:
        return Price(model.price.input, model.price.output, model.price.cached_input)
    if model.provider in ("embedded", "recorded"):
        return Price(0.0, 0.0)
    return price_of(model.name or "")


def counter(spec: Spec) -> Counter:
    """Counts tokens as the first model does, where some limit needs it; else estimates from bytes."""
    limits = spec.limits
    needed = (limits.tokens_per_minute, limits.input_tokens_per_minute, limits.max_tokens, limits.max_usd)
    model = spec.all_models[0]
    exact = any(needed) and model.provider not in ("embedded", "recorded")
    return Counter(encoding_for(model.name or "") if exact else None)


def concurrency(rates: Rates, provider: str) -> int:
    """The most requests in flight: as given, else what the requests a minute keep busy at 10 s each.

    Between 8 and 1,024; "auto" finds its own number up to 1,024.
    """
    if isinstance(rates.concurrency, int):
        return rates.concurrency
    if rates.concurrency == "auto":
        return 1024
    if provider == "embedded":
        return 2  # one slot works, one request waits at its door
    if rates.requests_per_minute is not None:
        return int(min(1024, max(8, rates.requests_per_minute / 60 * 10)))
    return 64


@dataclass(frozen=True, slots=True)
class Wires:
    """A client, the limits of its endpoints, how many requests may be in flight in all, and what may die beside it.

    Each of `checks` raises SetupError once a server that the run itself started has ended.
    """

    client: Client
    limits: list[Local]
    in_flight: int
    checks: list[Callable[[], None]]


async def make_client(
    spec: Spec, caps: Caps, stack: AsyncExitStack, clock: Callable[[], float], transport: MakeTransport = HttpTransport
) -> Wires:
    """A client for the spec's models and what belongs to it; `transport` makes what posts.

    What it starts (an embedded server, an HTTP session) ends with `stack`. Raises SetupError, SpecError.
    """
    clients: dict[str, Client] = {}
    limits: list[Local] = []
    checks: list[Callable[[], None]] = []
    in_flight = 0
    for model in spec.all_models:
        if model.provider == "recorded":
            from scorer.recorded import Recorded

            clients[model.alias] = Recorded(
                path=model.path or "", keys=model.keys, replies=model.replies or "", where=model.where
            )
            in_flight += 64
            continue
        addresses = _addresses(model, spec.limits, stack, checks)
        places = [concurrency(rates, model.provider) for _, _, rates in addresses]
        loopback = all(url.startswith(("http://127.", "http://localhost")) for url, _, _ in addresses)
        wire = await stack.enter_async_context(
            transport(connections=sum(places), timeout_s=model.timeout_s, proxies=not loopback)
        )
        endpoints = []
        for (url, headers, rates), most in zip(addresses, places, strict=True):
            local = Local(_paces(rates, spec.limits.burst_s, most), caps)
            limits.append(local)
            endpoints.append(Endpoint(make_provider(model, url, headers), local, weight=most))
        clients[model.alias] = HttpClient(
            endpoints,
            wire,
            price(model),
            max_output_tokens=model.max_output_tokens,
            retries=model.retries,
            clock=clock,
            hedge=spec.limits.hedge,
        )
        in_flight += sum(places)
    client = next(iter(clients.values())) if len(clients) == 1 else Panel(clients)
    return Wires(client, limits, in_flight, checks)


def _temperature(model: Model) -> float | None:
    """As given, else 0; None for families that refuse to be told one, and sample as they please."""
    if model.temperature is not None or model.provider not in PROVIDERS:
        return model.temperature or 0.0
    make = _load(PROVIDERS[model.provider], "model.provider", PROVIDERS)
    default: float | None = getattr(make, "default_temperature", lambda _: 0.0)(model.name or "")
    return default


def make_provider(model: Model, base_url: str, headers: Mapping[str, str]) -> Any:
    """Who speaks the model's dialect at one address."""
    name = "openai" if model.provider == "embedded" else model.provider
    make = _load(PROVIDERS.get(name, name), "model.provider", PROVIDERS)
    return make(
        name=model.name or "embedded",
        base_url=base_url,
        headers=headers,
        query=_resolved(model.query, "model.query"),
        extra=model.extra,
        temperature=_temperature(model),
        max_output_tokens=model.max_output_tokens,
        dialect="llamacpp" if model.provider == "embedded" and model.dialect == "auto" else model.dialect,
    )


def _addresses(
    model: Model, limits: Limits, stack: AsyncExitStack, checks: list[Callable[[], None]]
) -> list[tuple[str, dict[str, str], Rates]]:
    """Each endpoint's base URL, its headers with the key in them, and its limits."""
    if model.provider == "embedded":
        from scorer.embedded import EmbeddedServer

        server = stack.enter_context(EmbeddedServer(model.path, name=model.name))
        checks.append(server.check)
        return [(server.url, {}, limits)]
    headers = _resolved(model.headers, "model.headers")
    listed = [(e.base_url, e.api_key_env or model.api_key_env, e.limits) for e in model.endpoints]
    if not listed:
        default = "https://api.anthropic.com/v1" if model.provider == "anthropic" else "https://api.openai.com/v1"
        listed = [(model.base_url or default, model.api_key_env, limits)]
    return [(url, {**_key_header(model.provider, url, name), **headers}, rates) for url, name, rates in listed]


def _key_header(provider: str, url: str, variable: str | None) -> dict[str, str]:
    if variable is None:
        return {}
    key = os.environ.get(variable, "").strip()
    if not key:
        raise SetupError(
            f'model.api_key_env = "{variable}": that environment variable is not set. Put the key of {url} in it, or '
            "name another one."
        )
    if provider == "anthropic":
        return {"x-api-key": key}
    host = url.split("/")[2].partition(":")[0]
    return {"api-key": key} if host.endswith(".azure.com") else {"Authorization": f"Bearer {key}"}


def _resolved(values: Mapping[str, str], where: str) -> dict[str, str]:
    resolved, missing = resolve_references(values)
    if missing:
        raise SetupError(f"{where} refers to environment variables that are not set: {', '.join(missing)}. Set them.")
    return resolved


def _paces(rates: Rates, burst_s: float, most: int) -> Paces:
    return Paces(
        requests_per_minute=rates.requests_per_minute,
        tokens_per_minute=rates.tokens_per_minute,
        input_tokens_per_minute=rates.input_tokens_per_minute,
        output_tokens_per_minute=rates.output_tokens_per_minute,
        burst_s=burst_s,
        concurrency=None if rates.concurrency == "auto" else most,
        most=most,
    )


# --- results ----------------------------------------------------------------------------------------------------------


def _measured(spec: Spec) -> tuple[str, ...]:
    """The columns that the automatic metrics read: the reference only where one of them needs it."""
    names = spec.metrics.names
    needed = (spec.metrics.response, spec.metrics.reference)
    return needed if set(names) - REFERENCE_FREE else needed[: bool(names)]


def make_measure(spec: Spec, stack: AsyncExitStack) -> Measure | None:
    """The automatic metrics of a run, their processes started and ended with `stack`. Raises SpecError."""
    if not spec.metrics.names:
        return None
    pool = stack.enter_context(Pool(spec.metrics.names))

    def measure(results: Sequence[Result]) -> dict[str, list[float | None]]:
        texts = [[_text(r.row.values.get(column)) for r in results] for column in _measured(spec)]
        columns = pool.columns(texts[0], texts[-1])
        return {f"metric_{name}": column for name, column in columns.items()}

    return measure


def _text(value: object) -> str | None:
    return value if value is None or isinstance(value, str) else str(value)


def kept_fields(plan: Plan, shard_schema: pa.Schema) -> tuple[pa.Field | None, list[pa.Field]]:
    """The input's fields behind `input.id` and `input.keep`."""
    given = plan.spec.input
    return (
        shard_schema.field(given.id) if given.id else None,
        [shard_schema.field(name) for name in given.keep],
    )


def raw_of(keep: bool | str) -> Callable[[Completion], str] | None:
    """What to keep of a reply, as `output.keep_raw` says."""
    if keep == "full":
        return lambda completion: completion.body.decode("utf-8", "replace") or completion.text
    return (lambda completion: completion.text) if keep else None
