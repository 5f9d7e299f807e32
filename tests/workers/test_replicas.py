"""Replicas of a fleet in workers: the limits of each are shared by its address, and leave with it."""

from __future__ import annotations

import asyncio
import random

import pytest
from support.clock import run
from together import Mate, broker_of, holds, mate, now

from scorer.limits import Billing, Demand, EndpointDown, LocalLimiter, Outcome, RateLimits
from scorer.limits.live_settings import LiveSettings

DONE = Outcome(Billing.NOTHING, alive=True)
NEED = Demand(0, 0, worst_tokens=0)
A, B = "http://10.0.0.1:8000/v1", "http://10.0.0.2:8000/v1"


def replica(worker: Mate, rates: RateLimits, address: str) -> LocalLimiter:
    assert worker.client.allowance is not None
    return worker.client.leased(rates, worker.client.allowance, 0, address)


class Server:
    """Counts what is in flight at one address, and when each request came."""

    def __init__(self) -> None:
        self.in_flight = self.most = 0
        self.sent: list[tuple[float, float]] = []

    async def ask(self, limits: LocalLimiter, seconds: float) -> None:
        permit = await limits.admit(NEED)
        self.sent.append((now(), 1.0))
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        await asyncio.sleep(seconds)
        self.in_flight -= 1
        limits.settle(permit, DONE)


@pytest.mark.parametrize("a_minute", [None, 1200.0])
@pytest.mark.parametrize("seed", range(2))
def test_the_limits_of_a_replica_are_shared_by_its_address(seed: int, a_minute: float | None) -> None:
    rates = RateLimits(requests_per_minute=a_minute, concurrency=6, most=6)
    draw = random.Random(seed)
    servers = {A: Server(), B: Server()}

    async def whole() -> None:
        broker = broker_of(rates, workers=2)
        async with mate(broker, 1, workers=2) as one, mate(broker, 2, workers=2) as two:
            half = RateLimits(requests_per_minute=a_minute, concurrency=3, most=3)
            tasks = []
            for worker in (one, two):  # the second one finds the first one using all of each
                made = [(address, replica(worker, half, address)) for address in draw.sample([A, B], 2)]
                asked = [servers[address].ask(limits, draw.uniform(0.1, 0.3)) for address, limits in made * 60]
                tasks += [asyncio.create_task(one) for one in asked]
                await asyncio.sleep(0.5)
            await asyncio.gather(*tasks)

    run(whole())
    for server in servers.values():
        assert server.most == 6, "all of it is used, and no more"
        assert len(server.sent) == 120
        if a_minute is not None:
            holds(server.sent, a_minute / 60, a_minute / 60 * 0.25 + 1)


def test_a_replica_that_left_is_reported_until_its_requests_ended_and_then_forgotten() -> None:
    rates = RateLimits(concurrency=4, most=4)

    async def whole() -> None:
        broker = broker_of(rates, workers=1)
        async with mate(broker, 1) as one:
            first, second = replica(one, rates, A), replica(one, rates, B)
            out = [await first.admit(NEED) for _ in range(4)]
            waiting = asyncio.ensure_future(first.admit(NEED))
            await asyncio.sleep(0.5)
            first.retire()
            with pytest.raises(EndpointDown):
                await waiting
            with pytest.raises(EndpointDown):
                await first.admit(NEED)
            await asyncio.sleep(0.5)
            assert [(pace.address, pace.in_flight) for pace in one.talks[-1].paces] == [(A, 4), (B, 0)]
            for permit in out:
                first.settle(permit, DONE)
            await asyncio.sleep(0.5)
            assert [pace.address for pace in one.talks[-1].paces] == [B]
            broker.apply(LiveSettings(concurrency=3))
            await asyncio.sleep(0.5)
            assert second.concurrency == 3, "what a person sets is divided among those that are there"

    run(whole())
