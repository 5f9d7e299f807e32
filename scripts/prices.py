"""Writes prices.tsv and tier_prices.tsv of scorer/config from two wheels.

Call it by `python scripts/prices.py GENAI_PRICES.whl=DATE LITELLM.whl=DATE`.

Get them with `pip download --no-deps genai-prices` and `pip download --no-deps litellm` (not litellm 1.107.0). DATE is
the upload date on the package index. Neither is installed: genai-prices is imported from its wheel (it needs pydantic,
which scorer has), LiteLLM's table is read from its wheel. Set PYTHONPATH to the checkout.

A line of prices.tsv is one provider's price of one model: standard tier, text, no batch discount. One of
tier_prices.tsv is that of a service tier, by LiteLLM. Where the two sources differ, the
higher price is taken, so that a cap errs on the safe side, and the larger context window.
"""

from __future__ import annotations

import re
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson

from scorer.config.litellm_prices import in_tier, litellm_price
from scorer.config.price_table import TIERS

TABLE = Path(__file__).resolve().parents[1] / "scorer" / "config" / "prices.tsv"
TIER_TABLE = TABLE.with_name("tier_prices.tsv")

# Their names of a provider to ours. Left out: resellers without a fixed price, and hosts that do not serve judges.
GENAI = {
    "anthropic": "anthropic", "aws": "bedrock", "azure": "azure", "cerebras": "cerebras", "cohere": "cohere",
    "deepseek": "deepseek", "fireworks": "fireworks", "google": "google", "groq": "groq", "mistral": "mistral",
    "moonshotai": "moonshotai", "openai": "openai", "openrouter": "openrouter", "perplexity": "perplexity",
    "together": "together", "x-ai": "xai", "zai": "zai",
}  # fmt: skip
LITELLM = {
    "anthropic": "anthropic", "azure": "azure", "bedrock": "bedrock", "bedrock_converse": "bedrock",
    "cerebras": "cerebras", "cohere": "cohere", "cohere_chat": "cohere", "dashscope": "dashscope",
    "deepinfra": "deepinfra", "deepseek": "deepseek", "fireworks_ai": "fireworks", "gemini": "google",
    "groq": "groq", "mistral": "mistral", "moonshot": "moonshotai", "openai": "openai", "openrouter": "openrouter",
    "perplexity": "perplexity", "together_ai": "together", "vertex_ai-language-models": "google",
    "xai": "xai", "zai": "zai",
}  # fmt: skip
TEXT = {"chat", "completion", "responses"}
NO_TEXT = re.compile(
    r"audio|realtime|transcri|whisper|tts|speech|image|imagen|dall|sora|video|embed|moderation|rerank|live|ocr|search|"
    r"deep-research|computer-use|guard|robotics|native|veo|lyria|\bft[:-]|\.ft-"
)
OPEN = re.compile(r"gpt-oss")
"""Weights that anybody may serve: the maker's name does not say who does."""


@dataclass
class Entry:
    """USD per million tokens; `long_*` are for prompts of more than `long_from` tokens."""

    input: Decimal
    output: Decimal
    cached_input: Decimal | None = None
    cache_write: Decimal | None = None
    long_from: int | None = None
    long_input: Decimal | None = None
    long_output: Decimal | None = None
    long_cached_input: Decimal | None = None
    long_cache_write: Decimal | None = None
    window: int | None = None


Table = dict[tuple[str, str], Entry]


# --- genai-prices -----------------------------------------------------------------------------------------------------


def from_genai(wheel: str, date: str) -> Table:
    """The prices in force on that day."""
    sys.path.insert(0, wheel)
    from genai_prices.data import providers  # type: ignore[import-not-found]

    day = datetime.fromisoformat(date).replace(tzinfo=UTC)
    table: Table = {}
    for provider in providers:
        if (ours := GENAI.get(provider.id)) is None:
            continue
        for model in provider.models:
            found = [_genai_entry(prices, model.context_window) for prices in _in_force(model.prices, day)]
            entry = None
            for one in found:
                entry = one if entry is None or one is None else _higher(entry, one)
            if entry is None:
                continue
            for name in {model.id.lower(), *(name.lower() for name in _equals(model.match))}:
                if model.is_match(name) and (ours != "google" or name.startswith("gem")):  # not those that it resells
                    table[ours, name] = _higher(table[ours, name], entry) if (ours, name) in table else entry
    return table


