"""Counts what one request takes until it is answered: attempts, seconds, tokens, cost. Knows no wire."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from scorer.client.repeated_replies import DuplicateReplies
from scorer.frozen import dataclass
from scorer.usage import Spent, Usage

if TYPE_CHECKING:
    from scorer.client.cache_leaders import Turn


@dataclass(slots=True, eq=False)
class Meter:
    """Attempts, seconds, tokens and cost of one request, added up over its attempts."""

    clock: Callable[[], float]
    since: float
    """When it last began to wait or to be answered."""
    sent_at: float
    """When the last attempt went out; before the first, when the request came."""
    attempts: int = 0
    """All that were begun, with those whose request was not sent in the end."""
    cut: bool = False
    """A reply was waited for no longer than the learned deadline."""
    fresh: bool = False
    """It is asked on a new connection."""
    doubted: tuple[DuplicateReplies, str] | None = None
    """Of which endpoint, the id of a reply that may have been another's."""
    turn: Turn | None = None
    """Its turn to read a cached prefix, or to write it."""
    _first_sent_at: float | None = None
    _out: int = 0
    _unsent: int = 0
    _waited_s: float = 0.0
    _answered_s: float = 0.0
    _usage: Usage | None = None
    _cost_pico: int | None = None

    def sent(self, now: float) -> None:
        """An attempt goes out; of several at once, hedged ones, only the first begins another time."""
        self.sent_at = now
        if self._first_sent_at is None:
            self._first_sent_at = now
        self.attempts += 1
        if self._out == 0:
            self._waited_s += now - self.since
            self.since = now
        self._out += 1

    @property
    def asking_s(self) -> float:
        """Seconds since the first attempt went out; 0 where none did."""
        return 0.0 if self._first_sent_at is None else self.clock() - self._first_sent_at

    def unsent(self) -> None:
        """An attempt ends whose request was never written whole: no connection was made, or it ended before."""
        self._unsent += 1

    def over(self, now: float, usage: Usage | None, cost_pico: int | None) -> None:
        """An attempt ended. None where its usage or its cost is unknown, or it has none."""
        if usage is not None:
            self._usage = usage if self._usage is None else self._usage + usage
        if cost_pico is not None:
            self._cost_pico = (self._cost_pico or 0) + cost_pico
        self._out -= 1
        if self._out == 0:
            self._answered_s += now - self.since
            self.since = now

    def read(self) -> Spent:
        return Spent(self.attempts - self._unsent, self._waited_s, self._answered_s, self._usage, self._cost_pico)
