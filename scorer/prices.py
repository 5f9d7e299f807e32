"""List prices of known models, and what a request costs in whole pico-dollars (10^-12 USD).

USD per million tokens x 10^6 = pico-dollars a token, so a bill is a sum of integers and never drifts.

`PRICES` holds the makers' own list prices as known at the end of 2025: standard tier, text, no batch discount, and for
prompts below the size at which a maker charges more (200,000 tokens at Google). Where a price was lowered and the date
of the change was in doubt, the higher one stands, so that a cap errs on the safe side. Left out is whatever moves:
names that point at the newest model, hosts with prices of their own, fine-tuned models. `[model] price` overrides it.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, Decimal

from scorer.schema import Usage


@dataclass(frozen=True, slots=True)
class Price:
    """USD per million tokens; `cached_input` is None where cached prompt tokens cost what others do.

    A price finer than one pico-dollar a token is rounded up.

    Raises: ValueError for a price that is negative or not finite.
    """

    input: float
    output: float
    cached_input: float | None = None
    _pico: tuple[int, int, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        cached = self.input if self.cached_input is None else self.cached_input
        object.__setattr__(self, "_pico", (_pico(self.input), _pico(self.output), _pico(cached)))

    def cost_pico(self, usage: Usage) -> int:
        """The bill for `usage`; no more tokens count as cached than the prompt has."""
        fresh, output, cached = self._pico
        from_cache = min(usage.cached_tokens, usage.prompt_tokens)
        return (usage.prompt_tokens - from_cache) * fresh + from_cache * cached + usage.completion_tokens * output

    def worst_pico(self, prompt_tokens: int, completion_tokens: int) -> int:
        """The most that a request of at most this size can cost, whatever the server finds in its cache."""
        fresh, output, cached = self._pico
        return prompt_tokens * max(fresh, cached) + completion_tokens * output


def _pico(usd_per_million: float) -> int:
    if not (math.isfinite(usd_per_million) and usd_per_million >= 0):
        raise ValueError(f"a price must be a number of USD per million tokens, 0 or more, not {usd_per_million!r}")
    # Through the shortest decimal: 0.075 means 0.075, not the binary fraction beside it.
    return int(Decimal(str(usd_per_million)).scaleb(6).to_integral_value(ROUND_CEILING))


PRICES: dict[str, Price] = {
    # OpenAI
    "gpt-3.5-turbo": Price(0.50, 1.50),
    "gpt-4": Price(30, 60),
    "gpt-4-turbo": Price(10, 30),
    "gpt-4o": Price(2.50, 10, 1.25),
    "gpt-4o-2024-05-13": Price(5, 15),
    "gpt-4o-mini": Price(0.15, 0.60, 0.075),
    "chatgpt-4o-latest": Price(5, 15),
    "gpt-4.1": Price(2, 8, 0.50),
    "gpt-4.1-mini": Price(0.40, 1.60, 0.10),
    "gpt-4.1-nano": Price(0.10, 0.40, 0.025),
    "gpt-5": Price(1.25, 10, 0.125),
    "gpt-5-mini": Price(0.25, 2, 0.025),
    "gpt-5-nano": Price(0.05, 0.40, 0.005),
    "gpt-5-pro": Price(15, 120),
    "gpt-5-chat-latest": Price(1.25, 10, 0.125),
    "gpt-5.1": Price(1.25, 10, 0.125),
    "gpt-5.2": Price(1.75, 14, 0.175),
    "o1": Price(15, 60, 7.50),
    "o1-mini": Price(1.10, 4.40, 0.55),
    "o1-pro": Price(150, 600),
    "o3": Price(2, 8, 0.50),
    "o3-mini": Price(1.10, 4.40, 0.55),
    "o3-pro": Price(20, 80),
    "o4-mini": Price(1.10, 4.40, 0.275),
    # Anthropic; cached_input is a cache read. Writing to the cache costs more, and scorer never asks for it.
    "claude-3-haiku": Price(0.25, 1.25, 0.03),
    "claude-3-opus": Price(15, 75, 1.50),
    "claude-3-5-haiku": Price(0.80, 4, 0.08),
    "claude-3-5-sonnet": Price(3, 15, 0.30),
    "claude-3-7-sonnet": Price(3, 15, 0.30),
    "claude-sonnet-4": Price(3, 15, 0.30),
    "claude-sonnet-4-0": Price(3, 15, 0.30),
    "claude-opus-4": Price(15, 75, 1.50),
    "claude-opus-4-0": Price(15, 75, 1.50),
    "claude-opus-4-1": Price(15, 75, 1.50),
    "claude-haiku-4-5": Price(1, 5, 0.10),
    "claude-sonnet-4-5": Price(3, 15, 0.30),
    "claude-opus-4-5": Price(5, 25, 0.50),
    # Google
    "gemini-2.0-flash": Price(0.10, 0.40, 0.025),
    "gemini-2.0-flash-lite": Price(0.075, 0.30),
    "gemini-2.5-flash": Price(0.30, 2.50, 0.075),
    "gemini-2.5-flash-lite": Price(0.10, 0.40, 0.025),
    "gemini-2.5-pro": Price(1.25, 10, 0.31),
    # DeepSeek
    "deepseek-chat": Price(0.28, 0.42, 0.028),
    "deepseek-reasoner": Price(0.28, 0.42, 0.028),
    # Mistral: by version only, since -latest moves between prices
    "mistral-large-2411": Price(2, 6),
    "mistral-medium-2505": Price(0.40, 2),
    "mistral-medium-2508": Price(0.40, 2),
    "mistral-small-2503": Price(0.10, 0.30),
    "mistral-small-2506": Price(0.10, 0.30),
    "ministral-3b-2410": Price(0.04, 0.04),
    "ministral-8b-2410": Price(0.10, 0.10),
    "open-mistral-nemo": Price(0.15, 0.15),
}

# A host that is not the maker (or passes his prices on) may charge anything, so a name under it is unknown.
_MAKERS = frozenset(
    {
        *("openai", "azure", "anthropic", "deepseek", "mistral", "mistralai"),
        *("google", "gemini", "vertex_ai", "models", "openrouter"),
    }
)
_RELEASE = re.compile(r"(?:[-@]\d{4}-\d{2}-\d{2}|[-@]\d{8}|-latest)\Z", re.ASCII)


def price_of(model_name: str) -> Price | None:
    """The list price of a model under its exact name, with or without its maker and the date of its release.

    `openai/gpt-4o-mini-2024-07-18` is gpt-4o-mini; `gpt-4o-mini-tts`, `ft:gpt-4o-mini:mine` and `together/gpt-4o-mini`
    are unknown, since an unknown price is refused and a wrong one overspends.
    """
    *makers, name = model_name.strip().lower().split("/")
    if not _MAKERS.issuperset(makers):
        return None
    if name.startswith("claude-"):
        name = name.replace(".", "-")  # OpenRouter writes claude-3.5-haiku
    return PRICES.get(name) or PRICES.get(_RELEASE.sub("", name))
