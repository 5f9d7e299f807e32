"""Estimates a run before anything is sent: rows, tokens, cost, time, and the limit that determines the time."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from contextlib import closing
from dataclasses import field
from typing import TYPE_CHECKING

from scorer.build.checks import dedupe_problems
from scorer.build.plan import RunPlan
from scorer.client.providers.reasoning import reasons_by_itself, room_for
from scorer.client.tokens import Counter, encoding_for
from scorer.config.cost import STANDARD, Price
from scorer.config.model_prices import planned_prices, tariff
from scorer.config.price_table import BATCHES, Listed
from scorer.config.spec import Model
from scorer.engine.dedupe import AnswerCache
from scorer.files.files import Files
from scorer.frozen import dataclass
from scorer.html_tables import facts_html
from scorer.inputs.one_table import check_one_table
from scorer.inputs.shards import empty_entries, find, first_look, linked, not_taken
from scorer.job.canary_estimate import CanaryEstimate, canary_estimate
from scorer.job.cascade_advice import cascade_advice
from scorer.job.estimate_facts import estimate_facts
from scorer.job.estimate_totals import Totals
from scorer.job.learned import Mean, learned
from scorer.job.learned_prompts import learned_prompts
from scorer.job.prompt_sample import PromptSample, read_sample
from scorer.job.selecting import Asked
from scorer.output.layout import result_folders, stems
from scorer.types import Judge, Shard

if TYPE_CHECKING:
    from scorer.job.stopping.simulate import StopEstimate

EXACT_ROWS = 100_000
"""Up to this many rows, every row is counted."""
SAMPLE_ROWS = 20_000
ASSUMED_LATENCY = Mean(1.0, 1.0, 1.0, 0)
"""Seconds of a request where no row is finished."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run would need.

    `prompt_tokens_low` and `_high` are a 95 % interval; the two are equal where every row was counted and none is
    finished. From 20 finished rows on, `prompt_tokens` is the count times `billed_ratio`: what the server billed for
    each token that was counted for them. `exact` is True where every row was counted with the model's own tokeniser.
    `cost_usd` is that of all models, None where the price of one is unknown. `seconds` is the time at the limits of all
    endpoints; `binding_limit` is the limit that determines it. The models of a panel work at the same time. Each sample
    counts as a request, as it is where the server gives one choice per request. `advice` holds suggestions, one
    sentence each.

    `shared_prefix_tokens` of the prompt tokens repeat the prefix of the previous row's prompt: a server with a prefix
    cache reads about these from its cache. `repeated_rows` are exact duplicates of an earlier row, and
    `repeated_tokens` are their prompt tokens; both are None where a sample was read. With `judge.dedupe` duplicates
    count in no other field.

    `price` is that of the first model in USD per million tokens, from `price_source` as of `price_date` (ISO 8601; None
    where the run file gives the price). Prompts of more than `long_from` tokens cost the prices named `long_`.

    `rows_bad` counts by reason the rows for which no request can be made. Each will end in the error with which its
    reason begins. `completion_tokens_estimate` uses the mean of `learned_rows` finished rows of this run; without any,
    a reply is the geometric mean of the shortest readable one and the longest allowed one. `cost_low` and `cost_worst`
    are at the ends of the 95 % interval of that mean; without finished rows, with the shortest replies and with the
    longest. `cost_low` has each prompt billed once for all samples where a request can ask for several. A cache of the
    server's own counts in `cost_usd` as for the finished rows, in `cost_low` at least as far as prompts begin like the
    one before, and not in `cost_worst`. `cost_expected` is `cost_usd`. With `limits.deadline`,
    `cost_worst` has every request asked online at its price, as where no batch ends before it. None of them includes
    retries.

    With `model.cache`, `cache_read_tokens` of the prompt tokens are read from the provider's cache and
    `cache_written_tokens` are written to it. `cost_without_cache` is `cost_usd` without that, and `cost_worst` has
    nothing read and all that is marked written. `canaries` says how soon a drift is found, None without [canary]; their
    requests are in no figure here. `stop` says how many rows the question will take, None without [stop]; the other
    figures are of all rows.

    `seconds_low` is the time where token limits charge the replies of `cost_low`. `seconds_expected` (the same as
    `seconds`) and `seconds_worst` have them charge the longest replies, as servers do that reserve those. A request
    takes `seconds_a_request`, the mean of the finished rows; for low and worst it is an end of that mean's 95 %
    interval. Where no row is finished, it is 1 s.
    """

    rows: int
    shards: int
    requests: int
    prompt_tokens: int
    prompt_tokens_low: int
    prompt_tokens_high: int
    completion_tokens_estimate: int
    cost_usd: float | None
    seconds: float
    binding_limit: str
    exact: bool
    tokeniser: str
    max_usd: float | None = None
    max_tokens: int | None = None
    advice: tuple[str, ...] = ()
    shared_prefix_tokens: int = 0
    repeated_rows: int | None = None
    repeated_tokens: int | None = None
    price: dict[str, float | None] | None = None
    price_source: str | None = None
    price_date: str | None = None
    rows_bad: dict[str, int] = field(default_factory=dict)
    cost_low: float | None = None
    cost_expected: float | None = None
    cost_worst: float | None = None
    cache_read_tokens: int = 0
    cache_written_tokens: int = 0
    cost_without_cache: float | None = None
    canaries: CanaryEstimate | None = None
    stop: StopEstimate | None = None
    learned_rows: int = 0
    billed_ratio: float | None = None
    seconds_low: float = 0.0
    seconds_expected: float = 0.0
    seconds_worst: float = 0.0
    seconds_a_request: float = 1.0

    def _repr_html_(self) -> str:
        return facts_html("Estimate", estimate_facts(self))


def estimate(
    plan: RunPlan, files: Files, *, exact: bool = False, sample: str | None = None, counted: int | None = None
) -> Estimate:
    """Reads the input and sends nothing. Raises InputError, and SpecError for a wrong `sample`.

    `sample` is "100" (rows) or "1%" of them: the rows that `scorer run --sample` would take. Up to 100,000 rows (with
    `exact`, any number) every request is made and its tokens are counted. Beyond that, 20,000 rows are drawn with a
    fixed seed, and the total is estimated from the lengths of all rows. `counted` is another number than 100,000.
    """
    found = find(files, plan.spec.input.shards, result_folders(plan.spec.output.path))
    earlier = learned(plan, files)
    empty = empty_entries(files, plan.spec.input.shards, found, earlier.forgotten)
    found = [stat for stat in found if not earlier.forgotten & {stat.path, *stat.also}]
    names = {**stems([stat.path for stat in found if stat.path not in earlier.stems], earlier.taken), **earlier.stems}
    where = plan.spec.input.where
    first = first_look(files, found, names, plan.needed, plan.columns.kept, where=where, settled=False)
    shards = first.shards
    check_one_table(files, (), shards, plan.columns.kept)
    asked = Asked(plan, files, shards, sample)
    rows = asked.rows
    model = plan.spec.all_models[0]
    name = encoding_for(model.name or "") if model.provider not in ("embedded", "recorded") else None
    counter = Counter(name)
    everything = exact or rows <= (counted or EXACT_ROWS)
    share = 1.0 if everything else min(SAMPLE_ROWS, counted or SAMPLE_ROWS) / rows
    with closing(AnswerCache()) as cache:
        seen = read_sample(plan, files, shards, asked.of, counter, share, cache)
    prompt, half_width = seen.prompt_tokens(rows)
    prompts = learned_prompts(plan, files, shards, earlier, counter)
    if prompts is not None:
        prompt, half_width = prompts.of(prompt, half_width)
    scale = rows / max(1, seen.rows)
    deadline = plan.spec.limits.deadline is not None
    cached = prompts.cached if prompts is not None else None
    reply, tiers = earlier.reply_tokens, earlier.tiers
    totals = Totals(seen, prompt, half_width, scale, reply, cached=cached, deadline=deadline, tiers=tiers)
    cost, cost_low, cost_worst = totals.cost(0.0, 1), totals.cost(-1.0, 0), totals.cost(1.0, 2)
    known, price = tariff(model), planned_prices(model)
    latency = earlier.seconds or ASSUMED_LATENCY
    limits = plan.spec.limits
    seconds, binding = totals.seconds(limits, 0.0, None, latency.value)
    canary = plan.spec.canary
    stop = _stop(plan, files, shards, asked) if plan.spec.stop is not None and sample is None else None
    canaries = None if canary is None else canary_estimate(canary, rows)
    return Estimate(
        rows=rows,
        shards=len(shards),
        requests=totals.requests,
        prompt_tokens=round(prompt),
        prompt_tokens_low=max(0, math.floor(prompt - half_width)),
        prompt_tokens_high=math.ceil(prompt + half_width),
        completion_tokens_estimate=totals.output(1),
        cost_usd=cost,
        seconds=seconds,
        binding_limit=binding,
        exact=everything and counter.exact,
        tokeniser=name or "estimate: 4 bytes a token",
        max_usd=plan.spec.limits.max_usd,
        max_tokens=plan.spec.limits.max_tokens,
        advice=(
            *filter(None, [linked(found)]),
            *empty,
            *not_taken(plan.spec.input.shards),
            *first.left_out,
            *_fence_advice(plan.judge),
            *cascade_advice(plan.spec),
            *(advice for model in plan.spec.all_models for advice in _reasoning_advice(model)),
            *totals.tier_advice(),
            *totals.cache_advice(),
            *([canaries.sentence(canary.share)] if canaries is not None and canary is not None else []),
            *([stop.sentence()] if stop is not None else []),
            *(_dedupe_advice(plan, seen) if everything else ()),
        ),
        shared_prefix_tokens=round(prompt * seen.shared_bytes / max(1, seen.bytes)),
        repeated_rows=seen.duplicate_rows if everything else None,
        repeated_tokens=seen.duplicate_tokens if everything else None,
        price=_price_fields(price.price) if price is not None else None,
        price_source=_source(known, model) if known is not None else None,
        price_date=(known.date or None) if known is not None else None,
        rows_bad={reason: round(count * scale) for reason, count in seen.bad.most_common()},
        cost_low=cost_low,
        cost_expected=cost,
        cost_worst=cost_worst,
        cache_read_tokens=totals.cached(0),
        cache_written_tokens=totals.cached(1),
        cost_without_cache=totals.cost(0.0, 1, cached=False) if totals.caches else None,
        canaries=canaries,
        stop=stop,
        learned_rows=reply.n if reply is not None else 0,
        billed_ratio=prompts.billed.value if prompts is not None else None,
        seconds_low=totals.seconds(limits, -1.0, 0, latency.low)[0],
        seconds_expected=seconds,
        seconds_worst=totals.seconds(limits, 1.0, 2, latency.high)[0],
        seconds_a_request=round(latency.value, 3),
    )


def _stop(plan: RunPlan, files: Files, shards: Sequence[Shard], asked: Asked) -> StopEstimate:
    from scorer.job.stopping.simulate import stop_estimate

    return stop_estimate(plan, files, list(shards), asked)


def _source(known: Listed, model: Model) -> str:
    """Where the price is from; for a tier that the source does not list, the rule that made it."""
    if model.mode == "batch":
        return known.source if BATCHES in known.tiers else f"{known.source}, half of it in batches"
    if model.tier == STANDARD:
        return known.source
    return known.source if model.tier in known.tiers else f"{known.source}, the tier by rule"


def _price_fields(price: Price) -> dict[str, float | None]:
    fields = {"input": price.input, "output": price.output, "cached_input": price.cached_input}
    if price.long is None:
        return fields
    long = {"long_input": price.long.input, "long_output": price.long.output}
    return {**fields, "long_from": price.long_from, **long, "long_cached_input": price.long.cached_input}


def _dedupe_advice(plan: RunPlan, sample: PromptSample) -> tuple[str, ...]:
    with_dedupe = plan.spec.model_copy(update={"judge": plan.spec.judge.model_copy(update={"dedupe": True})})
    if plan.spec.judge.dedupe or not sample.duplicate_rows or dedupe_problems(with_dedupe):
        return ()
    return (
        f"{sample.duplicate_rows:,} of {sample.rows:,} rows are exact duplicates: judge.dedupe = true copies the first "
        f"row's result and saves {sample.duplicate_tokens:,} prompt tokens.",
    )


def _fence_advice(judge: Judge) -> tuple[str, ...]:
    unfenced: Sequence[str] = getattr(judge, "unfenced", ())
    if not unfenced:
        return ()
    shown = " and ".join(f"{{{name}}}" for name in unfenced)
    fenced = " and ".join(f"{{{name}:fenced}}" for name in unfenced)
    return (
        f"judge.prompt inserts {shown} without a fence, so the text may pass for a part of the prompt. Write {fenced} "
        "for text that others wrote.",
    )


_REASONING_KEYS = ("reasoning_effort", "reasoning", "thinking", "extra_body", "chat_template_kwargs")


def _reasoning_advice(model: Model) -> tuple[str, ...]:
    """That reasoning counts as output: where a model reasons unasked, and how much is set aside where it is asked."""
    most = room_for(model.reasoning, model.name or "")
    if most:
        return (
            f"model.reasoning = {json.dumps(model.reasoning)} sets aside {most:,} output tokens a reply beside "
            f"model.max_output_tokens; reasoning is billed as output. Some finished rows (`--sample 100`) tell how "
            "much it takes.",
        )
    unsaid = model.reasoning is None and not model.extra.keys() & set(_REASONING_KEYS)
    if not unsaid or not reasons_by_itself(model.name or ""):
        return ()
    return (
        f"{model.name} reasons before it replies, and its reasoning counts as output: with model.max_output_tokens = "
        f"{model.max_output_tokens} replies may end Truncated, and are paid. Set model.reasoning, such as "
        'model.reasoning = "low".',
    )