def _in_force(prices: Any, day: datetime) -> Iterator[Any]:
    """The price that began last, and each that holds at some hour of the day."""
    if not isinstance(prices, list):
        yield prices
        return
    started = prices[0].prices
    for one in prices:
        begins = getattr(one.constraint, "start_date", None)
        if begins is not None and begins <= day.date():
            started = one.prices
        elif one.constraint is not None and begins is None:
            yield one.prices
    yield started


def _genai_entry(prices: Any, window: int | None) -> Entry | None:
    prices_by_kind = {
        name: getattr(prices, f"{name}_mtok", None) for name in ("input", "output", "cache_read", "cache_write")
    }
    if prices_by_kind["input"] is None or prices_by_kind["output"] is None:
        return None
    base = {name: getattr(price, "base", price) for name, price in prices_by_kind.items()}
    tiers = {name: getattr(price, "tiers", []) for name, price in prices_by_kind.items()}
    starts = [tier.start for many in tiers.values() for tier in many]
    top = {name: max((tier.price for tier in many), default=base[name]) for name, many in tiers.items()}
    entry = Entry(base["input"], base["output"], base["cache_read"], base["cache_write"], window=window)
    if starts:
        entry.long_from = min(starts)
        entry.long_input, entry.long_output = top["input"], top["output"]
        entry.long_cached_input, entry.long_cache_write = top["cache_read"], top["cache_write"]
    return entry


def _equals(match: Any) -> Iterator[str]:
    """The names that a rule lists one by one; prefixes and patterns are no names."""
    if (name := getattr(match, "equals", None)) is not None:
        yield name
    for inner in getattr(match, "or_", ()):
        yield from _equals(inner)


# --- LiteLLM ----------------------------------------------------------------------------------------------------------


_LISTING = re.compile(r"litellm/model_prices_and_context_window.*\.json")


def from_litellm(wheel: str, tier: str = "") -> tuple[Table, set[tuple[str, str]]]:
    """Its prices, of a service tier where one is named; and the models that it knows not to write text."""
    with zipfile.ZipFile(wheel) as archive:
        file = next(name for name in archive.namelist() if _LISTING.fullmatch(name))
        listed = orjson.loads(archive.read(file))
    table: Table = {}
    others: set[tuple[str, str]] = set()
    for key, value in listed.items():
        theirs = value.get("litellm_provider")
        if (ours := LITELLM.get(theirs)) is None:
            continue
        name = key.lower()
        for prefix in (theirs, theirs.replace("bedrock_converse", "bedrock"), "vertex_ai", "cohere"):
            name = name.removeprefix(f"{prefix}/")
        if value.get("mode") not in TEXT:
            others.add((ours, name))
            continue
        entry = _litellm_entry(in_tier(value, tier) if tier else value)
        if entry is not None:
            table[ours, name] = _higher(table[ours, name], entry) if (ours, name) in table else entry
    return table, others


def _litellm_entry(value: dict[str, Any]) -> Entry | None:
    price = litellm_price(value)
    if price is None:
        return None
    window = value.get("max_input_tokens")
    entry = Entry(
        *(_decimal(figure) for figure in (price.input, price.output, price.cached_input, price.cache_write)),
        long_from=price.long_from,
        window=window if isinstance(window, int) else None,
    )
    if (long := price.long) is not None:
        entry.long_input, entry.long_output = _decimal(long.input), _decimal(long.output)
        entry.long_cached_input, entry.long_cache_write = _decimal(long.cached_input), _decimal(long.cache_write)
    return entry


def _decimal(figure: float | None) -> Any:
    return None if figure is None else Decimal(str(figure))


# --- both -------------------------------------------------------------------------------------------------------------


