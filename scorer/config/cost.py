"""Cost of a request in whole pico-dollars (10^-12 USD).

A price of x USD per million tokens is x * 10^6 pico-dollars per token, so a cost is a sum of integers without rounding
errors. price_table.py has the prices of models.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import ROUND_CEILING, Decimal
from typing import Literal

from scorer import frozen
from scorer.usage import Usage

CACHE_WRITE = 1.25
"""Anthropic's price of prompt tokens written to its cache for five minutes, divided by the input price.

Source: Anthropic, Prompt caching, Pricing: 1.25 of the base input price for 5 minutes, 2 for an hour."""
Written = Literal["", "5m", "1h"]
"""Whether a request may write to a cache: not, for minutes, or for an hour."""
HOUR = 1.6
"""The price of a cache entry that is kept for an hour, divided by that for five minutes: 2 / 1.25."""


@dataclass(frozen=True, slots=True)
class Price:
    """USD per million tokens. `cached_input` is None where cached prompt tokens cost the same as others.

    `cache_write` is the price of prompt tokens written to a cache for minutes (for an hour: times `HOUR`), None where
    they cost the same as others. A request whose prompt has more than `long_from` tokens costs `long`. Prices are
    rounded up to whole pico-dollars per token.

    Raises ValueError for a price that is negative or not finite.
    """

    input: float
    output: float
    cached_input: float | None = None
    cache_write: float | None = None
    long_from: int | None = None
    long: Price | None = None
    _pico: tuple[int, int, int, int, int] = field(init=False, repr=False, compare=False)
    _dearest: Mapping[Written, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        cached = self.input if self.cached_input is None else self.cached_input
        fresh, output = _pico(self.input), _pico(self.output)
        write = fresh if self.cache_write is None else _pico(self.cache_write)
        hour = fresh if self.cache_write is None else _pico(self.cache_write, HOUR)
        dear = max(fresh, _pico(cached))
        object.__setattr__(self, "_pico", (fresh, output, _pico(cached), write, hour))
        object.__setattr__(self, "_dearest", {"": dear, "5m": max(dear, write), "1h": max(dear, write, hour)})

    def cost_pico(self, usage: Usage) -> int:
        """The cost of `usage`. Cached and written tokens together count at most as many as the prompt has."""
        if self.long is not None and self.long_from is not None and usage.prompt_tokens > self.long_from:
            return self.long.cost_pico(usage)
        fresh, output, cached, write, hour = self._pico
        prompt, from_cache = usage.prompt_tokens, usage.cached_tokens
        if from_cache > prompt:
            from_cache = prompt
        cost = (prompt - from_cache) * fresh + from_cache * cached + usage.completion_tokens * output
        if usage.written_tokens:
            written = min(usage.written_tokens, prompt - from_cache)
            lasting = min(usage.written_1h_tokens, written)
            cost += (written - lasting) * (write - fresh) + lasting * (hour - fresh)
        return cost

    def worst_pico(self, prompt_tokens: int, completion_tokens: int, *, written: Written = "1h") -> int:
        """The most that a request of at most this size can cost, with any part of the prompt read from the cache.

        Any part may also be `written` to the cache.
        """
        worst = prompt_tokens * self._dearest[written] + completion_tokens * self._pico[1]
        if self.long is None or self.long_from is None or prompt_tokens <= self.long_from:
            return worst
        return max(worst, self.long.worst_pico(prompt_tokens, completion_tokens, written=written))


STANDARD = "standard"
FLEX, PRIORITY = 0.5, 2.5
"""Prices of the service tiers divided by the standard price, where no list has them.

Sources: OpenAI, Google and Amazon, Pricing: flex is half; the dearest priority tier that LiteLLM lists is 2.5."""

BATCH = 0.5
"""The price in a provider batch divided by the standard price, where no list has it.

Sources: OpenAI, Azure, Anthropic, Mistral, Groq and Together, Pricing: batches cost half."""

HALF_IN_BATCHES = ("openai", "azure", "mistral", "groq")
"""Those of these providers whose batches go by `provider = "openai"`, by the names of their addresses."""


@frozen.dataclass(frozen=True, slots=True)
class TierPrices:
    """The prices of a model by service tier; `asked` is the tier of its requests.

    A usage costs the price of the tier that it names; one that names none the dearer of that of `asked` and the
    standard one. A tier without a price of its own costs the standard price.
    """

    standard: Price
    others: Mapping[str, Price]
    asked: str = STANDARD

    @property
    def price(self) -> Price:
        """The price at the tier that is asked for."""
        return self.others.get(self.asked, self.standard)

    def billed_at(self, tier: str | None) -> Price:
        """The price of replies that name `tier`; of those that name none, that of the dearer output."""
        if tier is not None:
            return self.others.get(tier, self.standard)
        return max(self.standard, self.price, key=lambda one: (one.output, one.input))

    def cost_pico(self, usage: Usage) -> int:
        """The cost of `usage` in pico-dollars."""
        if usage.tier is not None:
            return self.others.get(usage.tier, self.standard).cost_pico(usage)
        cost = self.standard.cost_pico(usage)
        return cost if self.asked == STANDARD else max(cost, self.price.cost_pico(usage))

    def worst_pico(self, prompt_tokens: int, completion_tokens: int, *, written: Written = "1h") -> int:
        """The most that a request can cost, served at the tier that is asked for or at the standard one."""
        worst = self.standard.worst_pico(prompt_tokens, completion_tokens, written=written)
        if self.asked == STANDARD:
            return worst
        return max(worst, self.price.worst_pico(prompt_tokens, completion_tokens, written=written))


def scaled(price: Price, times: float) -> Price:
    """The price with each figure multiplied."""
    return replace(
        price,
        input=price.input * times,
        output=price.output * times,
        cached_input=None if price.cached_input is None else price.cached_input * times,
        cache_write=None if price.cache_write is None else price.cache_write * times,
        long=None if price.long is None else scaled(price.long, times),
    )


def _pico(usd_per_million: float, times: float = 1.0) -> int:
    if not (math.isfinite(usd_per_million) and usd_per_million >= 0):
        raise ValueError(f"a price must be a number of USD per million tokens, 0 or more, not {usd_per_million!r}")
    # By way of the shortest decimal: 0.075 means 0.075, not the nearest binary fraction.
    return int((Decimal(str(usd_per_million)) * Decimal(str(times))).scaleb(6).to_integral_value(ROUND_CEILING))
