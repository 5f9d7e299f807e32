"""Until when there is an excuse for asking nothing: what a pause after each thing that happens may be, and no more.

Progress is a promise too: whenever the world allows it, scorer asks. Each excuse is what DESIGN allows after an event.
"""

from __future__ import annotations

import math

PATIENCE_S = 15.0
"""Silence that needs no excuse: pacing, corrections from headers, opening a run."""
LONGEST_PAUSE_S = 60.0
"""No wish to wait is believed beyond this, and no header that lowers a limit."""
LONGEST_BACKOFF_S = 30.0
BREAKS_AT = 8
"""So many failures in a row, and one probe at a time goes out."""


class Patience:
    """What happened to one process so far, as far as it excuses silence until `until`."""

    def __init__(self, until: float = 0.0) -> None:
        self.until = until
        self.lied_to = False
        """The last reply's headers were lies: until a true one comes, each request may wait for a minute."""
        self._cut_at, self._cut_s = -math.inf, 1.0
        self._failures = 0
        self._broke_at = -math.inf
        self._failures_of: dict[str, int] = {}

    def excuse(self, now: float, seconds: float = 0.0) -> None:
        """Silence for so long, and the usual patience beyond it, says nothing."""
        if self.lied_to:
            seconds = max(seconds, LONGEST_PAUSE_S)
        self.until = max(self.until, now + seconds + PATIENCE_S)

    def asked(self, now: float, timeout_s: float) -> None:
        """A request; while the breaker is open, nothing goes out beside it."""
        self.excuse(now, timeout_s if self._failures >= BREAKS_AT else 0.0)

    def answered(self, now: float, asked_at: float, row: str) -> None:
        self._heard(asked_at)
        if asked_at > self._cut_at:
            self._cut_s = 1.0
        self._failures_of.pop(row, None)
        self.excuse(now)

    def throttled(self, now: float, asked_at: float, wish: str | None) -> None:
        """One 429 excuses one pause: others that were asked before it arrived excuse none."""
        self._heard(asked_at)
        if asked_at <= self._cut_at:
            return
        seconds = self._cut_s
        if wish is not None:
            seconds = max(float(wish) if wish.isdigit() else LONGEST_PAUSE_S, self._cut_s if self._cut_s > 1.0 else 0.0)
        self._cut_at, self._cut_s = now, min(LONGEST_PAUSE_S, self._cut_s * 2)
        self.excuse(now, min(seconds, LONGEST_PAUSE_S))

    def failed(self, now: float, row: str) -> None:
        """A failure excuses its row's backoff, and the breaker's pause once there were enough in a row."""
        self._failures += 1
        if self._failures == BREAKS_AT:
            self._broke_at = now
        self._failures_of[row] = self._failures_of.get(row, 0) + 1
        doublings = max(self._failures - BREAKS_AT, self._failures_of[row] - 1, 0)
        self.excuse(now, min(LONGEST_BACKOFF_S, 0.5 * 2 ** min(doublings, 6)))

    def _heard(self, asked_at: float) -> None:
        """An outage is over once something is answered that was asked in it; a late answer of before says nothing."""
        if self._failures < BREAKS_AT or asked_at >= self._broke_at:
            self._failures = 0
