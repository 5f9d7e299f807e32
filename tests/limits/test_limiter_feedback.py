"""Promise: the limiter follows what the server tells: 429s, rate headers, and the tokens that it charges."""

from __future__ import annotations

import asyncio
import random
from itertools import pairwise

import pytest
from support.clock import now, run
from support.limiters import ANSWERED, DONE, FAILED, made, need, next_admitted, outcome_with, throttled

from scorer.limits import Billing, Outcome, RateLimits
from scorer.limits.rate_limits import MARGIN
from scorer.types import Gauge, RateHint
from scorer.usage import Usage


@pytest.mark.parametrize(("wish", "pause"), [(5.0, 5.0), (0.0, 0.0), (86_400.0, 60.0), (None, 1.0)])
def test_limiter_pauses_all_requests_once_for_burst_of_429s(wish: float | None, pause: float) -> None:
    async def scenario() -> None:
        limits = made()
        permits = [await limits.admit(need()) for _ in range(10)]
        await asyncio.sleep(1)
        for permit in permits:  # all of them were sent before anybody knew
            limits.settle(permit, throttled(wish))
            await asyncio.sleep(0.01)
        assert await next_admitted(limits) == pytest.approx(max(1 + pause, 1.1))

    run(scenario())


def test_limiter_backs_off_longer_on_429s_without_retry_after_until_answered() -> None:
    async def scenario() -> None:
        limits, pauses = made(), []
        for _ in range(8):
            permit = await limits.admit(need())
            pauses.append(now())
            await asyncio.sleep(0.5)
            limits.settle(permit, throttled())
        sent = [after - before - 0.5 for before, after in pairwise(pauses)]
        assert sent == pytest.approx([1, 2, 4, 8, 16, 32, 60])
        await next_admitted(limits)
        permit = await limits.admit(need())
        await asyncio.sleep(0.5)
        limits.settle(permit, throttled())
        since = now()
        assert await next_admitted(limits) == pytest.approx(since + 1)

    run(scenario())


def test_limiter_adopts_lower_limit_from_headers_but_not_higher() -> None:
    async def seconds_for(limit: float) -> float:
        limits, since = made(RateLimits(requests_per_minute=600, concurrency=1)), now()
        for _ in range(101):
            limits.settle(await limits.admit(need()), outcome_with(requests=Gauge(limit=limit)))
        return now() - since

    async def scenario() -> None:
        assert await seconds_for(60) == pytest.approx(100 / MARGIN, rel=0.02)
        assert await seconds_for(600_000) == pytest.approx(10 / MARGIN, rel=0.05)

    run(scenario())


def test_limiter_does_not_raise_limit_on_late_reply_to_earlier_request() -> None:
    async def scenario() -> None:
        limits = made(RateLimits(requests_per_minute=600, tokens_per_minute=60_000, concurrency=2))
        early, (before, after) = await limits.admit(need()), ((600.0, 60_000.0), (60.0, 6000.0))
        await asyncio.sleep(0.5)
        for permit, (requests, tokens) in ((await limits.admit(need()), after), (early, before)):
            limits.settle(permit, outcome_with(requests=Gauge(limit=requests), tokens=Gauge(limit=tokens)))
        assert limits.tokens_per_minute == 6000
        since = now()
        for _ in range(5):
            await next_admitted(limits)
        assert now() - since == pytest.approx(5 / MARGIN, rel=0.11)

    run(scenario())


def test_limiter_drops_lower_limit_after_one_minute_without_header() -> None:
    async def scenario() -> None:
        limits, since = made(RateLimits(requests_per_minute=600, tokens_per_minute=60_000, concurrency=1)), now()
        hint = outcome_with(requests=Gauge(limit=1), tokens=Gauge(limit=1))
        limits.settle(await limits.admit(need()), hint)
        assert await next_admitted(limits, outcome=ANSWERED) == pytest.approx(since + 60, abs=0.5)
        for _ in range(100):
            await next_admitted(limits, outcome=ANSWERED)
        assert now() - since < 60.5 + 10 / MARGIN

    run(scenario())


