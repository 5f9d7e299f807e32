"""The built-in table of prices and context lengths of known models, with source and date; and LiteLLM's format.

The table is prices.tsv, which scripts/prices.py writes from two public lists. It is read at the first lookup, not at
import. The provider of a name is taken from the address or from the name's prefix. An open model on an unknown host has
no price. Knows no run file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import field
from decimal import Decimal
from functools import cache, lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from scorer.config.cost import Price
from scorer.frozen import dataclass
from scorer.patterns import pattern

_TABLE = Path(__file__).with_name("prices.tsv")
_TIERS = Path(__file__).with_name("tier_prices.tsv")
TIERS = ("flex", "priority")
"""Service tiers with a price of their own."""
BATCHES = "batch"
"""How the price in provider batches is named among the prices of the tiers."""
_SUFFIXES = {BATCHES: "batches"}
"""How LiteLLM's fields end, where that differs from the tier's name."""
MAKERS = ("openai", "anthropic", "google", "deepseek", "mistral", "xai", "cohere", "moonshotai", "zai", "perplexity")
"""Providers that sell their own models: a name without an address is theirs."""
_HOSTS = {
    "api.openai.com": "openai",
    "openai.azure.com": "azure",
    "cognitiveservices.azure.com": "azure",
    "services.ai.azure.com": "azure",
    "api.anthropic.com": "anthropic",
    "generativelanguage.googleapis.com": "google",
    "aiplatform.googleapis.com": "google",
    "api.deepseek.com": "deepseek",
    "api.mistral.ai": "mistral",
    "api.x.ai": "xai",
    "api.cohere.com": "cohere",
    "api.cohere.ai": "cohere",
    "api.moonshot.ai": "moonshotai",
    "api.moonshot.cn": "moonshotai",
    "api.z.ai": "zai",
    "api.perplexity.ai": "perplexity",
    "api.groq.com": "groq",
    "api.cerebras.ai": "cerebras",
    "api.together.xyz": "together",
    "api.together.ai": "together",
    "api.fireworks.ai": "fireworks",
    "api.deepinfra.com": "deepinfra",
    "openrouter.ai": "openrouter",
    "dashscope.aliyuncs.com": "dashscope",
    "dashscope-intl.aliyuncs.com": "dashscope",
    "dashscope-us.aliyuncs.com": "dashscope",
}
_PREFIXES = {
    **{provider: provider for provider in _HOSTS.values()},
    "bedrock": "bedrock",
    "gemini": "google",
    "vertex_ai": "google",
    "models": "google",
    "mistralai": "mistral",
    "x-ai": "xai",
    "moonshot": "moonshotai",
    "together_ai": "together",
    "fireworks_ai": "fireworks",
}
_RESOLD = frozenset({"openrouter", "azure"})
"""Resellers: a model that they do not list costs what its maker charges."""
_YEAR, _MONTH, _DAY = r"20\d\d", r"(?:0[1-9]|1[0-2])", r"(?:0[1-9]|[12]\d|3[01])"
_RELEASE = pattern(rf"(?:[-@]{_YEAR}-{_MONTH}-{_DAY}|[-@]{_YEAR}{_MONTH}{_DAY}|-latest)\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Listed:
    """A price with its source and the day on which the source was published (ISO 8601).

    `window` is the longest prompt in tokens, None where it is unknown. `tiers` has the prices of service tiers that the
    source lists.
    """

    price: Price
    source: str
    date: str
    window: int | None = None
    tiers: Mapping[str, Price] = field(default_factory=dict)


def price_of(model_name: str, base_url: str = "") -> Price | None:
    """The list price of a model; see `listed`."""
    found = listed(model_name, base_url)
    return found.price if found is not None else None


def context_window(model_name: str, base_url: str = "") -> int | None:
    """The longest prompt that a model takes, in tokens; None where it is unknown."""
    found = listed(model_name, base_url)
    return found.window if found is not None else None


@lru_cache(maxsize=64)
def listed(model_name: str, base_url: str = "") -> Listed | None:
    """The entry of a model by its exact name, with or without a provider prefix and a release date; else None.

    `openai/gpt-4o-mini-2024-07-18` matches gpt-4o-mini; `ft:gpt-4o-mini:mine` and `together/gpt-4o-mini` match nothing:
    an unknown price is refused, and a wrong one would overspend. A known host in `base_url` decides the provider.
    """
    name = model_name.strip().lower()
    if not name or "\t" in name or "\n" in name:
        return None
    host = _provider(base_url)
    head, slash, rest = name.partition("/")
    if host is not None:
        names = [name, rest] if slash and _PREFIXES.get(head) == host else [name]
        found = next(filter(None, (_found(host, one) for one in names)), None)
        return found if found is not None or host not in _RESOLD else _made(name)
    if slash and (provider := _PREFIXES.get(head)) is not None:
        found = _found(provider, rest)
        return found if found is not None or not (provider in _RESOLD or head == "vertex_ai") else _made(rest)
    return _made(name)


def _provider(base_url: str) -> str | None:
    try:
        host = urlsplit(base_url).hostname or ""
    except ValueError:
        return None
    if host.startswith("bedrock") and host.endswith(".amazonaws.com"):
        return "bedrock"
    return next((name for ends, name in _HOSTS.items() if host == ends or host.endswith(f".{ends}")), None)


def on_host(base_url: str | None, provider: str) -> bool:
    """Whether the address is one of this provider."""
    return _provider(base_url or "") == provider


def _made(name: str) -> Listed | None:
    """The maker's entry where all provider prefixes of the name are makers or resellers; of several the dearest."""
    *heads, name = name.split("/")
    providers = {_PREFIXES.get(head) for head in heads}
    if not providers <= {*MAKERS, *_RESOLD}:
        return None
    named = [maker for maker in MAKERS if maker in providers] or MAKERS
    found = [one for maker in named if (one := _found(maker, name)) is not None]
    return max(found, key=lambda one: (one.price.input + one.price.output, one.window or 0), default=None)


