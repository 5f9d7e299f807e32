"""What one model charges and takes, as its client needs to know it."""

from __future__ import annotations

from scorer.client.prompt_cache import PromptCache
from scorer.client.reservation import Tariff
from scorer.client.tiers import TierFallback
from scorer.frozen import dataclass


@dataclass(frozen=True, slots=True)
class ModelTerms:
    """What a model charges and takes. `tariff` is None where the price is unknown: costs are then null.

    `max_output_tokens` serves requests without one. No count of tokens beyond `window`, its context window, is
    believed. `tier` is the service tier that is asked for, and `fallback` says when a request leaves it, None for
    never. `cache` chooses the prefixes of prompts that the provider is to cache; None for none.
    """

    tariff: Tariff | None
    max_output_tokens: int
    window: int = 2_000_000
    tier: str = "standard"
    fallback: TierFallback | None = None
    cache: PromptCache | None = None
