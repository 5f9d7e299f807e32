"""Promise: a slow disk costs time, but causes no burst at the judge and no more possible loss at a kill."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest
from support.clock import now, run

from scorer.files.local_files import LocalFiles
from scorer.limits import Billing, Budget, Demand, LocalLimiter, Outcome, RateLimits
from scorer.output.ledger import Ledger
from scorer.rehearsal.config import RehearsalConfig
from scorer.rehearsal.limits import SimulatedLimits
from scorer.usage import (
    Usage,
)

NEED = Demand(tokens=90, output_tokens=10, worst_tokens=100)
ANSWERED = Outcome(Billing.KNOWN, usage=Usage(90, 10), alive=True)


class Disk:
    """An `Offload` to a disk that takes as long as `seconds` draws, and forgets."""

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds

    async def __call__(self, *_: object) -> None:
        await asyncio.sleep(self._seconds())


def ledger_on(seconds: Callable[[], float], *, strict: bool = True) -> Ledger:
    return Ledger(LocalFiles(), "never-written", "1", offload=Disk(seconds), strict=strict)


@pytest.mark.parametrize(("window", "requests"), [("bucket", 300), ("sliding", 700)])
def test_limiter_keeps_rates_for_requests_delayed_by_disk(window: Any, requests: int) -> None:
    """By the judge's own strict counters: a bucket of a second, or a sliding minute, on requests and on tokens."""
    draw = random.Random(5)
    refused: list[float] = []
    order: list[int] = []

    async def scenario() -> None:
        ledger = ledger_on(lambda: draw.choice([0.001, 0.001, draw.uniform(0.1, 3.0)]))
        limits = LocalLimiter(
            RateLimits(requests_per_minute=600, tokens_per_minute=60_000, concurrency=64),
            Budget(ledger, max_tokens=10**9),
        )
        judge = SimulatedLimits(RehearsalConfig(requests_per_minute=600, tokens_per_minute=60_000, window=window), 0.0)

        async def ask(number: int) -> None:
            permit = await limits.admit(NEED)
            order.append(number)
            if judge.admit(100, now()) is not None:
                refused.append(now())
            await asyncio.sleep(0.5)
            limits.settle(permit, ANSWERED)

        async with asyncio.TaskGroup() as group:
            for number in range(requests):
                group.create_task(ask(number))
        assert (limits.in_flight, limits.waiting, ledger.open_tokens) == (0, 0, 0)
        assert ledger.totals.requests == requests

    run(scenario())
    assert refused == []
    assert order == list(range(requests))


def test_limiter_keeps_throughput_on_slow_disk() -> None:
    """A second a write, ten requests a second: what is entered ahead grows until the disk is not what they wait for."""

    async def scenario() -> tuple[float, dict[str, float]]:
        limits = LocalLimiter(
            RateLimits(requests_per_minute=600, concurrency=64), Budget(ledger_on(lambda: 1.0), max_tokens=10**9)
        )

        async def ask() -> None:
            permit = await limits.admit(NEED)
            await asyncio.sleep(0.5)
            limits.settle(permit, ANSWERED)

        async with asyncio.TaskGroup() as group:
            for _ in range(600):
                group.create_task(ask())
        return now(), limits.waits.shares()

    took, held = run(scenario())
    assert took < 75  # 60 s at the declared pace
    assert held["requests_per_minute"] > held.get("ledger", 0.0)


def test_limiter_writes_few_ledger_entries_ahead_of_rate_limits() -> None:
    """A kill counts what is entered as possibly billed, so that waiting for a limit must not cost entries."""

    async def scenario() -> None:
        ledger = ledger_on(lambda: 0.001)
        limits = LocalLimiter(RateLimits(requests_per_minute=60, concurrency=64), Budget(ledger, max_tokens=10**9))
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(limits.admit(NEED)) for _ in range(50)]
            for _ in range(10):
                await asyncio.sleep(0.7)
                assert ledger.open_tokens <= 100 * (limits.in_flight + 3)
            for task in tasks:
                task.cancel()
        assert limits.waiting == 0
        assert ledger.open_tokens == 100 * limits.in_flight  # who was still in line left no entry

    run(scenario())


class Shelf:
    """A `Room` that holds results until somebody writes them."""

    def __init__(self, most: int) -> None:
        self.held = 0
        self._most = most
        self._wake: list[Callable[[], None]] = []

    @property
    def full(self) -> bool:
        return self.held >= self._most

    def on_room(self, wake: Callable[[], None]) -> None:
        self._wake.append(wake)

    def write(self) -> None:
        self.held = 0
        for wake in self._wake:
            wake()


@pytest.mark.parametrize("strict", [False, True])
def test_limiter_bounds_in_flight_plus_unwritten_results(strict: bool) -> None:
    async def scenario() -> dict[str, float]:
        shelf, draw = Shelf(20), random.Random(1)
        ledger = ledger_on(lambda: 0.01, strict=strict)
        limits = LocalLimiter(
            RateLimits(concurrency=8), Budget(ledger, max_tokens=10**9 if strict else None, room=shelf)
        )
        most = 0

        async def ask() -> None:
            nonlocal most
            permit = await limits.admit(NEED)
            most = max(most, limits.in_flight + shelf.held)
            await asyncio.sleep(draw.uniform(0.1, 2.0))
            limits.settle(permit, ANSWERED)
            shelf.held += 1

        async def slowly() -> None:
            while True:
                await asyncio.sleep(6.0)
                shelf.write()

        writer = asyncio.create_task(slowly())
        async with asyncio.TaskGroup() as group:
            for _ in range(200):
                group.create_task(ask())
        writer.cancel()
        assert 8 + 20 - 1 <= most <= 8 + 20
        return limits.waits.shares()

    assert run(scenario())["storage"] > 0.2
