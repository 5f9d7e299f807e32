"""The models of a price file that can stand in for a run's own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from scorer.config.model_prices import tariff
from scorer.config.spec import Model

MOST_MODELS = 8
"""A price file with more models names none by itself: each would be counted."""


def models_of_file(model: Model, notes: list[str]) -> list[str]:
    """The names of chat models of the same provider in `model.price_file`; none where they are many, with a note.

    Raises SpecError for a price file that cannot be read.
    """
    if model.price_file is None:
        return []
    tariff(model)  # says what is wrong with the file
    listing: Mapping[str, Any] = orjson.loads(Path(model.price_file).read_bytes())
    own = listing.get(model.name or "")
    provider = own.get("litellm_provider") if isinstance(own, Mapping) else None
    names = [
        name
        for name, entry in listing.items()
        if isinstance(entry, Mapping)
        and "input_cost_per_token" in entry
        and entry.get("mode", "chat") == "chat"
        and provider in (None, entry.get("litellm_provider"))
    ]
    if len(names) > MOST_MODELS:
        notes.append(f"{model.price_file} lists {len(names):,} models: name those to compare with --model NAME.")
        return []
    return names
