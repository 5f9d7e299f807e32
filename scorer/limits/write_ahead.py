"""Ledger entries of requests that are not sent yet: how many there may be. A kill counts them as possibly billed."""

from __future__ import annotations

from scorer.frozen import dataclass
from scorer.limits.types import Demand

LEAST_AHEAD = 2
"""So many entries may always be written before their requests can leave."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A ledger entry of a request that is not sent yet: its number, and the demand that it reserves."""

    number: int
    demand: Demand


class AskAgain(Exception):
    """A request has to ask for its permit again, without its ledger entry: that is below the worst case as known now,
    the run was paused, or a row in flight is to have the probe of an outage."""


class WriteAhead:
    """Counts `entries`, and adapts how many there may be: more where requests wait for the disk, fewer for a limit.

    `waiting` is always the number of requests whose entry is durable and that wait for a limit.
    """

    def __init__(self) -> None:
        self.entries = 0
        self._most = LEAST_AHEAD

    def full(self, *, outage: bool) -> bool:
        """True where no further entry may be written. In an outage one request is enough: the probe."""
        return self.entries >= (1 if outage else self._most)

    def written(self, waiting: int) -> None:
        """An entry is durable."""
        if 2 * waiting > self.entries:  # more of them wait for a limit than for the disk
            self._most = max(LEAST_AHEAD, self._most - 1)

    def sent(self, waiting: int, concurrency: int) -> None:
        """The request of an entry is sent."""
        self.entries -= 1
        if self.entries and not waiting:  # all of them wait for the disk: let more be written at once
            self._most = min(concurrency, self._most + 1)
