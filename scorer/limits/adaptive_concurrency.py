"""`concurrency = "auto"`: finds how many requests to keep in flight from throughput and latency.

It starts slowly: each reply adds one place while a request waits. So the size doubles in a round trip, and the first
429 meets one or two requests and no burst. Once replies a second no longer rise and latency does, it goes back to the
last size that helped, and tries others from there. Upwards: twice the size, kept where replies a second rise.
Downwards, where a queue has built up at the judge: kept where replies a second do not fall. Without the second, random
variation would let the size grow for ever. A 429 cuts it by a tenth, once for each pause. A failing endpoint stops
growth. A fall in replies a second cuts it in proportion. Knows no requests and no rates; the limiter reports replies.
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
"""From window to window replies a second must rise by START_GAIN at the start, and by GAIN to keep a larger size.
They may fall by LOSS for a smaller one."""
FALL = 0.75
"""Below this share of the replies a second so far, the capacity has shrunk."""
CROWDED = 1.5
"""A latency so many times that of the quickest recent window means a queue at the server."""
WINDOWS = 64
TRY_S, LONGEST_TRY_S = 10.0, 30.0
CALM = 300
"""At least so many replies come between a 429 and the next try upwards: a small judge would send little but 429s."""
REPLIES, SHORTEST_WINDOW_S, LONGEST_WINDOW_S = 200, 0.5, 5.0
"""A window ends after one latency, half a second and 200 replies; or after 5 s with enough replies for its decision."""
TICK_S = 0.001
"""The resolution of uvloop's clock: a reply may seem to take no time."""


class _Stage(Enum):
    """The decision at the end of a window. The value is the least number of replies for it; all values differ."""

    START = 16
    UP = 32
    DOWN = 33
    HOLD = 100


class AdaptiveConcurrency:
    """Adapts `limit`, the number of requests to keep in flight, between 1 and `most`."""

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
        """Begins a window. Where the size changed, it counts from the first reply that was sent at the new size."""
        self._began_at = self._clock()
        self._settled = settled
        self._size = self.limit
        self._replies, self._took_s, self._waits = 0, 0.0, 0

    def waited(self) -> None:
        """The head of the queue waits because `limit` requests are in flight: only then does the limit matter."""
        self._waited = True

    def resumed(self) -> None:
        """The run goes on after a pause, of which the window under way would count the seconds."""
        self._begin()

    def answered(self, latency_s: float) -> None:
        """Takes a reply that came `latency_s` after its request was sent."""
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
        """Takes a 429 to a request that was sent after the last pause: a tenth less, and no growth for a while.

        While the size grows, a 429 marks the server's limit, so the size goes back to just below it after a window
        without a 429. At a steady size, the limit has moved and is unknown.
        """
        edge, holding = self.limit, self._stage is _Stage.HOLD
        self._back = 0 if holding else int(edge * 0.97)
        self._try_s = TRY_S if holding else min(LONGEST_TRY_S, self._try_s * 2)
        self._calm = 0
        self._rate = 0.0
        self._hold(min(edge - 1, edge * 0.9))

    def failed(self) -> None:
        """Takes a failure: the size does not grow before it is measured."""
        if self._stage is _Stage.START:
            self._go(_Stage.UP, self.limit)
        elif self._target > self.limit:
            self._go(self._stage, self.limit)

    def _compare(self, counted: float, latency_s: float) -> None:
        """Decides at the end of a window with `counted` replies a second: grow, shrink, go back, or hold.

        At a steady size the rate is known in two ways: counted, and as size / latency (Little 1961, L = lambda W). The
        first is wrong where replies come in waves, the second while a queue drains. Their geometric mean errs less.
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
        """Decides at the start, where the size grows during a window: its rate is that of the size at its begin."""
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
        """Tries a larger size where that is allowed, and every other time a smaller one where there is a queue."""
        self._helped = self.limit
        self._queue_tried = crowded and not self._queue_tried
        if self._queue_tried:
            self._go(_Stage.DOWN, DOWN * self.limit)
        elif self._calm >= CALM and self.limit < self._most:
            self._go(_Stage.UP, max(UP * self.limit, self.limit + 1))
        else:
            self._begin(settled=True)

    def _go(self, stage: _Stage, size: float) -> None:
        """Goes to a size: at once where it is smaller, else by one place for each reply while a request waits."""
        self._stage = stage
        self._target = max(1, min(self._most, int(size)))
        self.limit = min(self.limit, self._target)
        self._begin()

    def _hold(self, size: float) -> None:
        """Keeps a size until the next try."""
        self._next_try = self._clock() + self._try_s
        self._go(_Stage.HOLD, size)
