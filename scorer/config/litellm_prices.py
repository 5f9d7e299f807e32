"""Prices in LiteLLM's format: of `model.price_file`, and of the list that scripts/prices.py reads."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from scorer.config.cost import Price
from scorer.config.price_table import BATCHES, PREFIXES, price_of_figures, provider_at, spellings
from scorer.patterns import pattern

KEYS = {
    "input": "input_cost_per_token",
    "output": "output_cost_per_token",
    "cached_input": "cache_read_input_token_cost",
    "cache_write": "cache_creation_input_token_cost",
}
"""LiteLLM's fields (USD per token) by the names of `Price`."""
_SUFFIXES = {BATCHES: "batches"}
"""How LiteLLM's fields end, where that differs from the tier's name."""
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
    provider = provider_at(base_url)
    owners = [prefix for prefix, owner in PREFIXES.items() if owner == provider]
    wanted = [*spellings(name), *(f"{owner}/{one}" for owner in owners for one in spellings(name))]
    if slash and head in PREFIXES:
        wanted += spellings(rest)
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
        return price_of_figures(list(base.values()))
    dearest = [
        max((price for other, _, price in above if other == name and price is not None), default=old)
        for name, old in base.items()
    ]
    return price_of_figures(list(base.values()), min(start for _, start, _ in above), price_of_figures(dearest))


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
