"""How many requests to keep in flight where nobody said: found by trying, from replies a second alone.

Growth goes by one place a reply, so it doubles in a round trip and the first 429 is met by a request or two, not by a
burst. After each growth two windows are compared: while replies a second still rise with concurrency it goes on, else
it returns to the last size that helped. From then on it holds, and tries upwards every 10 s, less often after tries
that met a 429. A 429 cuts by a tenth, once an episode; a failing endpoint stops growth; a fall in replies a second, a
capacity that shrank, cuts in proportion. Knows nothing of requests or rates: `Local` tells it of replies.
"""

from __future__ import annotations

from collections.abc import Callable

START = 8
MOST = 4096
GAIN = 0.05
"""Replies a second must rise by this share for a larger size to be kept."""
FALL = 0.75
"""Below this share of what was held, capacity shrank."""
TRY_S, LONGEST_TRY_S = 10.0, 30.0
REPLIES, LONGEST_WINDOW_S = 200, 5.0
"""A window ends after one latency and so many replies, or after 5 s."""


class Auto:
    """The size now is `limit`. `most` bounds it: places of memory, or connections."""

    def __init__(self, clock: Callable[[], float], most: int = MOST) -> None:
        self._clock = clock
        self._most = most
        self.limit = min(START, most)
        self._target = self.limit
        self._helped, self._helped_rate = self.limit, 0.0
        self._holding = False
        self._latency = 0.0
        self._try_s = TRY_S
        self._next_try = 0.0
        self._back = 0
        self._bound = False
        self._begin()

    def _begin(self) -> None:
        """A new window: its first latency does not count, for the replies to the size before come in it."""
        self._counts_from = self._clock()
        if self._latency:
            self._counts_from += self._latency
        self._replies = 0
        self._bound = False

    def waited(self) -> None:
        """The head of the line found every place taken: only then does the size matter."""
        self._bound = True

    def answered(self, latency_s: float) -> None:
        """A reply came, `latency_s` after its request went out."""
        now = self._clock()
        self._latency = latency_s if not self._latency else 0.9 * self._latency + 0.1 * latency_s
        if self.limit < self._target:
            self.limit += 1
            if self.limit == self._target:
                self._begin()
            return
        if now >= self._counts_from:
            self._replies += 1
        span = now - self._counts_from
        if span > 0 and (span >= LONGEST_WINDOW_S or (self._replies >= REPLIES and span >= self._latency)):
            self._compare(self._replies / span)

    def throttled(self) -> None:
        """A 429 of a request admitted after the last one: a tenth less, and no growth for a while.

        Met while growing, it marks the edge: after a quiet window it is safe to go back to just below. Met while
        holding, the edge moved, nobody knows how far.
        """
        edge = self.limit
        self._back = 0 if self._holding else int(edge * 0.97)
        self._try_s = TRY_S if self._holding else min(LONGEST_TRY_S, self._try_s * 2)
        self.limit = self._target = max(1, min(edge - 1, int(edge * 0.9)))
        self._helped, self._helped_rate = self.limit, 0.0
        self._hold()

    def failed(self) -> None:
        """The endpoint failed: no growth before the next try."""
        if self._target > self.limit:
            self._target = self.limit
            self._begin()

    def _compare(self, rate: float) -> None:
        """One window is over: grow, return, or hold."""
        if not self._bound:  # something else holds the run back: this window says nothing about the size
            self._begin()
        elif self._holding:
            self._held(rate)
        elif rate >= self._helped_rate * (1 + GAIN):
            self._helped, self._helped_rate = self.limit, rate
            self._grow(2.0)
        else:
            self.limit = self._target = self._helped
            self._try_s = TRY_S
            self._hold()

    def _held(self, rate: float) -> None:
        if self._back > self.limit:
            self.limit = self._target = self._helped = self._back
            self._begin()
        elif rate < FALL * self._helped_rate:
            self.limit = self._target = self._helped = max(1, int(self.limit * rate / self._helped_rate * 1.1))
            self._helped_rate = rate
            self._begin()
        elif self._clock() >= self._next_try:
            self._helped, self._helped_rate = self.limit, rate
            self._holding = False
            self._grow(1.25)
        else:
            self._helped_rate = max(rate, 0.9 * self._helped_rate + 0.1 * rate)
            self._begin()

    def _grow(self, factor: float) -> None:
        self._target = min(self._most, max(self.limit + 1, int(self.limit * factor)))
        if self._target <= self.limit:
            self._hold()
        else:
            self._begin()

    def _hold(self) -> None:
        """Stays here until the next try."""
        self._next_try = self._clock() + self._try_s
        self._holding = True
        self._begin()
