"""Usage (tokens) and Spent (attempts, seconds, tokens, cost) of requests. Imports only `frozen`."""

from __future__ import annotations

from scorer.frozen import dataclass


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as the server counted them.

    Of the prompt, `cached_tokens` were read from its cache, `written_tokens` written to it, and `written_1h_tokens` of
    these to be kept for an hour.
    """

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    written_tokens: int = 0
    written_1h_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Spent:
    """What requests took: attempts, seconds waited and answered, tokens, cost.

    `usage` is None where no reply told it; `cost_pico` (10^-12 USD) is None where the price is unknown.
    """

    attempts: int = 0
    waited_s: float = 0.0
    answered_s: float = 0.0
    usage: Usage | None = None
    cost_pico: int | None = None


def add(a: Usage, b: Usage) -> Usage:
    """The sum of two usages."""
    return Usage(
        a.prompt_tokens + b.prompt_tokens,
        a.completion_tokens + b.completion_tokens,
        a.cached_tokens + b.cached_tokens,
        a.written_tokens + b.written_tokens,
        a.written_1h_tokens + b.written_1h_tokens,
    )
