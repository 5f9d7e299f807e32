"""Prices of the models of a run: from the run file, a price file, or the built-in table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import orjson

from scorer.config.cost import BATCH, CACHE_WRITE, FLEX, HALF_IN_BATCHES, PRIORITY, Price, TierPrices, scaled
from scorer.config.price_table import BATCHES, TIERS, Listed, context_window, listed, on_host
from scorer.config.spec import Model
from scorer.config.spec import Price as PriceTable
from scorer.errors import SpecError

LEAST_WINDOW, UNKNOWN_WINDOW = 100_000, 2_000_000
"""Context windows in tokens: the least that is assumed, and the one assumed for unknown models (more than any has)."""


def price(model: Model) -> Price | None:
    """The price of the model's tokens at `model.tier` and `model.mode`; see `tariff`."""
    if model.mode == "batch":
        return batch_price(model)
    found = tier_prices(model)
    return found.price if found is not None else None


def tier_prices(model: Model) -> TierPrices | None:
    """The prices of the model's tokens in each service tier; None where the standard price is unknown.

    A tier that neither the run file nor the source lists costs `FLEX` or `PRIORITY` times the standard price; Groq's
    flex and Anthropic's priority cost as much as the standard tier.
    """
    found = tariff(model)
    if found is None:
        return None
    same = {"flex": on_host(model.base_url, "groq"), "priority": model.provider == "anthropic"}
    times = {"flex": FLEX, "priority": PRIORITY}
    others = {tier: scaled(found.price, 1.0 if same[tier] else times[tier]) for tier in TIERS}
    return TierPrices(found.price, {**others, **_with_long(found)}, model.tier)


def planned_prices(model: Model) -> TierPrices | None:
    """The prices that a plan counts by: as `tier_prices`, but of batches where the model's requests go in these."""
    found, batch = tier_prices(model), batch_price(model) if model.mode == "batch" else None
    if found is None or batch is None:
        return found
    return TierPrices(found.standard, {**found.others, BATCHES: batch}, BATCHES)


def batch_price(model: Model) -> Price | None:
    """The price of the model's tokens in a provider batch; None where the standard price is unknown.

    Where neither the run file nor the source lists one, it is `BATCH` times the standard price; at Together, where only
    some models are cheaper in batches, the standard price.
    """
    found = tariff(model)
    if found is None:
        return None
    return _with_long(found).get(BATCHES) or scaled(found.price, 1.0 if on_host(model.base_url, "together") else BATCH)


def online_times(model: Model) -> float:
    """The most that a token costs online, divided by its price in a batch; 1 where the price is unknown."""
    found, batch = tariff(model), batch_price(model)
    if found is None or batch is None:
        return 1.0
    pairs = [(found.price.worst_pico(*tokens), batch.worst_pico(*tokens)) for tokens in ((1, 0), (0, 1))]
    return max((online / batched for online, batched in pairs if batched), default=1.0)


def halves_in_batches(model: Model) -> bool:
    """Whether the provider at the model's address charges half in batches by a rule for all of its models."""
    if model.provider == "anthropic":
        return model.base_url is None or on_host(model.base_url, "anthropic")
    return any(on_host(model.base_url, host) for host in HALF_IN_BATCHES)


def _with_long(found: Listed) -> dict[str, Price]:
    """The prices of the tiers that a source lists; long prompts are as much dearer as at the standard tier."""
    standard, tiers = found.price, dict(found.tiers)
    for tier, one in tiers.items():
        if one.long is None and standard.long is not None and standard.input:
            long = scaled(standard.long, one.input / standard.input)
            tiers[tier] = replace(one, long_from=standard.long_from, long=long)
    return tiers


def tariff(model: Model) -> Listed | None:
    """The standard price of the model's tokens with its source and date; None where it is unknown.

    `model.price` comes first, then `model.price_file`, then the built-in table. Of several endpoints the dearest price
    counts. The date of a price file is that of its last change; that of `model.price` is "".
    Raises SpecError for a price file that cannot be read.
    """
    if model.price is not None:
        given = model.price
        named = {
            name: _given(value, model) for name in (*TIERS, BATCHES) if (value := getattr(given, name)) is not None
        }
        return Listed(_given(given, model), "the run file", "", tiers=named)
    if model.provider in ("embedded", "recorded"):
        return Listed(Price(0.0, 0.0), f'provider = "{model.provider}"', "")
    urls = [endpoint.base_url for endpoint in model.endpoints] or [model.base_url or ""]
    found = [_in_file(model, url) or listed(model.name or "", url) for url in urls]
    known = [one for one in found if one is not None]
    return max(known, key=lambda one: (one.price.input, one.price.output)) if len(known) == len(found) else None


def _given(given: PriceTable, model: Model) -> Price:
    write = given.cache_write
    if write is None and model.provider == "anthropic":
        write = CACHE_WRITE * given.input
    return Price(given.input, given.output, given.cached_input, write)


def _in_file(model: Model, url: str) -> Listed | None:
    if model.price_file is None:
        return None
    from scorer.config.litellm_prices import in_file

    where = f"{model.section}.price_file"
    path = Path(model.price_file)
    try:
        changed = path.stat().st_mtime
        listing, name = _listing(model.price_file, changed), model.name or ""
        found = in_file(listing, name, url)
        tiers = {tier: price for tier in (*TIERS, BATCHES) if (price := in_file(listing, name, url, tier)) is not None}
    except OSError as error:
        raise SpecError(
            [f'{where} = "{path}" cannot be read ({error.strerror}). Give a local file, or leave the key out.']
        ) from error
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise SpecError(
            [
                f'{where} = "{path}" has no valid price for "{model.name}" ({error}). It must have the format of '
                "LiteLLM's model_prices_and_context_window.json: an object of models, each with input_cost_per_token "
                "and output_cost_per_token in USD."
            ]
        ) from error
    date = datetime.fromtimestamp(changed, UTC).date().isoformat()
    return Listed(found, str(path), date, tiers=tiers) if found is not None else None


@lru_cache(maxsize=4)
def _listing(path: str, changed: float) -> Mapping[str, Any]:
    """The table in a price file. `changed`, the file's mtime, is a part of the cache key."""
    found = orjson.loads(Path(path).read_bytes())
    if not isinstance(found, dict):
        raise ValueError("it is not an object of models")
    return found


def window(model: Model) -> int:
    """The model's context window in tokens: the bound of its prompts and of its replies.

    2,000,000 where it is unknown, and at least 100,000, because gateways serve other models under old names.
    """
    urls = [endpoint.base_url for endpoint in model.endpoints] or [model.base_url or ""]
    return max(LEAST_WINDOW, *(context_window(model.name or "", url) or UNKNOWN_WINDOW for url in urls))
