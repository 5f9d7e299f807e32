"""Promise: what a person changes while a run goes on reaches all workers, late ones too; caps stay exact."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest
from support.clock import run
from together import Mate, broker_of, mate

from scorer.errors import BudgetSpent, SpecError
from scorer.limits import Billing, Demand, Outcome, RateLimits
from scorer.limits.live_settings import LiveSettings
from scorer.usage import Usage
from scorer.workers.messages import MOST_LATENCIES

ANSWERED = Outcome(Billing.KNOWN, usage=Usage(5, 0), alive=True)


def need(*, first: bool = True) -> Demand:
    return Demand(0, 0, worst_tokens=10, first=first)


async def asks(one: Mate, *, first: bool = True) -> None:
    """One request from its admission to its settlement, which takes 0.2 s."""
    permit = await one.limits[0].admit(need(first=first))
    await asyncio.sleep(0.2)
    one.limits[0].settle(permit, ANSWERED)


@pytest.mark.parametrize("capped", [False, True])
def test_pause_reaches_all_workers_and_one_that_starts_in_it(capped: bool) -> None:
    caps: dict[str, Any] = {"tokens_capped": capped, "strict": capped}

    async def scenario() -> None:
        broker = broker_of(RateLimits(), max_tokens=10**6 if capped else None)
        async with mate(broker, 1, RateLimits(), **caps) as one, mate(broker, 2, RateLimits(), **caps) as two:
            serving = [asyncio.create_task(mate_.ledger.serve()) for mate_ in (one, two)]
            await asyncio.gather(asks(one), asks(two))
            broker.apply(LiveSettings(paused=True))
            await asyncio.sleep(0.3)
            assert broker.load.paused
            async with mate(broker, 3, RateLimits(), **caps) as three:
                serving.append(asyncio.create_task(three.ledger.serve()))
                await asyncio.sleep(0.3)
                waiting = [asyncio.create_task(asks(each)) for each in (one, two, three)]
                await asyncio.gather(*(asks(each, first=False) for each in (one, two)))
                await asyncio.sleep(30)
                assert not any(task.done() for task in waiting)
                assert (broker.load.in_flight, [each.ledger.open_tokens for each in (one, two)]) == (0, [0, 0])
                broker.apply(LiveSettings())
                await asyncio.wait_for(asyncio.gather(*waiting), 2)
            for task in serving:
                task.cancel()

    run(scenario())


def test_requests_in_flight_are_divided_among_endpoints_and_workers() -> None:
    rates = [RateLimits(concurrency=12, most=12), RateLimits(concurrency=4, most=4)]

    async def scenario() -> None:
        broker = broker_of(*rates)
        async with mate(broker, 1, *rates, workers=2) as one, mate(broker, 2, *rates, workers=2) as two:
            broker.apply(LiveSettings(concurrency=25))
            await asyncio.sleep(0.5)
            found = [[limits.concurrency for limits in each.limits] for each in (one, two)]
            assert sum(map(sum, found)) == broker.load.places == 25
            assert min(map(min, found)) >= 1
            broker.apply(LiveSettings(concurrency=4))
            await asyncio.sleep(0.5)
            assert [[limits.concurrency for limits in each.limits] for each in (one, two)] == [[1, 1], [1, 1]]

    run(scenario())


def test_raised_cap_is_divided_and_never_exceeded_while_requests_are_out() -> None:
    async def scenario() -> None:
        broker = broker_of(RateLimits(), max_tokens=200)
        async with (
            mate(broker, 1, RateLimits(), tokens_capped=True) as one,
            mate(broker, 2, RateLimits(), tokens_capped=True) as two,
        ):
            for each in (one, two):
                for _ in range(2):
                    await asks(each)
            spent = [20]

            async def spends(each: Mate) -> None:
                with suppress(BudgetSpent):
                    while True:
                        await asks(each)
                        spent[0] += 5
                        committed = sum(mate_.ledger.totals.tokens + mate_.ledger.open_tokens for mate_ in (one, two))
                        assert committed <= (broker.settings.max_tokens or 200)

            spending = [asyncio.create_task(spends(each)) for each in (one, one, two, two)]
            await asyncio.sleep(1.0)
            broker.apply(LiveSettings(max_tokens=500))
            await asyncio.wait_for(asyncio.gather(*spending), 600)
            assert 490 < spent[0] <= 500
            assert broker.totals.tokens == spent[0]
            with pytest.raises(SpecError, match=r"--set limits\.max_tokens=900"):
                broker.apply(LiveSettings(max_tokens=900, paused=True))
            assert broker.settings == LiveSettings(max_tokens=500)

    run(scenario())


def test_latencies_come_with_the_reports_a_few_at_a_time() -> None:
    async def scenario() -> None:
        broker = broker_of(RateLimits(concurrency=100))
        async with mate(broker, 1, RateLimits(concurrency=100)) as one:
            await asyncio.gather(*(asks(one) for _ in range(90)))
            await asyncio.sleep(0.5)
            assert max(len(report.paces[0].latencies) for report in one.talks) == MOST_LATENCIES
            assert broker.load.latency_s == {"p50": 0.2, "p90": 0.2, "p99": 0.2}

    run(scenario())