def _found(provider: str, name: str) -> Listed | None:
    for one in _names(name):
        if (found := _line(provider, one)) is not None:
            return found
    return None


def _names(name: str) -> Iterator[str]:
    """The name, its form in OpenRouter's spelling (claude-3.5-haiku), and both without the release date."""
    for one in dict.fromkeys((name, name.replace(".", "-") if name.startswith("claude-") else name)):
        yield one
        base = _RELEASE.sub("", one)
        yield from dict.fromkeys((base, f"{base}-latest"))


# --- the table --------------------------------------------------------------------------------------------------------


@cache
def _table() -> tuple[str, dict[str, tuple[str, str]]]:
    text = _TABLE.read_text(encoding="utf-8")
    sources = {}
    for line in text.splitlines()[:12]:
        if line.startswith("# ") and line.count("\t") == 2:
            mark, name, date = line[2:].split("\t")
            sources[mark] = (name, date)
    sources["GL"] = (" and ".join(name for name, _ in sources.values()), min(date for _, date in sources.values()))
    return text, sources


def sources() -> dict[str, tuple[str, str]]:
    """The two lists that the table was made from: name and date of publication, by the table's mark."""
    return {mark: source for mark, source in _table()[1].items() if mark != "GL"}


def _line(provider: str, name: str) -> Listed | None:
    text, sources = _table()
    start = text.find(f"\n{provider}\t{name}\t")
    if start < 0:
        return None
    cells = text[start + 1 : text.index("\n", start + 1)].split("\t")[2:]
    return Listed(
        _price(cells[:9]),
        *sources[cells[10]],
        window=int(cells[9]) if cells[9] else None,
        tiers=_tier_prices(provider, name),
    )


@cache
def _tier_table() -> str:
    return _TIERS.read_text(encoding="utf-8")


def _tier_prices(provider: str, name: str) -> dict[str, Price]:
    text, found = _tier_table(), {}
    for tier in TIERS:
        start = text.find(head := f"\n{provider}\t{name}\t{tier}\t")
        if start >= 0:
            found[tier] = _price(text[start + len(head) : text.index("\n", start + 1)].split("\t"))
    return found


def _price(cells: list[str]) -> Price:
    base, above, more = [_number(cell) for cell in cells[:4]], cells[4], [_number(cell) for cell in cells[5:9]]
    if not above:
        return _of(base)
    return _of(
        base, int(above), _of([value if value is not None else old for value, old in zip(more, base, strict=True)])
    )


def _of(figures: list[float | None], above: int | None = None, long: Price | None = None) -> Price:
    assert figures[0] is not None
    assert figures[1] is not None
    return Price(figures[0], figures[1], figures[2], figures[3], above, long)


def _number(cell: str) -> float | None:
    return float(cell) if cell else None


