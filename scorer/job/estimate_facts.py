"""An estimate as short texts, each with its name: for `scorer plan` and for notebooks."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from scorer.counted import counted
from scorer.output.cost_text import cost_sentence
from scorer.output.progress_lines import duration

if TYPE_CHECKING:
    from scorer.job.estimate import Estimate


def estimate_facts(e: Estimate) -> Iterator[tuple[str, str]]:
    """Rows, tokens, cost, price, time, and what to know beside them."""
    spread = "" if e.prompt_tokens_low == e.prompt_tokens_high else (
        f" (95 %: {e.prompt_tokens_low:,} to {e.prompt_tokens_high:,})"
    )  # fmt: skip
    cost = cost_sentence(e.cost_usd or 0.0, priced=e.cost_usd is not None)
    yield "rows", f"{e.rows:,} in {counted(e.shards, 'shard')}, {counted(e.requests, 'request')}"
    billed = f", times {e.billed_ratio:.3f} as finished rows were billed" if e.billed_ratio is not None else ""
    yield "tokens in", f"{e.prompt_tokens:,}{spread}, counted by {e.tokeniser}{billed}"
    yield "tokens out", f"{e.completion_tokens_estimate:,} ({_learned(e)})"
    yield "cost", f"{cost}{_range(e)}"
    if e.price is not None:
        yield "price", _price(e)
    batched = e.binding_limit == "batch"
    yield (
        "time",
        (
            f"within {e.seconds / 3600:.0f} h, as providers answer batches"
            if batched
            else f"{duration(e.seconds)}{_times(e)}, limited by {e.binding_limit}"
        ),
    )
    if not e.learned_rows and not batched:
        yield (
            "assumed",
            f"{e.seconds_a_request:g} s a request; after `scorer run --sample 100` the finished rows tell",
        )
    if e.prompt_tokens:
        share = e.shared_prefix_tokens / e.prompt_tokens
        yield "prefix", f"{share:.0%} of input tokens repeat the previous prompt's prefix (cacheable)"
    if e.repeated_rows:
        yield "duplicates", f"{e.repeated_rows:,} rows are exact duplicates"
    if e.max_usd is not None and e.cost_usd is not None and e.cost_usd > e.max_usd:
        yield "budget", f"limits.max_usd = {e.max_usd:g} will stop it before the end"
    yield from (("bad rows", f"{count:,}: {reason}") for reason, count in e.rows_bad.items())
    yield from (("advice", advice) for advice in e.advice)


def _learned(e: Estimate) -> str:
    if e.learned_rows:
        return f"as the {e.learned_rows:,} rows took that are finished"
    if e.requests and not e.completion_tokens_estimate:
        return "a classifier writes no text"
    return "estimated: between the shortest reply and model.max_output_tokens; some finished rows will tell better"


def _times(e: Estimate) -> str:
    if duration(e.seconds_low) == duration(e.seconds_worst):
        return ""
    return f" ({duration(e.seconds_low)} to {duration(e.seconds_worst)})"


def _range(e: Estimate) -> str:
    if e.cost_low is None or e.cost_worst is None or e.cost_low == e.cost_worst:
        return ""
    if e.learned_rows:
        return f" ({e.cost_low:.4f} to {e.cost_worst:.4f}, the 95 % interval)"
    return f" ({e.cost_low:.4f} with the shortest replies, {e.cost_worst:.4f} with the longest)"


def _price(e: Estimate) -> str:
    assert e.price is not None
    text = f"{e.price['input']:g} in, {e.price['output']:g} out, USD per million tokens: {e.price_source}"
    if e.price_date is None:
        return text
    days = (datetime.now(UTC).date() - date.fromisoformat(e.price_date)).days
    age = "today" if days <= 0 else f"{days} day{'s' * (days > 1)} ago"
    return f"{text}, {e.price_date} ({age})"
