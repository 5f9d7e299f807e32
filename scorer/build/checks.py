"""Checks a spec beyond its single keys: provider, price, panel, deduplication, rehearsal, publishing, result columns.

Each function returns one sentence for each mistake.
"""

from __future__ import annotations

import inspect
import io
from contextlib import suppress

import pyarrow as pa
import pyarrow.parquet as pq

from scorer.build.address_checks import address_problems
from scorer.build.keys import has_key
from scorer.build.model_provider import provider_of, temperature
from scorer.client.aws_signing import check_installed
from scorer.client.providers import PROVIDERS
from scorer.config.messages import shown
from scorer.config.model_prices import price
from scorer.config.spec import Spec
from scorer.errors import SpecError
from scorer.judges import JUDGES
from scorer.metrics import problems as metric_problems
from scorer.output.schema import RESULT_COLUMNS
from scorer.types import Judge


def spec_problems(spec: Spec) -> list[str]:
    """The mistakes in a spec, apart from its judge."""
    problems = _provider_problems(spec) + _classifier_problems(spec) + _reasoning_problems(spec) + _price_problems(spec)
    problems += _tier_problems(spec) + _cache_problems(spec) + _batch_problems(spec) + _canary_problems(spec)
    problems += metric_problems(spec.metrics.names, spec.metrics.options)
    problems += _rehearsal_problems(spec) + _panel_problems(spec) + _publish_problems(spec)
    return problems + dedupe_problems(spec) + address_problems(spec)


def judge_problems(spec: Spec, judge: Judge) -> list[str]:
    """The mistakes in the result columns of a judge and in the kept columns."""
    return _column_problems(spec, judge) + _field_problems(spec, judge)


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
        where = f"models.{model.alias}.api" if model.alias else "model.api"
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
        elif ":" in model.provider:
            with suppress(SpecError):
                if "reasoning" not in inspect.signature(provider_of(model)).parameters:
                    problems.append(
                        f'model.reasoning = {shown_value}: model.provider = "{model.provider}" takes no argument '
                        "`reasoning`. Remove it, or put its own key into model.extra."
                    )
    return problems


def _tier_problems(spec: Spec) -> list[str]:
    """What is wrong with `model.tier` and `model.tier_fallback` beside the other keys of their model."""
    problems: list[str] = []
    for model in spec.all_models:
        where = f"models.{model.alias}" if model.alias else "model"
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
        elif ":" in model.provider:
            with suppress(SpecError):
                if "tier" not in inspect.signature(provider_of(model)).parameters:
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
        said = f'{f"models.{model.alias}" if model.alias else "model"}.cache = "{model.cache}"'
        if model.cache == "none":
            continue
        if model.provider in ("embedded", "recorded") or model.classifies:
            problems.append(f"{said} does not go with this model, whose requests name no cache. Remove it.")
        elif spec.judge.kind == "likelihood":
            problems.append(f'{said} does not go with judge.kind = "likelihood", whose requests name none. Remove it.')
        elif "prompt_cache_key" in model.extra:
            problems.append(f"{said} chooses the key of each prompt. Remove model.extra.prompt_cache_key.")
    return problems


def _batch_problems(spec: Spec) -> list[str]:
    """What is wrong with `model.mode` and `limits.deadline` beside the other keys."""
    problems: list[str] = []
    online = [model for model in spec.all_models if model.mode == "online"]
    if spec.limits.deadline is not None and not spec.batched:
        problems.append(
            f'limits.deadline = "{spec.limits.deadline}" is when provider batches are cancelled, and there are none. '
            'Set model.mode = "batch", or leave it out.'
        )
    for model in spec.all_models if spec.batched else ():
        where = f"models.{model.alias}" if model.alias else "model"
        said = f'{where}.mode = "{model.mode}"'
        if online:
            if model.mode == "online":
                problems.append(f'{said}, and another model has mode = "batch". Give all of them the same mode.')
        elif model.provider not in ("openai", "anthropic") or model.classifies:
            problems.append(
                f'{said} does not go with model.provider = "{model.provider}", model.api = "{model.api}". Batches are '
                'spoken with provider = "openai" (chat, responses) and "anthropic".'
            )
        elif model.fleet is not None or len(model.all_endpoints(spec.limits)) > 1:
            problems.append(
                f"{said}: a batch belongs to one account, at one address. Give {where}.base_url instead of several."
            )
        elif model.tier != "standard":
            problems.append(
                f'{said} and {where}.tier = "{model.tier}": a batch has one price, whatever tier its requests name. '
                "Remove one of the two."
            )
    if spec.batched and spec.judge.kind == "likelihood":
        problems.append(
            'model.mode = "batch" does not go with judge.kind = "likelihood": no batch API gives the log-probabilities '
            "of a given text. Leave model.mode out."
        )
    return problems