# --- LiteLLM's shape --------------------------------------------------------------------------------------------------

KEYS = {
    "input": "input_cost_per_token",
    "output": "output_cost_per_token",
    "cached_input": "cache_read_input_token_cost",
    "cache_write": "cache_creation_input_token_cost",
}
"""LiteLLM's fields (USD per token) by the names of `Price`."""
_ABOVE = pattern(r"(.+)_above_(\d+)k_tokens")


def in_file(listing: Mapping[str, Any], model_name: str, base_url: str = "", tier: str = "") -> Price | None:
    """The price of a model in a table of LiteLLM's format, at a service tier; None where it has none.

    Names are compared case-insensitively: as given, with and without the provider prefix, and each also without the
    release date. Raises ValueError for an invalid entry.
    """
    keys = {key.lower(): key for key in listing}
    own = model_name.strip()
    name = own.lower()
    if own in listing:  # another key may differ in case only
        keys[name] = own
    head, slash, rest = name.partition("/")
    provider = _provider(base_url)
    owners = [prefix for prefix, owner in _PREFIXES.items() if owner == provider]
    wanted = [*_names(name), *(f"{owner}/{one}" for owner in owners for one in _names(name))]
    if slash and head in _PREFIXES:
        wanted += _names(rest)
    for one in wanted:
        if one in keys:
            entry = listing[keys[one]]
            return litellm_price(in_tier(entry, tier) if tier and isinstance(entry, Mapping) else entry)
    return None


def in_tier(entry: Mapping[str, Any], tier: str) -> dict[str, Any]:
    """The entry of a model with the prices of a service tier in the place of the standard ones.

    A cached price that only the standard tier has costs as much here, and more where the tier is dearer.
    """
    end = f"_{_SUFFIXES.get(tier, tier)}"
    prices = {key.removesuffix(end): price for key, price in entry.items() if key.endswith(end)}
    cached, base, input_price = (entry.get(KEYS["cached_input"]), entry.get(KEYS["input"]), prices.get(KEYS["input"]))
    if cached and base and input_price and KEYS["cached_input"] not in prices:
        prices[KEYS["cached_input"]] = cached * max(1.0, input_price / base)
    return prices


def litellm_price(entry: Any) -> Price | None:
    """The price in one entry of LiteLLM's table; None without a price of input or output tokens. Raises ValueError."""
    if not isinstance(entry, Mapping):
        raise ValueError("it is not a table of prices")
    tiers = entry.get("tiered_pricing") or []
    if not isinstance(tiers, list) or not all(isinstance(tier, Mapping) for tier in tiers):
        raise ValueError("its tiered_pricing is not a list of tables of prices")
    flat = {**entry, **({key: tiers[0][key] for key in KEYS.values() if key in tiers[0]} if tiers else {})}
    base = {name: _million(flat.get(key)) for name, key in KEYS.items()}
    reasoning = _million(flat.get("output_cost_per_reasoning_token"))
    if base["input"] is None or base["output"] is None:
        return None
    if reasoning is not None:
        base["output"] = max(base["output"], reasoning)
    above = [
        (name, int(found[2]) * 1000, _million(price))
        for key, price in entry.items()
        for name, field in KEYS.items()
        if (found := _ABOVE.fullmatch(key)) and found[1] == field
    ]
    for tier in tiers[1:]:
        try:
            start = int(tier["range"][0])
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise ValueError("a table of its tiered_pricing has no range of tokens") from error
        above += [(name, start, _million(tier.get(key))) for name, key in KEYS.items()]
    above = [one for one in above if one[2] is not None]
    if not above:
        return _of(list(base.values()))
    dearest = [
        max((price for other, _, price in above if other == name and price is not None), default=old)
        for name, old in base.items()
    ]
    return _of(list(base.values()), min(start for _, start, _ in above), _of(dearest))


def _million(per_token: Any) -> float | None:
    if per_token is None:
        return None
    if isinstance(per_token, bool) or not isinstance(per_token, int | float | str):
        raise ValueError(f"{per_token!r} is not a price per token")
    try:
        found = float(Decimal(str(per_token)) * 10**6)
    except ArithmeticError as error:
        raise ValueError(f"{per_token!r} is not a price per token") from error
    if not found >= 0:  # also NaN, with which the maximum of several prices would depend on their order
        raise ValueError(f"a price must be a number of USD per million tokens, 0 or more, not {found}")
    return found
