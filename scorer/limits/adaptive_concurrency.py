"""`concurrency = "auto"`: finds how many requests to keep in flight from throughput and latency.

It starts slowly: one place more a reply while more is waiting, so that the size doubles in a round trip and the first
429 is met by a request or two, not by a burst. Once replies a second no longer rise and replies take longer than they
did, it goes back to the last size that helped, and tries from there: upwards, to twice the size, kept where replies a
second rise; and downwards where a queue has built up at the judge, kept where they do not fall. Without the second, a
night of lucky windows would grow without end. A 429 cuts by a tenth, once an episode; a failing endpoint stops growth;
a fall in replies a second, a capacity that shrank, cuts in proportion. Knows nothing of requests or rates: `Local`
tells it of replies.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from enum import Enum

START = 4
MOST = 4096
UP, DOWN = 2.0, 0.8
START_GAIN, GAIN, LOSS = 0.25, 0.08, 0.04
"""By these shares replies a second must rise from window to window at the start and at a larger size that is kept, and
may fall at a smaller one."""
FALL = 0.75
"""Below this share of what was held, capacity shrank."""
CROWDED = 1.5
"""Replies that take so many times as long as in the quickest window lately wait in a queue, or share the server."""
WINDOWS = 64
TRY_S, LONGEST_TRY_S = 10.0, 30.0
CALM = 300
"""So many replies come between a 429 and the next try upwards, or a small judge would answer little else."""
REPLIES, SHORTEST_WINDOW_S, LONGEST_WINDOW_S = 200, 0.5, 5.0
"""A window ends after one latency, half a second and so many replies; or after 5 s, where it has enough for what it
decides."""
TICK_S = 0.001
"""The loop's clock (uvloop's) knows no shorter time: a judge at hand seems to answer in none."""


class _Stage(Enum):
    """The decision that a window ends in; the value is the least number of replies for it, and values differ."""

    START = 16
    UP = 32
    DOWN = 33
    HOLD = 100


class AdaptiveConcurrency:
    """The number of requests to keep in flight is `limit`, at most `most`."""

    def __init__(self, clock: Callable[[], float], most: int = MOST) -> None:
        self._clock = clock
        self._most = most
        self.limit = min(START, most)
        self._stage = _Stage.START
        self._target = self.limit
        self._helped, self._rate = self.limit, 0.0  # the size to go back to, and the replies a second to compare with
        self._latency = 0.0
        self._latencies: deque[float] = deque(maxlen=WINDOWS)
        self._try_s = TRY_S
        self._next_try = 0.0
        self._calm = CALM
        self._back = 0
        self._queue_tried = False
        self._waited = False
        self._begin(settled=True)

    def _begin(self, *, settled: bool = False) -> None:
        """A new window. Where the size changed it counts from the first reply on that tells of the new one."""
        self._began_at = self._clock()
        self._settled = settled
        self._size = self.limit
        self._replies, self._took_s, self._waits = 0, 0.0, 0

    def waited(self) -> None:
        """The head of the queue found `limit` requests in flight: only then does the limit matter."""
        self._waited = True

    def answered(self, latency_s: float) -> None:
        """A reply came, `latency_s` after its request went out."""
        now = self._clock()
        self._latency = latency_s if not self._latency else 0.9 * self._latency + 0.1 * latency_s
        self._calm += 1
        waited, self._waited = self._waited, False
        if self.limit < self._target:
            self.limit += waited
            if self.limit == self._target:
                self._begin()
            return
        if self._stage is _Stage.START and waited:
            self.limit = self._target = min(self._most, self.limit + 1)
        span = now - self._began_at
        if not self._settled:
            if span >= max(self._latency, latency_s):  # also a queue of before is through
                self._began_at, self._settled = now, True
            return
        self._replies += 1
        self._took_s += latency_s
        self._waits += waited
        if span > 0 and span >= self._latency and self._enough(span):
            self._compare(self._replies / span, self._took_s / self._replies)

    def _enough(self, span: float) -> bool:
        if self._replies < self._stage.value:
            return False
        if self._stage is _Stage.START:
            return True
        return span >= (LONGEST_WINDOW_S if self._replies < REPLIES else SHORTEST_WINDOW_S)

    def throttled(self) -> None:
        """A 429 of a request admitted after the last one: a tenth less, and no growth for a while.

        Met while growing, it marks the edge: after a quiet window it is safe to go back to just below. Met while
        holding, the edge moved, nobody knows how far.
        """
        edge, holding = self.limit, self._stage is _Stage.HOLD
        self._back = 0 if holding else int(edge * 0.97)
        self._try_s = TRY_S if holding else min(LONGEST_TRY_S, self._try_s * 2)
        self._calm = 0
        self._rate = 0.0
        self._hold(min(edge - 1, edge * 0.9))

    def failed(self) -> None:
        """The endpoint failed: no growth before this size is measured."""
        if self._stage is _Stage.START:
            self._go(_Stage.UP, self.limit)
        elif self._target > self.limit:
            self._go(self._stage, self.limit)

    def _compare(self, counted: float, latency_s: float) -> None:
        """One window is over, with so many replies a second: grow, shrink, return, or hold.

        At a steady size the rate is known twice: counted, and as size / latency (Little 1961, L = lambda W). The first
        errs where replies come in waves, the second where a queue is not yet through; their geometric mean errs less.
        """
        if 2 * self._waits < self._replies:  # something else holds the run back: this window says nothing
            self._begin(settled=True)
            return
        crowded = latency_s > CROWDED * min(self._latencies, default=math.inf)
        self._latencies.append(latency_s)
        if self._stage is _Stage.START:
            self._started(counted, crowded)
            return
        rate = math.sqrt(counted * self.limit / max(latency_s, TICK_S))
        if self._stage is _Stage.HOLD:
            self._held(rate, crowded)
        elif self._stage is _Stage.UP and rate >= (1 + GAIN) * self._rate:
            self._helped, self._rate = self.limit, rate
            self._go(_Stage.UP, UP * self.limit)
        elif self._stage is _Stage.DOWN and rate >= (1 - LOSS) * self._rate:
            self._helped = self.limit
            if crowded:
                self._go(_Stage.DOWN, DOWN * self.limit)
            else:
                self._hold(self.limit)
        else:
            self._try_s = TRY_S
            self._hold(self._helped)

    def _started(self, rate: float, crowded: bool) -> None:
        """The size grew all the while: the rate is that of the size with which the window began."""
        gained = rate >= (1 + START_GAIN) * self._rate
        if rate > self._rate:
            self._helped, self._rate = self._size, rate
        if crowded and not gained:
            self._rate = 0.0  # of a size on the move: measured anew
            self._go(_Stage.UP, self._helped)
        elif self.limit == self._most:
            self._hold(self.limit)
        else:
            self._begin(settled=True)

    def _held(self, rate: float, crowded: bool) -> None:
        before = self._rate or rate
        self._rate = 0.8 * before + 0.2 * rate
        if self._back > self.limit:
            self._rate = 0.0
            self._go(_Stage.HOLD, self._back)
            self._back = 0
        elif rate < FALL * before:
            self._rate = rate
            self._go(_Stage.HOLD, self.limit * rate / before * 1.1)
        elif self._clock() < self._next_try:
            self._begin(settled=True)
        else:
            self._try(crowded)

    def _try(self, crowded: bool) -> None:
        """Upwards, where it may; every other time downwards where there is a queue."""
        self._helped = self.limit
        self._queue_tried = crowded and not self._queue_tried
        if self._queue_tried:
            self._go(_Stage.DOWN, DOWN * self.limit)
        elif self._calm >= CALM and self.limit < self._most:
            self._go(_Stage.UP, max(UP * self.limit, self.limit + 1))
        else:
            self._begin(settled=True)

    def _go(self, stage: _Stage, size: float) -> None:
        """To this size: at once where it is smaller, else by a place a reply while somebody waits for one."""
        self._stage = stage
        self._target = max(1, min(self._most, int(size)))
        self.limit = min(self.limit, self._target)
        self._begin()

    def _hold(self, size: float) -> None:
        """To this size, until the next try."""
        self._next_try = self._clock() + self._try_s
        self._go(_Stage.HOLD, size)
