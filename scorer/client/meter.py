"""Counts what one request takes until it is answered: attempts, seconds, tokens, cost. Knows no wire."""

from __future__ import annotations

from collections.abc import Callable

from scorer.client.cache_leaders import Turn
from scorer.client.repeated_replies import DuplicateReplies
from scorer.usage import (
    Spent,
    Usage,
)


class Meter:
    """Attempts, seconds, tokens and cost of one request, added up over its attempts."""

    # Values of the class until they are set: most of them never are.
    attempts = 0
    """All that were begun, with those whose request was not sent in the end."""
    cut = False
    """A reply was waited for no longer than the learned deadline."""
    fresh = False
    """It is asked on a new connection."""
    doubted: tuple[DuplicateReplies, str] | None = None
    """Of which endpoint, the id of a reply that may have been another's."""
    turn: Turn | None = None
    """Its turn to read a cached prefix, or to write it."""
    _first_sent_at: float | None = None
    _out = _unsent = 0
    _waited_s = _answered_s = 0.0
    _usage: Usage | None = None
    _cost_pico: int | None = None

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._since = self.sent_at = clock()

    def sent(self) -> None:
        """An attempt goes out; of several at once, hedged ones, only the first begins another time."""
        self.sent_at = self._clock()
        if self._first_sent_at is None:
            self._first_sent_at = self.sent_at
        self.attempts += 1
        self._out += 1
        if self._out == 1:
            self._waited_s += self.sent_at - self._since
            self._since = self.sent_at

    @property
    def asking_s(self) -> float:
        """Seconds since the first attempt went out; 0 where none did."""
        return 0.0 if self._first_sent_at is None else self._clock() - self._first_sent_at

    def unsent(self) -> None:
        """An attempt ends whose request was never written whole: no connection was made, or it ended before."""
        self._unsent += 1

    def over(self) -> None:
        """An attempt ended."""
        self._out -= 1
        if self._out == 0:
            now = self._clock()
            self._answered_s += now - self._since
            self._since = now

    def bill(self, usage: Usage | None, cost_pico: int | None) -> None:
        if usage is not None:
            self._usage = usage if self._usage is None else self._usage + usage
        if cost_pico is not None:
            self._cost_pico = (self._cost_pico or 0) + cost_pico

    def read(self) -> Spent:
        return Spent(self.attempts - self._unsent, self._waited_s, self._answered_s, self._usage, self._cost_pico)
