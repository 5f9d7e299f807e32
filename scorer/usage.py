"""Usage (tokens) and Spent (attempts, seconds, tokens, cost) of requests. Imports only `frozen`."""

from __future__ import annotations

from scorer.frozen import dataclass


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as the server counted them.

    Of the prompt, `cached_tokens` were read from the cache and `written_tokens` were written to it, `written_1h_tokens`
    of these for an hour. Of the completion, `reasoning_tokens` were reasoning; None where the server does not say.
    `tier` is the service tier that the reply names: standard, flex, priority or the server's own word; None where it
    names none. Of a sum it is the dearest.
    """

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    written_tokens: int = 0
    written_1h_tokens: int = 0
    reasoning_tokens: int | None = None
    tier: str | None = None

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.cached_tokens + other.cached_tokens,
            self.written_tokens + other.written_tokens,
            self.written_1h_tokens + other.written_1h_tokens,
            self.reasoning_tokens
            if other.reasoning_tokens is None
            else (self.reasoning_tokens or 0) + other.reasoning_tokens,
            self.tier if self.tier == other.tier else _dearer(self.tier, other.tier),
        )


def _dearer(one: str | None, other: str | None) -> str | None:
    if one is None or other is None:
        return one or other
    return max(one, other, key=lambda tier: {"flex": 0, "priority": 2}.get(tier, 1))


@dataclass(frozen=True, slots=True)
class Spent:
    """What requests took: attempts, seconds of waiting and of answering, tokens, cost.

    `attempts` are requests that were sent: one without a connection, or that was not written whole, is none.
    `usage` is None where no reply stated it; `cost_pico` (10^-12 USD) is None where the price is unknown.
    """

    attempts: int = 0
    waited_s: float = 0.0
    answered_s: float = 0.0
    usage: Usage | None = None
    cost_pico: int | None = None

    def __add__(self, other: Spent) -> Spent:
        """The sum. Where only one of the two has a `usage` or a `cost_pico`, the sum has that one."""
        return Spent(
            self.attempts + other.attempts,
            self.waited_s + other.waited_s,
            self.answered_s + other.answered_s,
            self.usage + other.usage
            if self.usage is not None and other.usage is not None
            else self.usage or other.usage,
            (self.cost_pico or 0) + (other.cost_pico or 0)
            if self.cost_pico is not None or other.cost_pico is not None
            else None,
        )