def _canary_problems(spec: Spec) -> list[str]:
    """What is wrong with [canary] beside the rest of the run file."""
    canary = spec.canary
    if canary is None:
        return []
    from scorer.analysis.score_range import scale_of_judge

    problems = []
    if (canary.human is None) == (canary.score is None):
        problems.append(
            "canary: give either canary.human, the column of what people said of the known rows, or canary.score, the "
            "column of what this judge said of them before."
        )
    if canary.range is None and scale_of_judge({"kind": spec.judge.kind, **spec.judge.options}, "score") is None:
        problems.append(
            f'canary.range is missing: scores of judge.kind = "{spec.judge.kind}" have no known ends. Give the '
            "distance of two scores that is a loss of 1."
        )
    if spec.judge.dedupe:
        problems.append("[canary] does not go with judge.dedupe, which would not ask a known row twice. Remove one.")
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


def _panel_problems(spec: Spec) -> list[str]:
    """Mistakes in the number of models and their aliases: only panel and cascade take several, by their aliases."""
    aliases = [model.alias for model in spec.models]
    asked = spec.judge.options.get("models")
    if spec.judge.kind in ("panel", "cascade") and isinstance(asked, list | tuple):
        return [
            f'judge.models: no [[models]] has the alias "{name}". Known: {", ".join(aliases) or "none"}.'
            for name in asked
            if name not in aliases
        ]
    if len(aliases) > 1 and spec.judge.kind in JUDGES:
        return [f'judge.kind = "{spec.judge.kind}" takes one model, and [[models]] lists {len(aliases)}: keep one.']
    return []


def dedupe_problems(spec: Spec) -> list[str]:
    """Mistakes of `judge.dedupe`: copies need temperature 0. `[model] extra` overrides the temperature."""
    if not spec.judge.dedupe:
        return []
    problems = []
    for model in spec.all_models:
        where = f"models.{model.alias}" if model.alias else "model"
        key = f"{where}.extra.temperature" if "temperature" in model.extra else f"{where}.temperature"
        found = model.extra.get("temperature", temperature(model))
        if found is None or found != 0:
            said = f'"{model.name}" takes no temperature' if found is None else f"{key} = {shown(key, found)}"
            problems.append(
                "judge.dedupe = true copies answers, which are repeatable only at temperature 0; "
                f"{said}. Set {key} = 0, or leave judge.dedupe out."
            )
    return problems


def _rehearsal_problems(spec: Spec) -> list[str]:
    if not spec.rehearsal:
        return []
    from scorer.rehearsal.config import RehearsalConfig

    try:
        RehearsalConfig().changed(spec.rehearsal)
    except SpecError as error:
        return [f"[rehearsal] {problem}" for problem in error.problems]
    return []


def _publish_problems(spec: Spec) -> list[str]:
    """Mistakes in `output.publish` and `output.partition_by`. A table that cannot be reached stops no run."""
    if spec.output.publish is None:
        return ["output.partition_by needs output.publish."] if spec.output.partition_by else []
    from scorer.publish.publish import publisher

    try:
        publisher(spec.output.publish, spec.output.partition_by)
    except SpecError as error:
        return [f"output.publish: {problem}" for problem in error.problems]
    return []


def _column_problems(spec: Spec, judge: Judge) -> list[str]:
    taken = {*RESULT_COLUMNS, "id", *(field.name for field in judge.fields)}
    return [
        f"input.keep: {name!r} is the name of a result column. Rename it in the input, or leave it out."
        for name in spec.input.keep
        if name in taken
    ]


def _field_problems(spec: Spec, judge: Judge) -> list[str]:
    """Mistakes in the result columns that a plug-in judge declares."""
    names = [field.name for field in judge.fields]
    where = f"judge.kind = {spec.judge.kind!r}"
    problems = [
        f"{where} adds a column {name!r}, which is the name of another result column. Give it another name."
        for name in dict.fromkeys(names)
        if name in {*RESULT_COLUMNS, "id"} or names.count(name) > 1
    ]
    for field in judge.fields:
        try:
            pq.write_table(pa.schema([field]).empty_table(), io.BytesIO())
        except pa.ArrowException as error:
            problems.append(
                f"{where} adds a column {field.name!r} of type {field.type}, which Parquet cannot hold ({error}). Give "
                "it another type, string for instance."
            )
    return problems
