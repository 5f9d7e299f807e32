"""A silent worker's part of the requests in flight is used by others within 5 s, and never too many are out."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.clock import run
from together import Mate, broker_of, mate, now

from scorer.limits import Billing, Demand, Outcome, RateLimits
from scorer.usage import Usage
from scorer.workers.broker_client import FRESH_S
from scorer.workers.place_leases import LONGEST_TURN_S, SILENT_S, PlaceLeases

TOTAL = 12
RATES = RateLimits(concurrency=TOTAL, most=TOTAL)
ANSWERED = Outcome(Billing.KNOWN, usage=Usage(5, 0), alive=True)


class Judge:
    """Counts requests in flight of all workers, also of those that are cut off, for `takes_s` each."""

    def __init__(self, takes_s: float = 0.2) -> None:
        self.takes_s = takes_s
        self.in_flight = self.most = self.recent = 0
        self.begun: list[tuple[float, int]] = []

    async def most_for(self, seconds: float) -> int:
        """The most requests in flight in the seconds from now on."""
        self.recent = 0
        await asyncio.sleep(seconds)
        return self.recent

    async def keeps_asking(self, one: Mate) -> None:
        """As many requests as its limiter lets through, for ever."""

        async def asks() -> None:
            while True:
                permit = await one.limits[0].admit(Demand(0, 0, worst_tokens=10))
                self.in_flight += 1
                self.most, self.recent = max(self.most, self.in_flight), max(self.recent, self.in_flight)
                self.begun.append((now(), one.number))
                await asyncio.sleep(self.takes_s)
                self.in_flight -= 1
                one.limits[0].settle(permit, ANSWERED)

        await asyncio.gather(*(asks() for _ in range(TOTAL)))


@pytest.mark.parametrize("takes_s", [0.2, 3.0])
def test_part_of_a_silent_worker_is_used_within_5_s_and_given_back_as_requests_end(takes_s: float) -> None:
    judge = Judge(takes_s)

    async def scenario() -> None:
        broker = broker_of(RATES, workers=3)
        async with AsyncExitStack() as stack:
            mates = [
                await stack.enter_async_context(mate(broker, n + 1, RATES, workers=3, fresh=True)) for n in range(3)
            ]
            await asyncio.sleep(0.5)
            asking = [asyncio.create_task(judge.keeps_asking(one)) for one in mates]
            assert await judge.most_for(20) == TOTAL
            assert [one.limits[0].concurrency for one in mates] == [4, 4, 4]
            mates[0].cut = True
            cut_at = now()
            await asyncio.sleep(5)
            assert [one.limits[0].concurrency for one in mates[1:]] == [6, 6]
            assert await judge.most_for(2 * takes_s) == TOTAL
            assert max(at for at, number in judge.begun if number == 1) <= cut_at + FRESH_S + 0.1
            async with mate(broker, 4, RATES, workers=3, fresh=True) as late:  # it takes the place of the dead one
                await asyncio.sleep(0.05)  # a worker has no rows before its first answer
                asking.append(asyncio.create_task(judge.keeps_asking(late)))
                await asyncio.sleep(2 * takes_s + 1)
                assert [one.limits[0].concurrency for one in (*mates[1:], late)] == [4, 4, 4]
                assert await judge.most_for(2 * takes_s) == TOTAL
            for task in asking:
                task.cancel()

    run(scenario())
    assert judge.most == TOTAL


def test_worker_that_is_cut_off_and_comes_back_gets_its_part_again() -> None:
    judge = Judge()

    async def scenario() -> None:
        broker = broker_of(RATES, workers=2)
        async with (
            mate(broker, 1, RATES, workers=2, fresh=True) as one,
            mate(broker, 2, RATES, workers=2, fresh=True) as two,
        ):
            gone, answered = asyncio.Event(), two.client._exchange
            gone.set()

            async def through_the_link(report: object) -> object:
                await gone.wait()
                found = await answered(report)  # type: ignore[arg-type]
                await gone.wait()
                return found

            two.client._exchange = through_the_link  # type: ignore[assignment]
            await asyncio.sleep(0.5)
            asking = [asyncio.create_task(judge.keeps_asking(each)) for each in (one, two)]
            for _ in range(3):
                await asyncio.sleep(5)
                gone.clear()
                await asyncio.sleep(30)
                assert one.limits[0].concurrency == TOTAL
                assert await judge.most_for(1) == TOTAL
                gone.set()
                await asyncio.sleep(2)
                assert [each.limits[0].concurrency for each in (one, two)] == [6, 6]
                assert await judge.most_for(1) == TOTAL
            for task in asking:
                task.cancel()

    run(scenario())
    assert judge.most == TOTAL


def test_one_worker_of_many_that_are_not_there_yet_has_all_places() -> None:
    async def scenario() -> None:
        broker = broker_of(RATES, workers=100)
        async with mate(broker, 1, RATES, workers=100) as one:
            await asyncio.sleep(0.5)
            assert one.limits[0].concurrency == TOTAL

    run(scenario())


def test_suspended_coordinator_takes_nobody_for_silent() -> None:
    at = 0.0
    places = PlaceLeases(lambda: at)
    assert [places.exchange(worker, 10, 0) for worker in (1, 2)] == [10, 0]
    at += 0.1
    assert [places.exchange(worker, 10, 0) for worker in (1, 2, 1, 2)] == [5, 0, 5, 5]
    at += 3600.0
    assert [places.exchange(worker, 10, 5) for worker in (1, 2)] == [5, 5]


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.sampled_from([0.02, 0.1, 0.24, 2.0]), st.floats(0, 1), st.booleans()),
        max_size=80,
    ),
    st.integers(4, 9),
)
def test_parts_in_force_are_never_more_than_may_be_in_flight(
    turns: list[tuple[int, float, float, bool]], total: int
) -> None:
    """Each worker follows an answer or, where that is on its way, the one before; it is silent only as it may be."""
    at = lived = 0.0
    places = PlaceLeases(lambda: at)
    may = dict.fromkeys(range(4), 0)
    coming = dict.fromkeys(range(4), 0)
    heard = dict.fromkeys(range(4), 0.0)
    running = dict.fromkeys(range(4), 0)
    for worker, gap, begins, late in turns:
        at += gap
        lived += min(gap, LONGEST_TURN_S)
        for other in range(4):
            if lived - heard[other] > SILENT_S:  # it knows that by a clock of its own
                may[other] = coming[other] = running[other] = 0
        may[worker] = coming[worker]
        running[worker] = min(running[worker], max(may[worker], int(begins * max(running[worker], may[worker]))))
        running[worker] = max(running[worker], int(begins * may[worker]))
        coming[worker] = places.exchange(worker, total, running[worker])
        heard[worker] = lived
        if not late:
            may[worker] = coming[worker]
        assert sum(max(may[n], running[n]) for n in range(4)) <= total
