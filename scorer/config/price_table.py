"""The built-in table of prices and context lengths of known models, with source and date.

The table is prices.tsv, which scripts/prices.py writes from two public lists. It is read at the first lookup, not at
import. The provider of a name is taken from the address or from the name's prefix. An open model on an unknown host has
no price. Knows no run file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import field
from functools import cache, lru_cache
from pathlib import Path
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
PREFIXES = {
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
"""Providers by the prefixes of model names."""
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
    host = provider_at(base_url)
    head, slash, rest = name.partition("/")
    if host is not None:
        names = [name, rest] if slash and PREFIXES.get(head) == host else [name]
        found = next(filter(None, (_found(host, one) for one in names)), None)
        return found if found is not None or host not in _RESOLD else _made(name)
    if slash and (provider := PREFIXES.get(head)) is not None:
        found = _found(provider, rest)
        return found if found is not None or not (provider in _RESOLD or head == "vertex_ai") else _made(rest)
    return _made(name)


def provider_at(base_url: str) -> str | None:
    """The provider of an address; None where it is not known."""
    try:
        host = urlsplit(base_url).hostname or ""
    except ValueError:
        return None
    if host.startswith("bedrock") and host.endswith(".amazonaws.com"):
        return "bedrock"
    return next((name for ends, name in _HOSTS.items() if host == ends or host.endswith(f".{ends}")), None)


def on_host(base_url: str | None, provider: str) -> bool:
    """Whether the address is one of this provider."""
    return provider_at(base_url or "") == provider


def _made(name: str) -> Listed | None:
    """The maker's entry where all provider prefixes of the name are makers or resellers; of several the dearest."""
    *heads, name = name.split("/")
    providers = {PREFIXES.get(head) for head in heads}
    if not providers <= {*MAKERS, *_RESOLD}:
        return None
    named = [maker for maker in MAKERS if maker in providers] or MAKERS
    found = [one for maker in named if (one := _found(maker, name)) is not None]
    return max(found, key=lambda one: (one.price.input + one.price.output, one.window or 0), default=None)


def _found(provider: str, name: str) -> Listed | None:
    for one in spellings(name):
        if (found := _line(provider, one)) is not None:
            return found
    return None


def spellings(name: str) -> Iterator[str]:
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


@lru_cache(maxsize=64)  # a name without a provider is looked up for each maker
def _cells(name: str) -> dict[str, list[str]]:
    """What the table says of a name, by provider."""
    text, _ = _table()
    found, at = {}, text.find(middle := f"\t{name}\t")
    while at >= 0:
        provider = text[text.rindex("\n", 0, at) + 1 : at]
        if "\t" not in provider:
            found[provider] = text[at + len(middle) : text.index("\n", at)].split("\t")
        at = text.find(middle, at + 1)
    return found


def _line(provider: str, name: str) -> Listed | None:
    cells = _cells(name).get(provider)
    if cells is None:
        return None
    sources = _table()[1]
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
        return price_of_figures(base)
    long = [value if value is not None else old for value, old in zip(more, base, strict=True)]
    return price_of_figures(base, int(above), price_of_figures(long))


def price_of_figures(figures: list[float | None], above: int | None = None, long: Price | None = None) -> Price:
    """The price of input, output, cached input and cache writes, in this order; `long` beyond `above` tokens."""
    assert figures[0] is not None
    assert figures[1] is not None
    return Price(figures[0], figures[1], figures[2], figures[3], above, long)


def _number(cell: str) -> float | None:
    return float(cell) if cell else None
