"""Promise: the queue checks its head only, once per wake-up, and serves started rows before new ones."""

from __future__ import annotations

import asyncio

from support.clock import now, run

from scorer.limits.queue import AdmissionQueue
from scorer.limits.types import Demand

NEED = Demand(tokens=1, output_tokens=1, worst_tokens=2)
NEW = Demand(tokens=1, output_tokens=1, worst_tokens=2, first=True)


def test_queue_checks_only_head_while_held() -> None:
    looks: list[float] = []

    def hold(_: Demand) -> tuple[str, float | None] | None:
        looks.append(now())
        return None if now() >= 2.0 else ("pause", 2.0 - now())

    async def scenario() -> None:
        line: AdmissionQueue[float] = AdmissionQueue(hold, lambda _: now(), lambda *_: None)
        waiters = [asyncio.create_task(line.stand(NEED, None, lambda _: None)) for _ in range(3)]
        await asyncio.sleep(1.0)
        assert (looks, len(line)) == ([0.0], 3)
        assert await asyncio.gather(*waiters) == [2.0, 2.0, 2.0]
        assert looks == [0.0, 2.0, 2.0, 2.0]

    run(scenario())


def test_queue_checks_no_demand_by_itself_where_any_may_take_a_free_place() -> None:
    taken, looks, waits = 0, 0, list[tuple[str, float]]()
    other: str | None = None

    def hold(_: Demand) -> tuple[str, float | None] | None:
        nonlocal looks
        looks += 1
        return (other, None) if other else ("concurrency", None) if taken == 2 else None

    def take(_: Demand) -> None:
        nonlocal taken
        taken += 1

    async def scenario() -> None:
        nonlocal taken, looks, other
        line: AdmissionQueue[None] = AdmissionQueue(
            hold,
            take,
            lambda name, since, until: waits.append((name, until - since)),
            places=lambda: None if other else (2 - taken, "concurrency"),
        )
        waiters = [asyncio.create_task(line.stand(NEED, None, lambda _: None)) for _ in range(9)]
        await asyncio.sleep(1.0)
        looks = 0
        for _ in range(3):
            taken -= 1
            line.look()
            await asyncio.sleep(1.0)
        assert (looks, len(line)) == (0, 4)
        other, taken = "storage", taken - 1
        line.look()
        await asyncio.sleep(1.0)
        other = None
        for _ in range(6):
            line.look()
            taken -= 1
        await asyncio.gather(*waiters)
        assert sum(seconds for name, seconds in waits if name == "concurrency") == 4.0
        assert sum(seconds for name, seconds in waits if name == "storage") == 1.0

    run(scenario())


def test_queue_checks_only_the_rate_of_a_demand_that_may_take_a_free_place() -> None:
    """The limit in flight is checked first, then the rate, also where no other request waits."""
    paced, sent, waits = list[float](), list[float](), list[tuple[str, float]]()

    def hold(_: Demand) -> tuple[str, float | None] | None:
        raise AssertionError("the places are the same for all")

    def pace(_: Demand) -> tuple[str, float] | None:  # one in a second
        paced.append(now())
        return ("tokens_per_minute", sent[-1] + 1.0 - now()) if sent and now() < sent[-1] + 1.0 else None

    async def scenario() -> None:
        line: AdmissionQueue[None] = AdmissionQueue(
            hold,
            lambda _: sent.append(now()),
            lambda name, since, until: waits.append((name, until - since)),
            places=lambda: (4 - len(sent), "concurrency"),
            pace=pace,
        )
        waiters = [asyncio.create_task(line.stand(NEED, None, lambda _: None)) for _ in range(5)]
        await asyncio.sleep(9.0)
        assert (sent, len(line)) == ([0.0, 1.0, 2.0, 3.0], 1)
        assert paced == [0.0, 0.0, 1.0, 1.0, 2.0, 2.0, 3.0]  # none without a place
        waiters[-1].cancel()
        await asyncio.gather(*waiters, return_exceptions=True)
        assert sum(seconds for name, seconds in waits if name == "tokens_per_minute") == 3.0

    run(scenario())


def test_queue_serves_started_rows_before_new_ones_each_in_order() -> None:
    order: list[str] = []
    free = 0

    def hold(_: Demand) -> tuple[str, float | None] | None:
        return None if free else ("concurrency", None)

    def take(_: Demand) -> None:
        nonlocal free
        free -= 1

    async def scenario() -> None:
        nonlocal free
        line: AdmissionQueue[None] = AdmissionQueue(hold, take, lambda *_: None)

        async def stand(name: str, need: Demand) -> None:
            await line.stand(need, None, lambda _: None)
            order.append(name)

        async with asyncio.TaskGroup() as group:
            tasks = {}
            for name, need in (("a", NEW), ("b", NEW), ("A", NEED), ("B", NEED), ("c", NEW), ("C", NEED), ("D", NEED)):
                tasks[name] = group.create_task(stand(name, need))
                await asyncio.sleep(0)
            tasks["B"].cancel()
            for _ in range(6):
                free += 1
                line.look()
                await asyncio.sleep(0)
            assert len(line) == 0

    run(scenario())
    assert order == ["A", "C", "D", "a", "b", "c"]


def test_queue_sums_waits_per_limit_without_loss() -> None:
    counted: list[tuple[str, float, float]] = []
    reason = "concurrency"
    free = 0

    def hold(_: Demand) -> tuple[str, float | None] | None:
        return None if free else (reason, None)

    def take(_: Demand) -> None:
        nonlocal free
        free -= 1

    async def main() -> None:
        nonlocal free, reason
        queue: AdmissionQueue[None] = AdmissionQueue(hold, take, lambda *wait: counted.append(wait))
        async with asyncio.TaskGroup() as group:
            for _ in range(50):
                group.create_task(queue.stand(NEW, None, lambda _: None))
            for turn in range(50):
                await asyncio.sleep(0.01)
                reason = "concurrency" if turn < 30 else "storage"
                free += 1
                queue.look()

    run(main())
    assert {name for name, _, _ in counted} == {"concurrency", "storage"}
    assert len(counted) < 10
    assert [until for _, _, until in counted[:-1]] == [since for _, since, _ in counted[1:]]
    assert (counted[0][1], round(counted[-1][2], 9)) == (0.0, 0.5)
