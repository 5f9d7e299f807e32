"""The size finds the capacity of a judge that nobody declared, keeps within it, and follows it.

Minutes of a busy judge are some ten thousand replies, hence slow.
"""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass, field

import pytest

from scorer.limits.auto import Auto

pytestmark = pytest.mark.slow


@dataclass
class Judge:
    """A server in virtual time: `capacity` requests at once, the others queue, or get a 429."""

    capacity: int
    refuses: bool = False
    now: float = 0.0
    busy: list[float] = field(default_factory=list)
    answered: int = 0
    refused: int = 0

    def serve(self, auto: Auto, until: float, seed: int = 0) -> float:
        """As many requests as the size allows, always more waiting; replies a second over the span."""
        rng, before, began = random.Random(seed), self.answered, self.now
        in_flight: list[tuple[float, float]] = []
        cut_at = -1.0
        paused = 0.0
        while self.now < until:
            while len(in_flight) < auto.limit and self.now >= paused:
                if self.refuses and len(in_flight) >= self.capacity:
                    self.refused += 1
                    if self.now > cut_at:  # a later 429 of the same episode does not cut again
                        cut_at = self.now
                        auto.throttled()
                        paused = self.now + 0.2
                    break
                starts = self.now if len(self.busy) < self.capacity else heapq.nsmallest(1, self.busy)[0]
                while len(self.busy) >= self.capacity:
                    starts = max(starts, heapq.heappop(self.busy))
                ends = starts + 0.5 * rng.lognormvariate(0, 0.3)
                heapq.heappush(self.busy, ends)
                heapq.heappush(in_flight, (ends, self.now))
            auto.waited()
            if self.now < paused and (not in_flight or in_flight[0][0] > paused):
                self.now = paused
                continue
            ends, sent = heapq.heappop(in_flight)
            self.now = max(self.now, ends)
            self.answered += 1
            auto.answered(self.now - sent)
        return (self.answered - before) / (self.now - began)


def best(capacity: int) -> float:
    """Replies a second of the best fixed size: the mean of 0.5 s x a lognormal of sigma 0.3 is 0.523 s."""
    return capacity / 0.523


@pytest.mark.parametrize("capacity", [3, 20, 100, 400])
def test_it_reaches_nine_tenths_of_the_best_where_more_only_adds_latency(capacity: int) -> None:
    judge = Judge(capacity)
    auto = Auto(lambda: judge.now)
    judge.serve(auto, until=60)
    assert judge.serve(auto, until=90, seed=1) >= 0.9 * best(capacity)
    assert auto.limit <= 4 * capacity + 8


@pytest.mark.parametrize("capacity", [20, 100, 400])
def test_it_stays_just_below_the_edge_of_a_judge_that_refuses(capacity: int) -> None:
    judge = Judge(capacity, refuses=True)
    auto = Auto(lambda: judge.now)
    judge.serve(auto, until=60)
    assert judge.serve(auto, until=120, seed=1) >= 0.9 * best(capacity)
    assert judge.refused <= 0.005 * judge.answered


@pytest.mark.parametrize("refuses", [False, True])
def test_it_follows_a_capacity_that_halves_and_doubles(refuses: bool) -> None:
    judge = Judge(100, refuses=refuses)
    auto = Auto(lambda: judge.now)
    judge.serve(auto, until=60)
    judge.capacity = 50
    judge.serve(auto, until=100)
    assert judge.serve(auto, until=130, seed=2) >= 0.9 * best(50)
    judge.capacity = 100
    judge.serve(auto, until=200)
    assert judge.serve(auto, until=230, seed=3) >= 0.9 * best(100)


def test_it_does_not_grow_where_something_else_holds_the_run_back() -> None:
    now = 0.0
    auto = Auto(lambda: now)
    for _ in range(2000):  # replies come, but no request ever found every place taken
        now += 0.05
        auto.answered(0.5)
    assert auto.limit == 8


def test_it_never_exceeds_its_most_nor_falls_below_one() -> None:
    judge = Judge(1000)
    auto = Auto(lambda: judge.now, most=50)
    judge.serve(auto, until=60)
    assert auto.limit <= 50
    for _ in range(100):
        auto.throttled()
    assert auto.limit == 1
