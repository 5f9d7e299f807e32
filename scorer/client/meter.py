"""Counts what one request takes until it is answered: attempts, seconds, tokens, cost. Knows no wire."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field
from operator import itemgetter
from typing import TYPE_CHECKING

from scorer.client.repeated_replies import DuplicateReplies
from scorer.frozen import dataclass
from scorer.usage import Spent, Usage

if TYPE_CHECKING:
    from scorer.client.cache_leaders import Turn

Ended = tuple[float, float, Usage | None, int | None]
"""An attempt: when it went out, when it ended, its usage and its cost in pico-dollars; None where unknown."""


@dataclass(slots=True, eq=False)
class Meter:
    """The attempts of one request, and what tells how the next one is made. `read` sums them up."""

    clock: Callable[[], float]
    since: float
    """When the request came."""
    sent_at: float
    """When the last attempt went out; before the first, when the request came."""
    attempts: int = 0
    """All that were begun, with those whose request was not sent in the end."""
    unsent: int = 0
    """Attempts whose request was never written whole: no connection was made, or it ended before."""
    cut: bool = False
    """A reply was waited for no longer than the learned deadline."""
    fresh: bool = False
    """It is asked on a new connection."""
    doubted: tuple[DuplicateReplies, str] | None = None
    """Of which endpoint, the id of a reply that may have been another's."""
    turn: Turn | None = None
    """Its turn to read a cached prefix, or to write it."""
    ended: list[Ended] = field(default_factory=list)

    @property
    def asking_s(self) -> float:
        """Seconds since the first of the attempts that ended went out; 0 where none ended."""
        now = self.clock()
        return now - min((sent_at for sent_at, *_ in self.ended), default=now)

    def read(self) -> Spent:
        """What the attempts took. Seconds in which several were out, hedged ones, count once."""
        waited_s, answered_s, at = 0.0, 0.0, self.since
        usage: Usage | None = None
        cost_pico: int | None = None
        if len(self.ended) > 1:
            self.ended.sort(key=itemgetter(0))
        for sent_at, ended_at, used, cost in self.ended:
            if sent_at > at:
                waited_s += sent_at - at
                at = sent_at
            if ended_at > at:
                answered_s += ended_at - at
                at = ended_at
            if used is not None:
                usage = used if usage is None else usage + used
            if cost is not None:
                cost_pico = cost if cost_pico is None else cost_pico + cost
        return Spent(self.attempts - self.unsent, waited_s, answered_s, usage, cost_pico)
