"""The pause of one endpoint after a 429: one pause for all requests.

The server's own wait is believed once. From the second 429 in a row on, the pause is at least a backoff that doubles
from 1 to 60 s. Without it, a server that asks for no wait, or for one in the past, would get thousands of requests a
second. A quota for a day or longer is waited for as long as the server says. Knows no requests and no clock.
"""

from __future__ import annotations

FIRST_S = 1.0
LONGEST_S = 60.0
"""A longer Retry-After is cut to this, except for a quota: one request then tests whether the limit still holds."""
QUOTAS = 3
"""After so many 429s in a row for a quota that the server said had renewed, the set-up is wrong."""


class Cooldown:
    """The pause lasts until `until`. `quotas` counts the pauses in a row for a quota. All times are on one clock."""

    def __init__(self) -> None:
        self.until = 0.0
        self.quotas = 0
        self.began = False
        """There was a 429."""
        self._cut_at = float("-inf")
        self._cut_before = float("-inf")
        self._own_s = FIRST_S
        self._row = 0

    def throttled(self, sent_at: float, now: float, wish_s: float | None, *, quota: bool = False) -> bool:
        """Takes a 429 to a request sent at `sent_at`. False, and no new pause, where it was sent before the last 429.

        `wish_s` is the server's Retry-After, None without one. `quota`: it is for a day's quota or a longer one.
        """
        if sent_at <= self._cut_at:
            return False
        self.began = True
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
        """Takes an answer to a request sent at `sent_at`.

        Sent after the last 429, it resets the backoff and the count. Sent between the last two, the endpoint refuses
        some requests and answers others: the backoff starts again at one second.
        """
        if sent_at > self._cut_at:
            self._own_s = FIRST_S
            self._row = self.quotas = 0
        elif sent_at > self._cut_before:
            self._own_s = FIRST_S
            self._row = min(self._row, 1)

    def pause(self, until: float) -> None:
        """Prolongs the pause to `until`, for a 429 that another process got."""
        self.until = max(self.until, until)
