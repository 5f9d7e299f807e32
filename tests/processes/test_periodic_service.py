"""Promise: a periodic service works each period, sooner when woken, and finishes its turn when it is stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from support.clock import now, run

from scorer.processes.periodic_service import PeriodicService


class Recorder(PeriodicService):
    """Remembers when each turn began. A turn takes 0.5 s, and calls `then` first."""

    def __init__(self, *, rests_first: bool, then: Callable[[int], None] = lambda _: None) -> None:
        super().__init__(period_s=2.0)
        self.rests_first = rests_first
        self.turns: list[float] = []
        self.ended: float | None = None
        self._then = then

    async def work(self) -> None:
        self.turns.append(now())
        self._then(len(self.turns))
        await asyncio.sleep(0.5)
        self.ended = now()


async def stopped_after(seconds: float, service: Recorder, wake_at: float | None = None) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(service.serve())
        if wake_at is not None:
            asyncio.get_running_loop().call_at(wake_at, service.wake)
        await asyncio.sleep(seconds)
        service.stop()


@pytest.mark.parametrize(("rests_first", "turns"), [(True, [2.0, 4.5, 6.0]), (False, [0.0, 2.5, 5.0])])
def test_periodic_service_works_each_period_and_once_more_if_resting_first(
    rests_first: bool, turns: list[float]
) -> None:
    async def whole() -> None:
        service = Recorder(rests_first=rests_first)
        await stopped_after(6.0, service)
        assert service.turns == turns
        assert now() == max(6.0, turns[-1] + 0.5)

    run(whole())


def test_periodic_service_wake_starts_next_turn_at_once_or_after_current() -> None:
    async def whole() -> None:
        service = Recorder(rests_first=True, then=lambda turn: service.wake() if turn == 1 else None)
        await stopped_after(2.5, service, wake_at=1.0)
        assert service.turns == [1.0, 1.5, 2.5]

    run(whole())


def test_periodic_service_stop_lets_current_turn_end() -> None:
    async def whole() -> None:
        service = Recorder(rests_first=False)
        await stopped_after(0.2, service)
        assert (service.turns, service.ended) == ([0.0], 0.5)

    run(whole())


def test_periodic_service_ends_with_error_of_turn() -> None:
    def fail(turn: int) -> None:
        if turn == 2:
            raise OSError("disk")

    async def whole() -> None:
        service = Recorder(rests_first=False, then=fail)
        with pytest.raises(OSError, match="disk"):
            await service.serve()
        assert len(service.turns) == 2

    run(whole())
