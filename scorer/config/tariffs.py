"""Prices of a run's models: from the run file, a price file, or the built-in table."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import orjson

from scorer.config.price_list import Listed, context_window, in_file, listed
from scorer.config.prices import CACHE_WRITE, Price
from scorer.config.spec import Model
from scorer.errors import SpecError

LEAST_WINDOW, UNKNOWN_WINDOW = 100_000, 2_000_000
"""Context windows in tokens: a table's smaller one is not believed, and where there is none, that of any model sold."""


def price(model: Model) -> Price | None:
    """What the model's tokens cost; see `tariff`."""
    found = tariff(model)
    return found.price if found is not None else None


def tariff(model: Model) -> Listed | None:
    """What the model's tokens cost, by whom and from when; None where nobody knows.

    The run file's own word, else that of `model.price_file`, else the built-in table's; of several endpoints' providers
    the dearest. The date of a file is that of its last change, that of the run file's word is "".
    Raises SpecError for a price file that cannot be read.
    """
    if model.price is not None:
        told = model.price
        write = told.cache_write
        if write is None and model.provider == "anthropic":
            write = CACHE_WRITE * told.input
        return Listed(Price(told.input, told.output, told.cached_input, write), "the run file", "")
    if model.provider in ("embedded", "recorded"):
        return Listed(Price(0.0, 0.0), f'provider = "{model.provider}"', "")
    urls = [endpoint.base_url for endpoint in model.endpoints] or [model.base_url or ""]
    found = [_in_file(model, url) or listed(model.name or "", url) for url in urls]
    known = [one for one in found if one is not None]
    return max(known, key=lambda one: (one.price.input, one.price.output)) if len(known) == len(found) else None


def _in_file(model: Model, url: str) -> Listed | None:
    if model.price_file is None:
        return None
    where = f"models.{model.alias}.price_file" if model.alias else "model.price_file"
    path = Path(model.price_file)
    try:
        changed = path.stat().st_mtime
        found = in_file(_listing(model.price_file, changed), model.name or "", url)
    except OSError as error:
        raise SpecError(
            [f'{where} = "{path}" cannot be read ({error.strerror}). Give a file of this machine, or leave it out.']
        ) from error
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise SpecError(
            [
                f'{where} = "{path}" has no price for "{model.name}" that can be read ({error}). Its shape is that of '
                "LiteLLM's model_prices_and_context_window.json: an object of models, each with input_cost_per_token "
                "and output_cost_per_token in USD."
            ]
        ) from error
    date = datetime.fromtimestamp(changed, UTC).date().isoformat()
    return Listed(found, str(path), date) if found is not None else None


@lru_cache(maxsize=4)
def _listing(path: str, changed: float) -> Mapping[str, Any]:
    """The table in a price file, read again where it has `changed` since."""
    found = orjson.loads(Path(path).read_bytes())
    if not isinstance(found, dict):
        raise ValueError("it holds no object of models")
    return found


def window(model: Model) -> int:
    """The longest prompt, and the longest reply, that the model can have, in tokens.

    2,000,000 where nobody knows, and never less than 100,000: gateways serve other models under old names.
    """
    urls = [endpoint.base_url for endpoint in model.endpoints] or [model.base_url or ""]
    return max(LEAST_WINDOW, *(context_window(model.name or "", url) or UNKNOWN_WINDOW for url in urls))
