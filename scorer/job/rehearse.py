"""Rehearses a run: the same job against a local simulated judge, into another folder. Costs nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from scorer.build.plan import RunPlan, check
from scorer.client.prompt_cache import HOUR_S, LIFE_S, least_tokens
from scorer.client.providers.reasoning import tokens_of
from scorer.config.cost import Price
from scorer.config.model_prices import batch_price, tier_prices
from scorer.config.spec import Model
from scorer.judges.criteria import are_tables, names_of
from scorer.output.layout import REHEARSAL
from scorer.rehearsal.batches.config import BatchConfig
from scorer.rehearsal.config import RehearsalConfig
from scorer.rehearsal.process import RehearsalProcess

KEPT = ("alias", "name", "temperature", "max_output_tokens", "reasoning", "tier", "tier_fallback", "cache")
"""Keys of [model] that a rehearsal keeps, beside the price."""

MOST_OFTEN_S, GRACE_S = 0.3, 5.0
"""A rehearsed batch is asked after at most so often; one that no listing shows is struck after so long."""

_SPECIMENS = 16
"""So many sample replies the simulated judge draws from."""


@contextmanager
def rehearsal(tree: Mapping[str, Any]) -> Iterator[tuple[RunPlan, RehearsalProcess]]:
    """Starts a simulated judge; yields the plan of the run against it, and the judge's process.

    The judge enforces `[limits]`; `[rehearsal]` sets its latency, capacity and faults. It ends with the context. Raises
    SpecError.
    """
    real = check(tree)
    spec = real.spec
    options = spec.judge.options
    config = RehearsalConfig().changed(
        {
            "requests_per_minute": spec.limits.requests_per_minute,
            "tokens_per_minute": spec.limits.tokens_per_minute,
            "scale": options.get("scale", (1, 5)),
            "names": () if options.get("ask_criteria") == "apart" else names_of(options.get("criteria", ())),
            "labels": tuple(options.get("labels") or ()) if spec.judge.kind == "rating" else (),
            "answer": "json" if options.get("read") == "json" else "number",
            **_replies(real),
            "classes": _classes(options.get("label")),
            "reasoning_tokens": max(tokens_of(model.reasoning) for model in spec.all_models) // 4,
            **_cache(spec.all_models),
            **({"endings": ()} if "replies" in spec.rehearsal else {}),
            **spec.rehearsal,
        }
    )
    with RehearsalProcess(config) as judge:
        yield replace(check(_against(tree, judge.url, spec.output.path, config.batch)), rehearsal=True), judge


def _cache(models: Sequence[Model]) -> dict[str, Any]:
    """The simulated judge has a prompt cache like the provider's where a model asks for one."""
    asking = [model for model in models if model.cache == "auto"]
    if not asking:
        return {}
    lasting = any(model.mode == "batch" and model.provider == "anthropic" for model in asking)
    least = max(least_tokens(model.name or "") for model in asking)
    return {"cache_life_s": HOUR_S if lasting else LIFE_S, "cache_least_tokens": least}


def _classes(label: Any) -> tuple[str, ...]:
    """The names of classes among which a reward judge finds its `judge.label`; none for a model with one output."""
    if isinstance(label, int):
        return tuple(f"LABEL_{place}" for place in range(max(2, label + 1)))
    return (label, f"not {label}") if label else ()


def _replies(plan: RunPlan) -> dict[str, tuple[str, ...]]:
    """Sample replies that the run's judge can read, and the ends of the prompts that they answer where these differ.

    Nothing where the simulated judge knows the form of its verdicts.
    """
    judge, options = plan.judge, plan.spec.judge.options
    lines = are_tables(options.get("criteria")) and options.get("read") != "json"
    apart: Callable[[int], Sequence[tuple[str, str]]] | None = getattr(judge, "specimens_apart", None)
    known = plan.spec.judge.kind in ("rating", "likelihood", "reward") and not lines
    if options.get("read") == "expected":
        return {}
    if apart is not None and (pairs := list(dict.fromkeys(pair for n in range(_SPECIMENS) for pair in apart(n)))):
        return {"endings": tuple(end for end, _ in pairs), "replies": tuple(reply for _, reply in pairs)}
    specimen = getattr(judge, "specimen", None)
    return {} if known or specimen is None else {"replies": tuple(specimen(n) for n in range(_SPECIMENS))}


def _figures(price: Price) -> dict[str, float]:
    found = {name: getattr(price, name) for name in ("input", "output", "cached_input", "cache_write")}
    return {name: value for name, value in found.items() if value is not None}


def _batches(model: Model, config: BatchConfig) -> dict[str, Any]:
    """The keys of a model in batches: a rehearsed batch takes seconds, so it is asked after that often."""
    options = model.batch.model_dump(exclude_defaults=True)
    poll_s = min(model.batch.poll_s, max(MOST_OFTEN_S, config.work_s / 10))
    grace_s = min(model.batch.grace_s, GRACE_S + 2 * config.list_lag_s + config.clock_spread_s)
    return {"mode": "batch", "batch": {**options, "poll_s": poll_s, "grace_s": grace_s}}


def _against(tree: Mapping[str, Any], url: str, out: str, batches: BatchConfig) -> dict[str, Any]:
    """The tree with every model at the simulated judge's address."""

    def model(given: Mapping[str, Any]) -> dict[str, Any]:
        kept, parsed = {k: v for k, v in given.items() if k in KEPT}, Model.model_validate(given)
        if (known := tier_prices(parsed)) is not None:  # the prices at the model's own address
            others = {tier: _figures(price) for tier, price in known.others.items()}
            kept["price"] = {**_figures(known.standard), **others}
            if parsed.mode == "batch" and (half := batch_price(parsed)) is not None:
                kept["price"]["batch"] = _figures(half)
        embedded = given.get("provider", "openai") != "openai"
        timeouts = {k: v for k, v in given.items() if k in ("timeout_s", "retries")}
        if parsed.classifies:
            kept["api"] = given["api"]
        # Its batches have no names, and its cache wants marks, whose writes cost.
        own = parsed.provider == "anthropic" and (parsed.mode == "batch" or parsed.cache == "auto")
        if parsed.mode == "batch":
            kept |= _batches(parsed, batches)
        return {
            "name": "rehearsal-judge",
            **kept,
            **timeouts,
            "provider": "anthropic" if own else "openai",
            "dialect": "llamacpp" if embedded else given.get("dialect", "auto"),
            "base_url": url,
        }

    changed: dict[str, Any] = {key: value for key, value in tree.items() if key not in ("model", "models")}
    if "models" in tree:
        changed["models"] = [model(given) for given in tree["models"]]
    else:
        changed["model"] = model(tree["model"])
    kept = {key: value for key, value in tree["output"].items() if key not in ("publish", "partition_by")}
    changed["output"] = {**kept, "path": out.rstrip("/") + REHEARSAL}
    return changed
