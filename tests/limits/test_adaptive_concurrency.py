"""Adaptive concurrency finds the undeclared capacity of a judge, keeps within it and follows its changes.

Minutes of a busy judge are some ten thousand replies, hence slow.
"""

from __future__ import annotations

import heapq
import math
import random
from dataclasses import dataclass, field

import pytest

from scorer.limits.adaptive_concurrency import START, AdaptiveConcurrency

pytestmark = pytest.mark.slow


@dataclass
class Judge:
    """A server in virtual time: `capacity` requests at once, the others queue, or, beyond `queue` of them, get a 429.

    Latencies are lognormal. `held` collects the sizes at each reply.
    """

    capacity: int
    refuses: bool = False
    queue: int = 0
    median_s: float = 0.5
    sigma: float = 0.3
    seed: int = 0
    now: float = 0.0
    answered: int = 0
    refused: int = 0
    held: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._rng = random.Random(self.seed)
        self._busy: list[float] = []
        self._in_flight: list[tuple[float, float]] = []
        self._cut_at, self._paused = -1.0, 0.0

    @property
    def best(self) -> float:
        """Replies a second of the best fixed size."""
        return self.capacity / (self.median_s * math.exp(self.sigma**2 / 2))

    def serve(self, auto: AdaptiveConcurrency, until: float) -> float:
        """As many requests as the size allows, always more waiting; replies a second over the span."""
        before, began = self.answered, self.now
        while self.now < until:
            while len(self._in_flight) < auto.limit and self.now >= self._paused:
                if self.refuses and len(self._in_flight) >= self.capacity + self.queue:
                    self._refuse(auto)
                    break
                self._take()
            auto.waited()
            if self.now < self._paused and (not self._in_flight or self._in_flight[0][0] > self._paused):
                self.now = self._paused
                continue
            ends, sent = heapq.heappop(self._in_flight)
            self.now = max(self.now, ends)
            self.answered += 1
            self.held.append(auto.limit)
            auto.answered(self.now - sent)
        return (self.answered - before) / (self.now - began)

    def _take(self) -> None:
        starts = self.now
        while len(self._busy) >= self.capacity:
            starts = max(starts, heapq.heappop(self._busy))
        ends = starts + self.median_s * self._rng.lognormvariate(0, self.sigma)
        heapq.heappush(self._busy, ends)
        heapq.heappush(self._in_flight, (ends, self.now))

    def _refuse(self, auto: AdaptiveConcurrency) -> None:
        self.refused += 1
        if self.now > self._cut_at:  # a later 429 of the same episode does not cut again
            self._cut_at, self._paused = self.now, self.now + 0.2
            auto.throttled()


@pytest.mark.parametrize("capacity", [3, 20, 100, 400])
def test_adaptive_concurrency_reaches_90_percent_of_best_throughput_with_bounded_queue(capacity: int) -> None:
    judge = Judge(capacity)
    auto = AdaptiveConcurrency(lambda: judge.now)
    judge.serve(auto, until=60)
    assert judge.serve(auto, until=90) >= 0.9 * judge.best
    assert auto.limit <= 4 * capacity + 8


@pytest.mark.parametrize("capacity", [20, 100, 400])
def test_adaptive_concurrency_stays_below_capacity_of_refusing_judge(capacity: int) -> None:
    judge = Judge(capacity, refuses=True)
    auto = AdaptiveConcurrency(lambda: judge.now)
    judge.serve(auto, until=60)
    assert judge.serve(auto, until=120) >= 0.9 * judge.best
    assert judge.refused <= 0.005 * judge.answered


