"""Sums of what a run was billed, and of what it may have been billed."""

from __future__ import annotations

from copy import copy
from typing import Self

from scorer.frozen import dataclass


@dataclass(slots=True)
class Totals:
    """Sums since the run began. Those of an open ledger go on growing. Money is in pico-dollars.

    `maybe_*` are requests that were possibly billed, at their reservations.
    """

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    pico: int = 0
    maybe_requests: int = 0
    maybe_tokens: int = 0
    maybe_pico: int = 0

    @property
    def known_tokens(self) -> int:
        """The tokens that were billed."""
        return self.prompt_tokens + self.completion_tokens

    @property
    def tokens(self) -> int:
        """All tokens that count against a cap."""
        return self.known_tokens + self.maybe_tokens

    @property
    def money_pico(self) -> int:
        """All money that counts against a cap."""
        return self.pico + self.maybe_pico

    def covers(self, other: Totals) -> bool:
        """True where at least as much of each cap is used as by the other."""
        return self.tokens >= other.tokens and self.money_pico >= other.money_pico

    def bill(self, prompt: int, completion: int, cached: int, pico: int) -> None:
        """Adds a request whose bill is known."""
        self.requests += 1
        self.prompt_tokens += prompt
        self.completion_tokens += completion
        self.cached_tokens += cached
        self.pico += pico

    def suspect(self, tokens: int, pico: int, requests: int = 1) -> None:
        """Adds requests that may have been billed, at their reservation."""
        self.maybe_requests += requests
        self.maybe_tokens += tokens
        self.maybe_pico += pico

    def __add__(self, other: Totals) -> Totals:
        total = copy(self)
        total += other
        return total

    def add(self, other: Totals, times: int = 1) -> None:
        """Adds the other sums so many times; with -1 takes them away."""
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + times * getattr(other, name))

    def __iadd__(self, other: Totals) -> Self:
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        return self
