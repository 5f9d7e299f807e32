"""Checks the keys of each model beside one another: provider, API, reasoning, service tier, cache, price.

Each function returns one sentence for each mistake.
"""

from __future__ import annotations

import inspect
from contextlib import suppress

from scorer.build.keys import has_key
from scorer.build.model_provider import provider_of
from scorer.client.providers import PROVIDERS
from scorer.config.messages import shown
from scorer.config.model_prices import price
from scorer.config.spec import Model, Spec
from scorer.errors import SpecError
from scorer.judges import JUDGES


def model_problems(spec: Spec) -> list[str]:
    """The mistakes in the keys of the models."""
    problems = _provider_problems(spec) + _classifier_problems(spec) + _reasoning_problems(spec)
    problems += _price_problems(spec) + _extra_problems(spec)
    return problems + _tier_problems(spec) + _cache_problems(spec)


def _provider_problems(spec: Spec) -> list[str]:
    known = (*PROVIDERS, "embedded", "recorded")
    problems = [
        f'model.provider = "{model.provider}" is unknown. Allowed: {", ".join(known)}, or an import path '
        '"package.module:Name".'
        for model in spec.all_models
        if model.provider not in known and ":" not in model.provider
    ]
    for model in spec.all_models:
        try:
            if ":" in model.provider:
                provider_of(model)
            if model.provider == "bedrock" and not has_key(model):
                from scorer.client.aws_signing import check_installed

                check_installed()
        except SpecError as error:
            problems += error.problems
    return problems


FORMS = {"classify": ("chat", "text"), "pooling": ("chat", "text"), "score": ("pair",), "predict": ("text", "pair")}
"""The forms of a reward judge's requests that each API of classifiers takes."""


def _classifier_problems(spec: Spec) -> list[str]:
    """Mistakes in `model.api` beside `judge.kind`: a classifier writes no text, and only it gives values of classes."""
    rewards, problems = spec.judge.kind == "reward", []
    form = spec.judge.options.get("form", "chat")
    for model in spec.all_models:
        where = f"{model.section}.api"
        if not rewards and spec.judge.kind in JUDGES and model.classifies:
            problems.append(
                f'{where} = "{model.api}" gives the values of a classifier, and judge.kind = "{spec.judge.kind}" reads '
                'none. Set judge.kind = "reward", or leave it out.'
            )
        elif rewards and not model.classifies and model.provider in PROVIDERS:
            problems.append(
                f'{where} = "{model.api}" writes text, and judge.kind = "reward" needs the values of a classifier. '
                f"Allowed: {', '.join(FORMS)}."
            )
        elif rewards and model.provider == "embedded":
            problems.append('model.provider = "embedded" writes text; judge.kind = "reward" needs a classifier.')
        elif rewards and model.classifies and form not in FORMS[model.api]:
            allowed = " and ".join(f'"{one}"' for one in FORMS[model.api])
            problems.append(f'judge.form = "{form}" is not taken by {where} = "{model.api}". Allowed: {allowed}.')
    return problems


def _reasoning_problems(spec: Spec) -> list[str]:
    """What is wrong with `model.reasoning` beside the other keys of its model."""
    problems: list[str] = []
    for model in spec.all_models:
        if model.reasoning is None:
            continue
        shown_value = shown("model.reasoning", model.reasoning)
        if model.provider in ("embedded", "recorded"):
            problems.append(
                f'model.reasoning = {shown_value} does not go with model.provider = "{model.provider}", which does not '
                "reason. Remove it."
            )
        elif model.provider in ("anthropic", "bedrock"):
            problems += provider_of(model).problems(model.temperature, model.reasoning)  # type: ignore[attr-defined]
        elif ":" in model.provider and not _takes(model, "reasoning"):
            problems.append(
                f'model.reasoning = {shown_value}: model.provider = "{model.provider}" takes no argument '
                "`reasoning`. Remove it, or put its own key into model.extra."
            )
    return problems


def _extra_problems(spec: Spec) -> list[str]:
    """The keys of `model.extra` that would put one text in place of every row's prompt, or send the reply in parts."""
    problems: list[str] = []
    for model in (model for model in spec.all_models if model.provider in PROVIDERS):
        where = f"{model.section}.extra"
        problems += [
            f"{where}.{key} would stand in place of every row's prompt. Write it into judge.prompt or judge.system."
            for key in ("messages", "input", "prompt")
            if key in model.extra
        ]
        if model.extra.get("stream"):
            problems.append(f"{where}.stream: replies are read whole, not in parts. Take it out.")
    return problems


def _tier_problems(spec: Spec) -> list[str]:
    """What is wrong with `model.tier` and `model.tier_fallback` beside the other keys of their model."""
    problems: list[str] = []
    for model in spec.all_models:
        where = model.section
        unasked = model.tier == "priority" or "tier" not in model.model_fields_set
        if model.tier_fallback is not None and unasked:
            problems.append(
                f'{where}.tier_fallback says when a request leaves the tier "flex", and {where}.tier = "{model.tier}". '
                f'Set {where}.tier = "flex", or leave {where}.tier_fallback out.'
            )
        if model.tier == "standard":
            continue
        said = f'{where}.tier = "{model.tier}"'
        if model.provider in ("embedded", "recorded") or model.classifies:
            problems.append(f"{said} does not go with this model, which has no service tiers. Remove it.")
        elif spec.judge.kind == "likelihood":
            problems.append(f'{said} does not go with judge.kind = "likelihood", whose requests take none. Remove it.')
        elif model.provider == "anthropic" and model.tier == "flex":
            problems.append(f'{said}: Anthropic has no such tier. Allowed: "standard", "priority".')
        elif ":" in model.provider and not _takes(model, "tier"):
            problems.append(
                f'{said}: model.provider = "{model.provider}" takes no argument `tier`. Remove it, or put its '
                "own key into model.extra."
            )
        if own := {"service_tier", "serviceTier"} & model.extra.keys():
            problems.append(f"{said} and {where}.extra.{own.pop()} say the same. Remove the latter.")
    return problems


def _cache_problems(spec: Spec) -> list[str]:
    """What is wrong with `model.cache` beside the other keys of its model."""
    problems: list[str] = []
    for model in spec.all_models:
        said = f'{model.section}.cache = "{model.cache}"'
        if model.cache == "none":
            continue
        if model.provider in ("embedded", "recorded") or model.classifies:
            problems.append(f"{said} does not go with this model, whose requests name no cache. Remove it.")
        elif spec.judge.kind == "likelihood":
            problems.append(f'{said} does not go with judge.kind = "likelihood", whose requests name none. Remove it.')
        elif "prompt_cache_key" in model.extra:
            problems.append(f"{said} chooses the key of each prompt. Remove model.extra.prompt_cache_key.")
    return problems


def _price_problems(spec: Spec) -> list[str]:
    problems: list[str] = []
    for model in spec.all_models:
        try:
            known = price(model) is not None
        except SpecError as error:
            problems += error.problems
            continue
        if spec.limits.max_usd is not None and not known:
            problems.append(
                f'limits.max_usd = {spec.limits.max_usd:g} needs a price and none is known for "{model.name}". Add '
                "model.price = {input = ..., output = ...} in USD per million tokens, or a model.price_file with it."
            )
    return problems


def _takes(model: Model, argument: str) -> bool:
    """Whether a provider given by its import path takes an argument; True also where it cannot be imported."""
    with suppress(SpecError):
        return argument in inspect.signature(provider_of(model)).parameters
    return True
