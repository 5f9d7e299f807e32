"""One rate of a worker: it holds what the broker leased, and no clock refills it."""

from __future__ import annotations

import math
from collections.abc import Callable

from scorer.limits.rate_limits import TokenRate


class LeasedRate(TokenRate):
    """The rest of a lease of tokens or requests. After `until` it may only be handed back, not used.

    `used` is what was taken since the last lease. `ask` is called where `wait_s` finds too little.
    """

    def __init__(self, per_minute: float, clock: Callable[[], float], ask: Callable[[], None]) -> None:
        self._clock = clock
        self._ask = ask
        self.declared = self.per_minute = per_minute
        self.given = 0.0
        self.level = 0.0
        self.until = -math.inf
        self.used = 0.0
        self._returned = 0.0

    def _tune(self, per_minute: float) -> None:
        self.per_minute = per_minute

    def wait_s(self, amount: float = 1.0) -> float:
        if self.level >= amount - 1e-6 and self._clock() < self.until:
            return 0.0
        self._ask()
        return math.inf

    def take(self, amount: float = 1.0) -> None:
        self.level -= amount
        self.used += amount
        self.given += amount

    def give(self, amount: float) -> None:
        """Returns what was taken too much to the broker, whose bucket bounds it. Negative: it is missing here."""
        if amount > 0:
            self._returned += amount
        else:
            self.level += amount
        self.used -= amount

    def correct(self, remaining: float, elapsed_s: float, since: float) -> None:
        """Does nothing: the broker gets the observation, and knows what all workers took since."""

    def lease(self, amount: float, until: float) -> None:
        """Adds an amount that may be used until then. What is missing from before is taken off it."""
        self.level += amount
        self.until = until

    def hand_back(self) -> float:
        """Ends the lease. Returns what is left; negative where more was used than was leased."""
        unused, self.level, self._returned, self.used = self.level + self._returned, 0.0, 0.0, 0.0
        return unused
