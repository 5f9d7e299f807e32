"""Learns the read timeout from the latencies so far, so that a reply that hangs costs less than `timeout_s`.

A reply that is cut short may have been billed, so the rule would rather wait: three times the slowest of the last 512
replies, and never less than 20 s. Nobody is cut before 64 replies are known, nor while more than one in twenty was cut:
then the judge has become slow, and is no longer what was learned. Knows nothing of requests.
"""

from __future__ import annotations

import math
from collections import deque

LEAST_S = 20.0
FACTOR = 3.0
KNOWN, WINDOW = 64, 512
MOST_CUT = 1 / 20
LOOK = 64
"""So many replies pass before a slow one that left the window is forgotten."""


class AdaptiveTimeout:
    """The timeout now is `seconds`; None means `most_s` holds, as the learned one would be no shorter."""

    def __init__(self, most_s: float = math.inf, least_s: float = LEAST_S) -> None:
        self._most_s, self._least_s = most_s, least_s
        self._last: deque[float] = deque(maxlen=WINDOW)  # latencies; inf for what was cut
        self._cuts = 0  # of these
        self._seen = 0
        self._slowest = 0.0
        self.seconds: float | None = None

    def answered(self, latency_s: float) -> None:
        """A reply came whole, `latency_s` after its request went out."""
        if self._cuts:
            self._add(latency_s)
        else:
            self._last.append(latency_s)
        self._seen += 1
        if latency_s > self._slowest:
            self._slowest = latency_s
            self._learn()
        elif self._seen % LOOK == 0:
            self._look()

    def cut(self) -> None:
        """A request was out for `seconds`, and its reply was waited for no longer."""
        self._add(math.inf)
        self._cuts += 1
        self._look()

    def _add(self, latency_s: float) -> None:
        last = self._last
        if self._cuts and len(last) == WINDOW and last[0] == math.inf:
            self._cuts -= 1
        last.append(latency_s)

    def _look(self) -> None:
        """Finds the slowest of the window."""
        whole = (latency for latency in self._last if latency < math.inf) if self._cuts else self._last
        self._slowest = max(whole, default=0.0)
        self._learn()

    def _learn(self) -> None:
        seconds = max(self._least_s, FACTOR * self._slowest)
        enough = len(self._last) - self._cuts >= KNOWN and self._cuts <= MOST_CUT * len(self._last)
        self.seconds = seconds if enough and seconds < self._most_s else None