@pytest.mark.parametrize("refuses", [False, True])
def test_adaptive_concurrency_follows_capacity_that_halves_and_doubles(refuses: bool) -> None:
    judge = Judge(100, refuses=refuses)
    auto = AdaptiveConcurrency(lambda: judge.now)
    judge.serve(auto, until=60)
    judge.capacity = 50
    judge.serve(auto, until=100)
    assert judge.serve(auto, until=130) >= 0.9 * judge.best
    judge.capacity = 100
    judge.serve(auto, until=200)
    assert judge.serve(auto, until=230) >= 0.9 * judge.best


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("refuses", [False, True])
@pytest.mark.parametrize("capacity", [20, 100])
def test_adaptive_concurrency_holds_under_slow_irregular_latency(capacity: int, refuses: bool, seed: int) -> None:
    """Replies take .5 to 20 s: a window of few says next to nothing."""
    judge = Judge(capacity, refuses=refuses, median_s=3.0, sigma=0.8, seed=seed)
    auto = AdaptiveConcurrency(lambda: judge.now)
    judge.serve(auto, until=90)
    assert judge.serve(auto, until=150) >= 0.8 * judge.best
    assert judge.refused <= 0.005 * judge.answered


@pytest.mark.parametrize("seed", range(6))
def test_adaptive_concurrency_fills_large_slow_judge_within_one_minute(seed: int) -> None:
    judge = Judge(400, median_s=6.0, sigma=0.8, seed=seed)
    auto = AdaptiveConcurrency(lambda: judge.now)
    judge.serve(auto, until=60)
    assert judge.serve(auto, until=90) >= 0.9 * judge.best


def test_adaptive_concurrency_keeps_refusals_of_small_judge_below_half_percent() -> None:
    """Two hours."""
    judge = Judge(4, refuses=True, median_s=3.0)
    auto = AdaptiveConcurrency(lambda: judge.now)
    assert judge.serve(auto, until=7200) >= 0.9 * judge.best
    assert judge.refused <= 0.005 * judge.answered


@pytest.mark.parametrize("median_s", [0.5, 3.0])
def test_adaptive_concurrency_builds_no_queue_at_judge_in_two_hours(median_s: float) -> None:
    """Two hours."""
    judge = Judge(20, median_s=median_s, sigma=0.8)
    auto = AdaptiveConcurrency(lambda: judge.now)
    judge.serve(auto, until=120)
    judge.held.clear()
    assert judge.serve(auto, until=7200) >= 0.95 * judge.best
    assert sum(judge.held) / len(judge.held) <= 10 * judge.capacity


def test_adaptive_concurrency_keeps_later_measurement_over_earlier_429() -> None:
    """A judge loses nine tenths of its places, and lets requests wait where it refused them before."""
    judge = Judge(200, refuses=True)
    auto = AdaptiveConcurrency(lambda: judge.now)
    judge.serve(auto, until=30)
    assert judge.refused
    judge.capacity, judge.queue = 20, 180
    judge.serve(auto, until=120)
    judge.held.clear()
    assert judge.serve(auto, until=600) >= 0.95 * judge.best
    assert sum(judge.held) / len(judge.held) <= 4 * judge.capacity


def test_adaptive_concurrency_does_not_grow_on_replies_during_pause() -> None:
    """As after a 429 that another worker met: all are paused, and what is under way comes back."""
    judge = Judge(100)
    auto = AdaptiveConcurrency(lambda: judge.now)
    judge.serve(auto, until=20)
    before = auto.limit
    while auto.limit <= before + 2:
        before = auto.limit
        judge.serve(auto, until=judge.now + 0.05)
    grown = auto.limit
    for _ in range(50):
        auto.answered(0.5)
    assert auto.limit == grown


def test_adaptive_concurrency_does_not_grow_when_another_limit_binds() -> None:
    now = 0.0
    auto = AdaptiveConcurrency(lambda: now)
    for _ in range(2000):  # replies come, but no request ever found every place taken
        now += 0.05
        auto.answered(0.5)
    assert auto.limit == START


def test_adaptive_concurrency_handles_replies_within_one_clock_tick() -> None:
    ticks = 0
    auto = AdaptiveConcurrency(lambda: ticks // 10 / 1000, most=64)
    for ticks in range(100_000):  # noqa: B007 - the clock reads it
        auto.waited()
        auto.answered(0.0)
    assert START <= auto.limit <= 64


def test_adaptive_concurrency_stays_between_one_and_maximum() -> None:
    judge = Judge(1000)
    auto = AdaptiveConcurrency(lambda: judge.now, most=50)
    judge.serve(auto, until=60)
    assert auto.limit <= 50
    for _ in range(100):
        auto.throttled()
    assert auto.limit == 1