def _higher(one: Entry, other: Entry) -> Entry:
    """The higher of each figure, the lower of where prompts become dearer. What one does not list is the other's.

    Where they differ in the input's price, a cached price that only one of them lists belongs to another list price
    than the one that stands, and is left out: cached tokens then cost what others do.
    """
    found = Entry(max(one.input, other.input), max(one.output, other.output))
    for field in fields(Entry)[2:]:
        both = [value for value in (getattr(one, field.name), getattr(other, field.name)) if value is not None]
        if both:
            setattr(found, field.name, min(both) if field.name == "long_from" else max(both))
    if one.input != other.input and (one.cached_input is None or other.cached_input is None):
        found.cached_input = found.long_cached_input = None
    if found.long_from is not None:
        for name in ("input", "output"):
            figure = getattr(found, f"long_{name}")
            setattr(found, f"long_{name}", max(figure, getattr(found, name)))
    return found


def main(genai: str, litellm: str) -> None:
    (genai_wheel, _, genai_day), (litellm_wheel, _, litellm_day) = genai.rpartition("="), litellm.rpartition("=")
    ours, (theirs, others) = from_genai(genai_wheel, genai_day), from_litellm(litellm_wheel)
    versions = [Path(wheel).name.split("-")[1] for wheel in (genai_wheel, litellm_wheel)]
    lines = [
        "# What providers charge, USD per million tokens, and the longest prompt that a model takes, in tokens.",
        "# Made by scripts/prices.py; do not edit. Both lists are under the MIT licence: genai-prices, Copyright (c)",
        "# Pydantic Services Inc. 2025 to present; LiteLLM, Copyright (c) 2023 Berri AI. Source: G genai-prices,",
        "# L LiteLLM, GL both, the higher figure of each.",
        f"# G\tgenai-prices {versions[0]}\t{genai_day}",
        f"# L\tLiteLLM {versions[1]}\t{litellm_day}",
        "# provider\tname\t" + "\t".join(field.name for field in fields(Entry)) + "\tsource",
    ]
    for key in sorted({*ours, *theirs}):
        provider, name = key
        if key in others or NO_TEXT.search(name) or "\t" in name or (provider == "openai" and OPEN.search(name)):
            continue
        source = ("G" if key in ours else "") + ("L" if key in theirs else "")
        entry = _higher(ours[key], theirs[key]) if source == "GL" else ours.get(key) or theirs[key]
        if not entry.input and not entry.output:
            continue  # free for now, or a price that was not entered
        if entry.cached_input == 0:
            entry.cached_input = None
        if not entry.cache_write:
            entry.cache_write = entry.long_cache_write = None
        cells = [getattr(entry, field.name) for field in fields(Entry)]
        shown = ["" if cell is None else f"{cell:f}" if isinstance(cell, Decimal) else str(cell) for cell in cells]
        lines.append("\t".join([provider, name, *(_short(cell) for cell in shown), source]))
    TABLE.write_text("\n".join(lines) + "\n", encoding="utf-8")
    sys.stdout.write(f"{len(lines) - 7} prices in {TABLE}\n")
    write_tiers(litellm_wheel, litellm_day)


def write_tiers(wheel: str, date: str) -> None:
    """Writes the prices of service tiers, which LiteLLM alone lists."""
    names = [field.name for field in fields(Entry)][:-1]
    lines = [
        "# What providers charge for service tiers, USD per million tokens. Made by scripts/prices.py; do not edit.",
        f"# Source: LiteLLM {Path(wheel).name.split('-')[1]}, {date}; MIT licence, Copyright (c) 2023 Berri AI.",
        "# provider\tname\ttier\t" + "\t".join(names),
    ]
    for tier in TIERS:
        table, others = from_litellm(wheel, tier)
        for (provider, name), entry in sorted(table.items()):
            if (provider, name) in others or NO_TEXT.search(name) or not entry.input:
                continue
            cells = [getattr(entry, one) for one in names]
            shown = ["" if cell is None else f"{cell:f}" if isinstance(cell, Decimal) else str(cell) for cell in cells]
            lines.append("\t".join([provider, name, tier, *(_short(cell) for cell in shown)]))
    TIER_TABLE.write_text("\n".join(lines) + "\n", encoding="utf-8")
    sys.stdout.write(f"{len(lines) - 3} prices in {TIER_TABLE}\n")


def _short(figure: str) -> str:
    return figure.rstrip("0").rstrip(".") if "." in figure else figure


if __name__ == "__main__":
    main(*sys.argv[1:])
