"""Promise: a worker reports as often as needed and no oftener, and stops sending when its owner is silent."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from support.clock import run
from together import broker_of, mate, now

from scorer.errors import BudgetSpent
from scorer.limits import Billing, Demand, Outcome, RateLimits
from scorer.types import (
    Shard,
    Work,
)
from scorer.usage import (
    Usage,
)
from scorer.workers.broker_client import BEAT_S, FRESH_S, BrokerClient
from scorer.workers.messages import Answer, Order, Report


def need(worst: int = 0) -> Demand:
    return Demand(0, 0, worst_tokens=worst)


def test_broker_client_reports_ten_times_a_second_when_idle() -> None:
    async def scenario() -> None:
        async with mate(broker_of(RateLimits()), 1, RateLimits()) as one:
            await asyncio.sleep(2.0)
            assert 19 <= len(one.talks) <= 21

    run(scenario())


def test_broker_client_reports_no_oftener_while_waiting_for_budget() -> None:
    async def scenario() -> None:
        broker = broker_of(RateLimits(), max_tokens=100)
        async with (
            mate(broker, 1, RateLimits(), tokens_capped=True) as one,
            mate(broker, 2, RateLimits(), tokens_capped=True) as two,
        ):
            await one.limits[0].admit(need(80))
            waiting = asyncio.create_task(two.limits[0].admit(need(70)))
            await asyncio.sleep(2.0)
            assert len(two.talks) <= 23
            waiting.cancel()
            with suppress(asyncio.CancelledError, BudgetSpent):
                await waiting

    run(scenario())


def test_broker_client_report_count_grows_with_time_not_requests() -> None:
    rates = RateLimits(requests_per_minute=60_000)

    async def scenario() -> None:
        async with mate(broker_of(rates, workers=1), 1, rates) as one:
            for _ in range(2000):  # a thousand a second
                one.limits[0].settle(await one.limits[0].admit(need()), Outcome(Billing.NOTHING, alive=True))
            assert now() < 2.2
            assert len(one.talks) < 100

    run(scenario())


def test_broker_client_sends_no_report_per_settlement_while_waiting_for_rate() -> None:
    rates = RateLimits(tokens_per_minute=6000)

    async def scenario() -> None:
        async with mate(broker_of(rates, workers=1), 1, rates) as one:
            permits = [await one.limits[0].admit(Demand(0, 0, worst_tokens=0)) for _ in range(30)]
            waiting = asyncio.create_task(one.limits[0].admit(Demand(3000, 0, worst_tokens=3000)))
            await asyncio.sleep(0.2)  # it takes a full bucket negative; the next one waits for half a minute
            waiting = asyncio.create_task(one.limits[0].admit(Demand(3000, 0, worst_tokens=3000)))
            await asyncio.sleep(0.2)
            before = len(one.talks)
            for permit in permits:
                one.limits[0].settle(permit, Outcome(Billing.NOTHING, alive=True))
                await asyncio.sleep(0.01)
            assert not waiting.done()
            assert len(one.talks) - before <= 5
            waiting.cancel()
            await asyncio.wait([waiting])

    run(scenario())


def test_broker_client_leases_budget_for_many_requests_at_once() -> None:
    async def scenario() -> None:
        broker = broker_of(RateLimits(), max_tokens=10**6)
        async with mate(broker, 1, RateLimits(), tokens_capped=True) as one:
            for _ in range(80):
                usage = Outcome(Billing.KNOWN, usage=Usage(10, 0), alive=True)
                one.limits[0].settle(await one.limits[0].admit(need(10)), usage)
            assert len(one.talks) <= 15

    run(scenario())


def test_broker_client_stops_sending_and_publishing_while_owner_is_silent() -> None:
    async def scenario() -> None:
        async with mate(broker_of(RateLimits()), 1, RateLimits()) as one:
            await asyncio.sleep(1.0)
            one.cut = True
            assert one.client.fresh()
            sure = asyncio.create_task(one.client.sure())
            await asyncio.sleep(0)
            assert sure.done()
            await asyncio.sleep(FRESH_S)
            assert not one.client.fresh()
            sure = asyncio.create_task(one.client.sure())
            await asyncio.sleep(60.0)
            assert not sure.done()
            sure.cancel()

    run(scenario())


def test_broker_client_prefetches_portions() -> None:
    async def scenario() -> None:
        broker = broker_of(RateLimits())
        broker.offer(Work(Shard("in/a.parquet", "a", 1, "1", 5000, "f")), 0)
        async with mate(broker, 1, RateLimits()) as one:
            assert await one.client.next_portion(wait=True)
            await asyncio.sleep(BEAT_S * 2)
            began = now()
            for _ in range(2):
                assert await one.client.next_portion(wait=False)
            assert now() == began

    run(scenario())


def test_broker_client_waits_for_rows_of_dead_worker() -> None:
    async def scenario() -> None:
        broker = broker_of(RateLimits())
        broker.offer(Work(Shard("in/a.parquet", "a", 1, "1", 2, "f")), 0)
        broker.rows.close()
        async with mate(broker, 1, RateLimits()) as one, mate(broker, 2, RateLimits()) as two:
            (first,) = await one.client.next_portion(wait=True)
            assert await two.client.next_portion(wait=False) == []
            waiting = asyncio.create_task(two.client.next_portion(wait=True))
            await asyncio.sleep(3.0)
            assert not waiting.done()
            one.cut = True
            broker.rows.lost([1])
            (again,) = await waiting
            assert (again.first, again.stop) == (first.first, first.stop)

    run(scenario())


def test_broker_client_obeys_order_once_and_stops_waiting_for_rows() -> None:
    async def scenario() -> None:
        orders: list[Order] = []

        async def exchange(_: Report) -> Answer:
            await asyncio.sleep(0.001)
            return Answer(order=Order.DRAIN)

        client = BrokerClient(exchange, lease_s=0.1, on_order=orders.append)
        talking = asyncio.create_task(client.serve())
        assert await client.next_portion(wait=True) == []
        await asyncio.sleep(1.0)
        client.stop()
        await talking
        assert orders == [Order.DRAIN]

    run(scenario())
