"""Promise: all workers together send at most what one process may, in any window, and nearly all of it."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.clock import inline, run
from together import Mate, Never, broker_of, holds, mate, now

from scorer.limits import Billing, Budget, Demand, Outcome, RateLimits
from scorer.limits.leased import LeasedEndpoint
from scorer.limits.types import Permit
from scorer.output.ledger import Ledger
from scorer.types import (
    Gauge,
    RateHint,
)
from scorer.usage import (
    Usage,
)
from scorer.workers.broker import Broker
from scorer.workers.messages import GaugeObservation, Pace, Throttle
from scorer.workers.rate_leases import Endpoint, lease_s

DONE = Outcome(Billing.NOTHING, alive=True)
Sent = list[tuple[float, int, int]]
"""When, prompt tokens, output tokens."""


def need(tokens: int = 0, output: int = 0) -> Demand:
    return Demand(tokens, output, worst_tokens=tokens + output)


async def keep_asking(one: Mate, sent: Sent, until: float, tokens: int = 0, answer_s: float = 0.0) -> None:
    """Requests one after another, as fast as the limits let it."""
    while now() < until:
        permit = await one.limits[0].admit(need(tokens, 1 if tokens else 0))
        if now() < until:
            sent.append((now(), tokens, 1))
        await asyncio.sleep(answer_s)
        one.limits[0].settle(permit, Outcome(Billing.KNOWN, usage=Usage(tokens, 1), alive=True))


async def together(
    broker: Broker, rates: RateLimits, workers: int, lines: int, until: float, **asked: float
) -> list[Sent]:
    """What each worker sent, with `lines` requests of each waiting at any time."""
    sents: list[Sent] = [[] for _ in range(workers)]
    async with AsyncExitStack() as stack:
        mates = [await stack.enter_async_context(mate(broker, n + 1, rates)) for n in range(workers)]
        asking = [
            asyncio.create_task(keep_asking(one, sent, until, **asked))  # type: ignore[arg-type]
            for one, sent in zip(mates, sents, strict=True)
            for _ in range(lines)
        ]
        await asyncio.sleep(until)
        for task in asking:
            task.cancel()
        await asyncio.wait(asking)
    return sents


_RATES = st.builds(
    RateLimits,
    requests_per_minute=st.none() | st.sampled_from([30.0, 600.0, 6000.0]),
    tokens_per_minute=st.none() | st.sampled_from([3000.0, 60_000.0]),
    input_tokens_per_minute=st.none() | st.just(20_000.0),
    burst_s=st.sampled_from([0.05, 0.3, 2.0]),
    concurrency=st.integers(1, 8),
)
_ASKED = st.tuples(
    st.integers(0, 2),  # the worker
    st.sampled_from([0.0, 0.0, 0.01, 1.0]),  # comes so long after the one before
    st.integers(0, 400),  # prompt tokens
    st.integers(1, 100),  # output tokens
    st.sampled_from([0.0, 0.2, 3.0]),  # is answered so long after it was sent
)


@pytest.mark.slow
@settings(max_examples=12)
@given(rates=_RATES, asked=st.lists(_ASKED, min_size=1, max_size=30), dies=st.none() | st.floats(0, 3))
def test_rate_leases_never_exceed_limit_for_any_mix_of_workers(
    rates: RateLimits, asked: list[tuple[int, float, int, int, float]], dies: float | None
) -> None:
    """Slow: twelve nights of three workers, each of up to a minute and a beat every tenth of a second."""
    sent: Sent = []

    async def scenario() -> None:
        broker = broker_of(rates, workers=3)
        async with AsyncExitStack() as stack:
            mates = [await stack.enter_async_context(mate(broker, n + 1, rates)) for n in range(3)]

            async def ask(one: Mate, prompt: int, output: int, answer_s: float) -> None:
                permit = await one.limits[0].admit(need(prompt, output))
                sent.append((now(), prompt, output))
                await asyncio.sleep(answer_s)
                one.limits[0].settle(permit, Outcome(Billing.KNOWN, usage=Usage(prompt, 1), alive=True))

            def die() -> None:
                mates[0].cut = True

            asking = []
            if dies is not None:
                asyncio.get_running_loop().call_later(dies, die)
            for which, gap, prompt, output, answer_s in asked:
                await asyncio.sleep(gap)
                asking.append((which, asyncio.create_task(ask(mates[which], prompt, output, answer_s))))
            await asyncio.gather(*(task for which, task in asking if which or dies is None))  # the living all pass
            for _, task in asking:
                task.cancel()

    run(scenario())
    sent.sort()
    if rates.requests_per_minute is not None:
        per_s = rates.requests_per_minute / 60
        holds([(at, 1.0) for at, _, _ in sent], per_s, max(1.0, per_s * 0.25) + per_s * lease_s(rates))
    for limit, amounts in (
        (rates.tokens_per_minute, [(at, float(prompt + output)) for at, prompt, output in sent]),
        (rates.input_tokens_per_minute, [(at, float(prompt)) for at, prompt, _ in sent]),
    ):
        if limit is not None:
            largest = max((amount for _, amount in amounts), default=0.0)
            holds(amounts, limit / 60, max(limit / 60 * rates.burst_s, largest + limit / 60 * lease_s(rates)))


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2, 5])
def test_rate_leases_use_98_percent_of_minute_and_never_more(workers: int) -> None:
    """Slow: a minute of 1,200 requests, several workers, every one of them hungry."""
    rates = RateLimits(requests_per_minute=1200, concurrency=16)

    async def scenario() -> None:
        sents = await together(broker_of(rates, workers=workers), rates, workers, 8, 61.0)
        times = sorted(at for sent in sents for at, _, _ in sent)
        assert 1200 * 0.98 <= sum(at < 60 for at in times) <= 1200
        assert min(len(sent) for sent in sents) > 1200 / workers * 0.5  # nobody starves

    run(scenario())


@pytest.mark.slow
def test_rate_leases_share_tokens_between_large_and_small_requests() -> None:
    """Slow: half a minute of 100,000 tokens; one worker asks for large requests, two for small ones."""
    rates = RateLimits(tokens_per_minute=100_000, concurrency=16)

    async def scenario() -> None:
        broker = broker_of(rates, workers=2)
        large: Sent = []
        small: Sent = []
        async with mate(broker, 1, rates) as one, mate(broker, 2, rates) as two:
            tasks = [asyncio.create_task(keep_asking(one, large, 30.0, tokens=3000)) for _ in range(4)]
            tasks += [asyncio.create_task(keep_asking(two, small, 30.0, tokens=99)) for _ in range(8)]
            await asyncio.sleep(30.0)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        tokens = sum(prompt + output for _, prompt, output in large + small)
        assert 50_000 * 0.95 <= tokens <= 50_000 + 3001
        assert len(large) >= 4  # a large one is not passed over for ever
        assert len(small) >= 12  # they take turns

    run(scenario())


def test_rate_leases_reassign_unused_requests() -> None:
    rates = RateLimits(requests_per_minute=600)

    async def scenario() -> None:
        broker = broker_of(rates)
        async with mate(broker, 1, rates) as one, mate(broker, 2, rates) as two:
            for _ in range(5):  # one takes all, and then falls silent: its wish for more is of its past
                one.limits[0].settle(await one.limits[0].admit(need()), DONE)
            began, passed = now(), 0
            while now() < began + 6:
                two.limits[0].settle(await two.limits[0].admit(need()), DONE)
                passed += 1
            assert passed >= 58

    run(scenario())


def test_endpoint_leases_all_returned_requests_to_another_worker() -> None:
    endpoint = Endpoint(RateLimits(requests_per_minute=6000), lambda: 0.0)
    first = endpoint.exchange(1, Pace(wish={"requests": 100.0})).amounts["requests"]
    assert first == 14  # 0.15 s worth, in whole requests
    assert endpoint.exchange(2, Pace(least={"requests": 1.0}, wish={"requests": 100.0})).amounts == {}
    endpoint.exchange(1, Pace(unused={"requests": first - 4}))
    again = endpoint.exchange(2, Pace(least={"requests": 1.0}, wish={"requests": 100.0}))
    assert again.amounts == {"requests": first - 4}


def test_endpoint_keeps_share_of_late_worker_without_delaying_others() -> None:
    now = 0.0
    endpoint = Endpoint(RateLimits(tokens_per_minute=60_000), lambda: now)
    assert endpoint.exchange(1, Pace(wish={"tokens": 199.0})).amounts == {
        "tokens": pytest.approx(199.0)
    }  # all it holds
    second = Pace(least={"tokens": 50.0}, wish={"tokens": 150.0})
    assert endpoint.exchange(2, second).wait_s == pytest.approx(50 / 995)
    now = 0.2  # the bucket is full again, and number 2 on a slow wire
    third = Pace(least={"tokens": 100.0}, wish={"tokens": 500.0})
    assert endpoint.exchange(3, third).amounts == {"tokens": pytest.approx(149.0)}
    assert endpoint.exchange(3, third).amounts == {}
    assert endpoint.exchange(2, second).amounts == {"tokens": pytest.approx(50.0)}


def test_endpoint_queues_workers_one_request_apart_below_one_token() -> None:
    endpoint = Endpoint(RateLimits(requests_per_minute=60), lambda: 0.0)
    one = Pace(least={"requests": 1.0}, wish={"requests": 1.0})
    assert endpoint.exchange(1, one).amounts == {"requests": 1.0}
    second, third = endpoint.exchange(2, one).wait_s, endpoint.exchange(3, one).wait_s
    assert third - second == pytest.approx(1 / 0.995)


def test_endpoint_charges_overdraft_of_one_worker_to_all() -> None:
    now = 0.0
    endpoint = Endpoint(RateLimits(tokens_per_minute=60_000), lambda: now)
    endpoint.exchange(1, Pace(unused={"tokens": -1000.0}))
    wait = endpoint.exchange(2, Pace(least={"tokens": 50.0}, wish={"tokens": 50.0})).wait_s
    assert 0.8 < wait < 0.9  # 800 below nothing, and 50 more, at 995 a second


def test_endpoint_dates_lower_limit_by_sending_and_ends_on_answer_without_header() -> None:
    now = 100.0
    endpoint = Endpoint(RateLimits(tokens_per_minute=60_000), lambda: now)
    for limit, ago_s in ((6000.0, 0.1), (60_000.0, 1.0)):  # the second is a late reply to what was sent before the fall
        endpoint.exchange(1, Pace(observations=[GaugeObservation("tokens", limit, None, ago_s)], answered=True))
        assert endpoint.tokens_per_minute == 6000
    for at, answered, left in ((130.0, True, 6000), (161.0, False, 6000), (161.0, True, 60_000)):
        now = at
        endpoint.exchange(1, Pace(answered=answered))
        assert endpoint.tokens_per_minute == left


def test_leased_endpoint_admits_nothing_after_lease_expires() -> None:
    async def scenario() -> None:
        asked: list[float] = []
        ledger = Ledger(Never(), "never-written", "me", offload=inline, strict=False)
        leased = LeasedEndpoint(RateLimits(requests_per_minute=6000), Budget(ledger), lambda: asked.append(now()))
        limits = leased.limiter
        leased.lease({"requests": 5.0}, until=now() + 0.1)
        limits.settle(await limits.admit(need()), DONE)
        await asyncio.sleep(0.2)  # a stalled loop, or a wire that is slow
        waiting = asyncio.create_task(limits.admit(need()))
        await asyncio.sleep(1.0)
        assert not waiting.done()
        assert asked
        assert leased.hand_back() == {"requests": 4.0}
        leased.lease({"requests": 1.0}, until=now() + 0.1)
        limits.settle(await waiting, DONE)

    run(scenario())


def test_rate_lease_of_dead_worker_counts_as_used() -> None:
    rates = RateLimits(requests_per_minute=60)

    async def scenario() -> None:
        broker = broker_of(rates)
        async with mate(broker, 1, rates) as one, mate(broker, 2, rates) as two:
            await one.limits[0].admit(need())
            one.cut = True
            began = now()
            await two.limits[0].admit(need())
            assert now() - began > 0.9

    run(scenario())


def test_broker_pauses_all_workers_once_on_429_of_one() -> None:
    rates = RateLimits(requests_per_minute=6000)

    async def scenario() -> None:
        broker = broker_of(rates)
        async with mate(broker, 1, rates) as one, mate(broker, 2, rates) as two:
            first, second = await one.limits[0].admit(need()), await one.limits[0].admit(need())
            refused = Outcome(Billing.NOTHING, throttled=True, retry_after_s=5.0)
            one.limits[0].settle(first, refused)
            await asyncio.sleep(0.15)  # by then everybody has heard of it
            waiting = asyncio.create_task(two.limits[0].admit(need()))
            await asyncio.sleep(1.0)
            one.limits[0].settle(second, refused)  # sent before the cut: it tells nothing new
            await waiting
            assert 4.9 <= now() <= 5.2

    run(scenario())


def test_broker_applies_lower_limit_from_header_to_all_workers() -> None:
    rates = RateLimits(requests_per_minute=6000)

    async def scenario() -> None:
        broker = broker_of(rates)
        async with mate(broker, 1, rates) as one, mate(broker, 2, rates) as two:
            hint = RateHint({"requests": Gauge(limit=60.0, remaining=60.0)})
            one.limits[0].settle(await one.limits[0].admit(need()), Outcome(Billing.NOTHING, hint=hint, alive=True))
            await asyncio.sleep(2.0)
            began, passed = now(), 0
            while now() < began + 10:
                two.limits[0].settle(await two.limits[0].admit(need()), DONE)
                passed += 1
            assert passed <= 12

    run(scenario())


def test_broker_applies_remaining_tokens_from_header_to_all_workers() -> None:
    rates = RateLimits(tokens_per_minute=60_000)

    async def scenario() -> None:
        broker = broker_of(rates)
        async with mate(broker, 1, rates) as one, mate(broker, 2, rates) as two:
            hint = RateHint({"tokens": Gauge(limit=60_000.0, remaining=-3000.0)})
            permit = await one.limits[0].admit(need(10))
            one.limits[0].settle(permit, Outcome(Billing.KNOWN, usage=Usage(10, 0), hint=hint, alive=True))
            await asyncio.sleep(0.15)
            began = now()
            await two.limits[0].admit(need(10))
            assert 2.0 < now() - began < 4.0

    run(scenario())


@pytest.mark.parametrize("strict", [False, True])
def test_leased_limiter_cancelled_request_leaves_nothing_reserved(strict: bool) -> None:
    rates = RateLimits(requests_per_minute=60, concurrency=1)

    async def scenario() -> None:
        async with mate(broker_of(rates), 1, rates, strict=strict) as one:
            permit: Permit = await one.limits[0].admit(need(1))
            waiter = asyncio.create_task(one.limits[0].admit(need(1)))
            await asyncio.sleep(0.5)
            waiter.cancel()
            await asyncio.wait([waiter])
            one.limits[0].settle(permit, DONE)
            assert (one.limits[0].in_flight, one.limits[0].waiting, one.ledger.open_tokens) == (0, 0, 0)

    run(scenario())


def test_endpoint_backs_off_on_consecutive_429s_whatever_retry_after() -> None:
    """A server that wishes for no pause would else be asked by every worker again and again."""
    time = [100.0]
    endpoint = Endpoint(RateLimits(requests_per_minute=600), lambda: time[0])
    pauses = []
    for number in range(8):
        pace = Pace(throttles=[Throttle(0.0, 0.0)], least={"requests": 1.0})
        pauses.append(endpoint.exchange(number % 2, pace).pause_s)
        time[0] += pauses[-1] + 0.1
    assert pauses == pytest.approx([0.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0])
    endpoint.exchange(0, Pace(answered=True))
    assert endpoint.exchange(1, Pace(throttles=[Throttle(0.0, 0.0)])).pause_s == 0.0
    assert endpoint.exchange(1, Pace(throttles=[Throttle(0.0, 40_000.0, quota=True)])).pause_s == 0.0, "sent before it"
    time[0] += 0.1
    assert endpoint.exchange(1, Pace(throttles=[Throttle(0.0, 40_000.0, quota=True)])).pause_s == pytest.approx(
        40_000.0
    )