@pytest.mark.parametrize("outcome", [DONE, FAILED], ids=["refused", "failed"])
def test_limiter_keeps_lower_limit_until_answer_without_header(outcome: Outcome) -> None:
    """Seed 113549: after an outage of more than a minute the run asked as fast as its run file says."""

    async def scenario() -> None:
        limits = made(RateLimits(requests_per_minute=600, tokens_per_minute=60_000, concurrency=1))
        limits.settle(await limits.admit(need()), outcome_with(requests=Gauge(limit=60), tokens=Gauge(limit=6000)))
        await asyncio.sleep(300)
        since = await next_admitted(limits, outcome=outcome)
        for _ in range(5):
            await next_admitted(limits, outcome=outcome)
        assert now() - since == pytest.approx(5 / MARGIN, rel=0.01)
        assert limits.tokens_per_minute == 6000

    run(scenario())


def test_limiter_trusts_remaining_tokens_of_server_over_own_count() -> None:
    async def scenario() -> None:
        limits = made(RateLimits(tokens_per_minute=60_000, burst_s=10))
        permit = await limits.admit(need(100))
        await asyncio.sleep(0.5)
        limits.settle(permit, outcome_with(tokens=Gauge(remaining=0)))  # somebody else uses the same key
        # Half a second was refilled since the server counted; the rest of 1,000 tokens must come first.
        assert await next_admitted(limits, need(1000)) == pytest.approx(0.5 + (1000 - 497.5) / 995, rel=0.01)

    run(scenario())


def test_limiter_pauses_until_request_remains_at_server() -> None:
    async def scenario() -> None:
        limits = made(RateLimits(requests_per_minute=60))
        limits.settle(await limits.admit(need()), outcome_with(requests=Gauge(remaining=0)))
        assert await next_admitted(limits) == pytest.approx(1.0, rel=0.01)
        limits.settle(await limits.admit(need()), outcome_with(requests=Gauge(remaining=-1e6)))
        since = now()
        assert await next_admitted(limits) == pytest.approx(since + 60)  # one request then finds out

    run(scenario())


@pytest.mark.parametrize(
    ("refunds", "bucket_s", "at_least", "at_most"),
    [(False, 60, 118, 121), (False, 1, 118, 121), (True, 60, 505, 546), (True, 1, 505, 546)],
)
def test_limiter_learns_token_charge_rule_of_provider(
    refunds: bool, bucket_s: float, at_least: int, at_most: int
) -> None:
    """Prompt 100, output about 10 of at most 400, 60,000 tokens a minute: 120 requests of 500 tokens, or 545 of 110."""
    full, refused, draw = 1000.0 * bucket_s, 0, random.Random(2)

    async def scenario() -> int:
        limits = made(RateLimits(tokens_per_minute=60_000, concurrency=32))
        left, at, admitted = full, 0.0, 0  # what the server's own bucket holds

        async def ask() -> None:
            nonlocal left, at, admitted, refused
            permit = await limits.admit(need(100, 400))
            output = draw.randint(5, 15)
            charges = 100 + (output if refunds else 400)
            left, at = min(full, left + (now() - at) * 1000), now()
            refused += left < charges
            admitted += at >= 60
            left -= charges
            hint = RateHint({"tokens": Gauge(limit=60_000, remaining=max(0.0, left))})
            await asyncio.sleep(0.8)
            limits.settle(permit, Outcome(Billing.KNOWN, usage=Usage(100, output), hint=hint, alive=True))

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(ask()) for _ in range(1200)]
            await asyncio.sleep(120)
            for task in tasks:
                task.cancel()
        return admitted

    assert at_least <= run(scenario()) <= at_most
    assert refused == 0


@pytest.mark.parametrize(("counted", "waits_s"), [(1000, 1.0), (10, 0.0)])
def test_limiter_corrects_bucket_by_billed_tokens_at_settlement(counted: int, waits_s: float) -> None:
    async def scenario() -> None:
        limits = made(RateLimits(tokens_per_minute=60_000 / MARGIN, burst_s=0.2))
        permit = await limits.admit(need(200))
        limits.settle(permit, Outcome(Billing.KNOWN, usage=Usage(counted, 0), alive=True))
        # 200 tokens are the whole bucket: a debt of 800, or all but 10 of them back.
        assert await next_admitted(limits, need(40)) == pytest.approx(waits_s, abs=0.001)

    run(scenario())


def test_limiter_adapts_to_server_counting_more_tokens() -> None:
    async def scenario() -> float:
        limits = made(RateLimits(tokens_per_minute=60_000, concurrency=1, burst_s=0.1))
        for _ in range(300):
            permit = await limits.admit(need(100))
            limits.settle(permit, Outcome(Billing.KNOWN, usage=Usage(150, 0), alive=True))
        return now()

    assert run(scenario()) == pytest.approx(300 * 150 / (1000 * MARGIN), rel=0.01)
