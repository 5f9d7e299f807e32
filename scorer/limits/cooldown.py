"""The pause of one endpoint after a 429: one for all requests, never shorter than the server has proved to need.

What the server asks for is believed once. From the second 429 in a row on, the pause is at least our own, which
doubles from 1 to 60 s: a server that asks for no wait, or for one that is over, would be asked thousands of times a
second. A quota for a day or longer is waited for as long as the server says. Knows no requests and no clock.
"""

from __future__ import annotations

FIRST_S = 1.0
LONGEST_S = 60.0
"""No Retry-After is believed beyond this, but for a quota: one request then finds out whether it still holds."""
QUOTAS = 3
"""So many times in a row a quota may turn out not to have renewed when the server said that it would."""


class Cooldown:
    """`until` is when the pause ends, `quotas` how many pauses for a quota were in a row. Times are one clock's."""

    def __init__(self) -> None:
        self.until = 0.0
        self.quotas = 0
        self._cut_at = float("-inf")
        self._cut_before = float("-inf")
        self._own_s = FIRST_S
        self._row = 0

    def throttled(self, sent_at: float, now: float, wish_s: float | None, *, quota: bool = False) -> bool:
        """A 429 came for a request sent at `sent_at`. False where that was sent before the last 429: it is no news."""
        if sent_at <= self._cut_at:
            return False
        self._cut_before, self._cut_at = self._cut_at, now
        self._row += 1
        wait_s = self._own_s if wish_s is None else wish_s if quota else min(wish_s, LONGEST_S)
        if self._row > 1:
            wait_s = max(wait_s, self._own_s)
        self._own_s = min(LONGEST_S, self._own_s * 2)
        self.quotas = self.quotas + 1 if quota else 0
        self.until = max(self.until, now + wait_s)
        return True

    def answered(self, sent_at: float) -> None:
        """A request sent at `sent_at` was answered.

        Where it was sent after the last 429, that one is over. Where it was sent with the request that met it, the
        endpoint refuses some and answers others: the pauses grow no longer, and none is shorter than a second.
        """
        if sent_at > self._cut_at:
            self._own_s = FIRST_S
            self._row = self.quotas = 0
        elif sent_at > self._cut_before:
            self._own_s = FIRST_S
            self._row = min(self._row, 1)

    def pause(self, until: float) -> None:
        """Somebody else met a 429."""
        self.until = max(self.until, until)
