"""Brings the answers to canaries of several workers into one order: that in which the canaries were asked.

Each worker reports its answers in its own order. An answer waits until no worker can still report one to a canary that
was asked before. Knows no files, and not what answers say.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from math import inf

from scorer.output.canary_files import CanaryAnswer
from scorer.workers.messages import AnsweredCanary


class CanaryStreams:
    """The answers of workers by number. `clock` is in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._until: dict[int, float] = {}
        """By worker, the time before which all its canaries are reported."""
        self._held: list[tuple[float, int, int, CanaryAnswer]] = []
        self._count = 0

    def begin(self, worker: int) -> None:
        """A worker begins, and asks nothing before now."""
        self._until[worker] = self._clock()

    def report(self, worker: int, answers: Sequence[AnsweredCanary], oldest_s: float | None) -> None:
        """Takes answers of a worker. Its first canary without one was asked `oldest_s` ago; None: it has none."""
        now = self._clock()
        for one in answers:
            self._count += 1
            heapq.heappush(self._held, (now - one.ago_s, worker, self._count, one.answer))
        if worker in self._until:
            self._until[worker] = now - (oldest_s or 0.0)

    def gone(self, worker: int) -> None:
        """A worker has ended: what it has not reported is lost, and waited for no more."""
        self._until.pop(worker, None)

    def ready(self) -> Iterator[CanaryAnswer]:
        """The answers that are next in order."""
        until = min(self._until.values(), default=inf)
        while self._held and self._held[0][0] < until:
            yield heapq.heappop(self._held)[3]
