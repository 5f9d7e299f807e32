"""The provider of one model: its class, its parameters, and what its model family takes. Sends nothing."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from scorer.build.keys import resolved
from scorer.client.providers import APIS, LEAST_OUTPUT, PROVIDERS
from scorer.client.providers.reasoning import room_for
from scorer.config.spec import Model
from scorer.errors import SpecError
from scorer.plugins import found, made


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
