"""Promise: what is late expires, and a process that stood still loses no reply that came meanwhile."""

from __future__ import annotations

import asyncio

from support.clock import VirtualLoop, now, run

from scorer.client.http.deadlines import NEVER, READ_S, Deadlines


class Waiting:
    """It notes when it expired."""

    def __init__(self) -> None:
        self.due = NEVER
        self.expired_at: float | None = None

    def expire(self) -> None:
        self.expired_at = now()


def stand_still(seconds: float) -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    loop.stand_still(seconds)


def test_late_one_expires_within_one_look() -> None:
    async def main() -> float | None:
        one = Waiting()
        deadlines = Deadlines(10.0, lambda: [one])
        one.due = now() + 1.0
        deadlines.watch()
        await asyncio.sleep(5)
        return one.expired_at

    at = run(main())
    assert at is not None
    assert 1.0 <= at <= 1.2 + 1e-9


def test_reply_read_right_after_a_standstill_does_not_expire() -> None:
    async def main() -> tuple[float | None, float | None]:
        read, silent = Waiting(), Waiting()
        deadlines = Deadlines(10.0, lambda: [read, silent])
        read.due = silent.due = now() + 1.0
        deadlines.watch()
        stand_still(30.0)
        await asyncio.sleep(READ_S / 2)
        read.due = NEVER
        await asyncio.sleep(5)
        return read.expired_at, silent.expired_at

    read_at, silent_at = run(main())
    assert read_at is None
    assert silent_at is not None
    assert 30.0 <= silent_at <= 30.0 + 2 * READ_S


def test_process_that_stands_still_again_and_again_still_expires_what_is_late() -> None:
    async def main() -> float | None:
        one = Waiting()
        deadlines = Deadlines(10.0, lambda: [one])
        one.due = now() + 1.0
        deadlines.watch()
        for _ in range(4):
            stand_still(3.0)
            await asyncio.sleep(READ_S)
        return one.expired_at

    at = run(main())
    assert at is not None
    assert at < 7.0


def test_deadline_set_on_what_was_idle_or_came_later_expires() -> None:
    async def main() -> tuple[float | None, float | None]:
        idle, later = Waiting(), Waiting()
        there = [idle]
        deadlines = Deadlines(10.0, lambda: there)
        deadlines.watch()
        await asyncio.sleep(100)
        idle.due = now() + 1.0
        await asyncio.sleep(5)
        there.clear()
        await asyncio.sleep(5)  # nothing is looked at any more
        there.append(later)
        deadlines.watch()
        later.due = now() + 1.0
        await asyncio.sleep(5)
        return idle.expired_at, later.expired_at

    idle_at, later_at = run(main())
    assert idle_at is not None
    assert later_at is not None
    assert 101.0 <= idle_at <= 101.2 + 1e-9
    assert 111.0 <= later_at <= 111.2 + 1e-9
