"""How long a client may send nothing after each kind of event.

Progress is a promise too: whenever the simulated world allows it, scorer must send requests. Each pause has a bound.
"""

from __future__ import annotations

import math

PATIENCE_S = 15.0
"""Pauses that are always allowed: pacing, corrections from headers, the start of a run."""
LONGEST_PAUSE_S = 60.0
"""The longest pause after a Retry-After or a header that lowers a limit."""
LONGEST_BACKOFF_S = 30.0
BREAKS_AT = 8
"""Consecutive failures after which one probe at a time is sent."""


class Patience:
    """The events of one process; until `until` it may send nothing."""

    def __init__(self, until: float = 0.0) -> None:
        self.until = until
        self._lied_at = -math.inf  # when the last request was sent whose headers were lies; -inf: truth came since
        self._cut_at, self._cut_s = -math.inf, 1.0
        self._failures = 0
        self._broke_at = -math.inf
        self._failures_of: dict[str, int] = {}

    def excuse(self, now: float, seconds: float = 0.0) -> None:
        """Silence for so long, and the usual patience beyond it, says nothing."""
        if self._lied_at > -math.inf:  # until a true answer comes, each request may wait for a minute
            seconds = max(seconds, LONGEST_PAUSE_S)
        self.until = max(self.until, now + seconds + PATIENCE_S)

    def lied(self, asked_at: float) -> None:
        """The headers of a reply were lies."""
        self._lied_at = max(self._lied_at, asked_at)

    def heard_truth(self, asked_at: float) -> None:
        """The headers of an answer are true. They take back the lies to requests that were sent no later."""
        if asked_at > self._lied_at:
            self._lied_at = -math.inf

    def asked(self, now: float, timeout_s: float) -> None:
        """A request; while the breaker is open, no other one may be in flight."""
        self.excuse(now, timeout_s if self._failures >= BREAKS_AT else 0.0)

    def answered(self, now: float, asked_at: float, row: str) -> None:
        self._heard(asked_at)
        if asked_at > self._cut_at:
            self._cut_s = 1.0
        self._failures_of.pop(row, None)
        self.excuse(now)

    def throttled(self, now: float, asked_at: float, wish: str | None) -> None:
        """One 429 allows one pause; those of requests that were sent before it arrived allow none."""
        self._heard(asked_at)
        if asked_at <= self._cut_at:
            return
        seconds = self._cut_s
        if wish is not None:
            seconds = max(float(wish) if wish.isdigit() else LONGEST_PAUSE_S, self._cut_s if self._cut_s > 1.0 else 0.0)
        self._cut_at, self._cut_s = now, min(LONGEST_PAUSE_S, self._cut_s * 2)
        self.excuse(now, min(seconds, LONGEST_PAUSE_S))

    def failed(self, now: float, row: str) -> None:
        """A failure allows its row's backoff, and the breaker's pause after enough failures in a row."""
        self._failures += 1
        if self._failures == BREAKS_AT:
            self._broke_at = now
        self._failures_of[row] = self._failures_of.get(row, 0) + 1
        doublings = max(self._failures - BREAKS_AT, self._failures_of[row] - 1, 0)
        self.excuse(now, min(LONGEST_BACKOFF_S, 0.5 * 2 ** min(doublings, 6)))

    def _heard(self, asked_at: float) -> None:
        """An outage ends with the answer to a request that was sent in it, not with a late answer to an earlier one."""
        if self._failures < BREAKS_AT or asked_at >= self._broke_at:
            self._failures = 0
