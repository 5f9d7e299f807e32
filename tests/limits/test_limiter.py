"""Promise: first come, first served; no limit is exceeded; a cancelled request leaves nothing reserved.

Over 300 lines: one test for each limit, each way out, and each thing that a server may tell.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Awaitable, Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.clock import nothing, now, run

from scorer.errors import BudgetSpent, Interrupted, TooLong
from scorer.files.local_files import LocalFiles
from scorer.limits import Billing, Budget, Demand, LocalLimiter, Outcome, Permit, RateLimits
from scorer.limits.rate_limits import MARGIN
from scorer.output.ledger import Ledger
from scorer.types import (
    Gauge,
    RateHint,
)
from scorer.usage import (
    Usage,
)

DONE = Outcome(Billing.NOTHING, alive=True)
ANSWERED = Outcome(Billing.KNOWN, usage=Usage(0, 0), alive=True)
FAILED = Outcome(Billing.NOTHING, alive=False)


def made(rates: RateLimits = RateLimits(), **caps: Any) -> LocalLimiter:  # noqa: B008 - it is frozen
    return LocalLimiter(
        rates, Budget(Ledger(LocalFiles(), "never-written", "me", offload=nothing, strict=False), **caps)
    )


def need(tokens: int = 0, output: int = 0, *, worst: int | None = None, first: bool = False) -> Demand:
    return Demand(tokens, output, worst_tokens=tokens + output if worst is None else worst, first=first)


def throttled(retry_after_s: float | None = None) -> Outcome:
    return Outcome(Billing.NOTHING, throttled=True, retry_after_s=retry_after_s)


def outcome_with(**gauges: Gauge) -> Outcome:
    return Outcome(Billing.NOTHING, hint=RateHint(gauges), alive=True)


def idle(limits: LocalLimiter) -> bool:
    """Nothing is reserved, in flight or waiting any more."""
    ledger = limits._caps.ledger
    return (limits.in_flight, limits.waiting, ledger.open_tokens, ledger.open_pico) == (0, 0, 0, 0)


async def next_admitted(limits: LocalLimiter, wanted: Demand | None = None, outcome: Outcome = DONE) -> float:
    """When the next request goes; it is settled at once."""
    limits.settle(await limits.admit(wanted or need()), outcome)
    return now()


# --- the line ---------------------------------------------------------------------------------------------------------

_RATES = st.builds(
    RateLimits,
    requests_per_minute=st.none() | st.sampled_from([30.0, 600.0, 6000.0]),
    tokens_per_minute=st.none() | st.sampled_from([3000.0, 60_000.0]),
    input_tokens_per_minute=st.none() | st.just(20_000.0),
    output_tokens_per_minute=st.none() | st.just(10_000.0),
    burst_s=st.sampled_from([0.05, 0.3, 2.0]),
    concurrency=st.integers(1, 8),
)
_ASKED = st.tuples(
    st.sampled_from([0.0, 0.0, 0.01, 1.0]),  # comes so long after the one before
    st.integers(0, 400),  # prompt tokens
    st.integers(1, 100),  # output tokens
    st.sampled_from([0.0, 0.2, 3.0]),  # is answered so long after it was sent
    st.sampled_from([None, None, None, 0.0, 0.1, 2.0]),  # gives up so long after it came
)


@settings(max_examples=45)
@given(rates=_RATES, asked=st.lists(_ASKED, min_size=1, max_size=30))
def test_limiter_keeps_limits_and_order_for_any_mix_of_requests(
    rates: RateLimits, asked: list[tuple[float, int, int, float, float | None]]
) -> None:
    sent: list[tuple[float, int, int, int]] = []  # when, whose turn, prompt, output

    async def scenario() -> None:
        limits, turn = made(rates), 0

        async def ask(place: int, prompt: int, output: int, answer_s: float) -> None:
            permit = await limits.admit(need(prompt, output))
            sent.append((now(), place, prompt, output))
            try:
                assert limits.in_flight <= limits.concurrency
                await asyncio.sleep(answer_s)
                limits.settle(permit, Outcome(Billing.KNOWN, usage=Usage(prompt, 1), alive=True))
            except asyncio.CancelledError:
                limits.settle(permit, Outcome(Billing.UNKNOWN))
                raise

        async with asyncio.TaskGroup() as group:
            for gap, prompt, output, answer_s, patience_s in asked:
                await asyncio.sleep(gap)
                task = group.create_task(ask(turn, prompt, output, answer_s))
                turn += 1
                if patience_s is not None:
                    asyncio.get_running_loop().call_later(patience_s, task.cancel)
        assert idle(limits)

    run(scenario())
    assert [place for _, place, _, _ in sent] == sorted(place for _, place, _, _ in sent)
    times = [at for at, _, _, _ in sent]
    if rates.requests_per_minute is not None:
        gate = rates.requests_per_minute / 60
        _holds(times, [1.0] * len(sent), gate, math.ceil(gate * 0.25))
    for per_minute, amounts in (
        (rates.tokens_per_minute, [prompt + output for _, _, prompt, output in sent]),
        (rates.input_tokens_per_minute, [prompt for _, _, prompt, _ in sent]),
        (rates.output_tokens_per_minute, [output for _, _, _, output in sent]),
    ):
        if per_minute is not None:
            _holds(times, amounts, per_minute / 60, max(per_minute / 60 * rates.burst_s, *amounts, 0.0))


def _holds(times: Sequence[float], amounts: Sequence[float], rate: float, burst: float) -> None:
    """No window, however long, holds more than its time is worth and one burst (or one request larger than it)."""
    for first in range(len(times)):
        total = 0.0
        for at, amount in zip(times[first:], amounts[first:], strict=True):
            total += amount
            assert total <= rate * (at - times[first]) + burst + 1e-3


def test_limiter_refuses_request_larger_than_one_minute_at_once() -> None:
    async def scenario() -> None:
        limits = made(RateLimits(tokens_per_minute=1000))
        with pytest.raises(TooLong, match=r"takes about 1001 tokens; limits\.tokens_per_minute = 1000 could never"):
            await limits.admit(need(1000, 1))
        assert idle(limits)
        assert await next_admitted(limits, need(1000)) == 0.0

    run(scenario())


def test_limiter_permit_settles_only_once() -> None:
    async def scenario() -> None:
        limits = made()
        permit = await limits.admit(need())
        limits.settle(permit, DONE)
        with pytest.raises(AssertionError, match="settled twice"):
            limits.settle(permit, DONE)
        assert idle(limits)

    run(scenario())


def test_limiter_cancelled_during_intent_write_reserves_nothing(tmp_path: Path) -> None:
    async def slow(fn: Callable[..., Awaitable[Any]], *args: Any) -> Any:
        await asyncio.sleep(1.0)
        return fn(*args)

    async def scenario() -> None:
        ledger = Ledger(LocalFiles(), str(tmp_path), "me", offload=slow, strict=True)
        limits = LocalLimiter(RateLimits(concurrency=1), Budget(ledger, max_tokens=100))
        waiter = asyncio.create_task(limits.admit(need(100)))
        await asyncio.sleep(0.5)
        assert (limits.waiting, ledger.open_tokens) == (1, 100)
        waiter.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiter
        assert idle(limits)
        assert ledger.totals.tokens == 0
        limits.settle(await limits.admit(need(100)), DONE)

    run(scenario())


# --- a budget ---------------------------------------------------------------------------------------------------------


def test_limiter_waits_for_budget_and_refuses_only_with_none_in_flight() -> None:
    async def scenario() -> None:
        limits = made(max_tokens=100)
        first = await limits.admit(need(worst=60))
        second = asyncio.create_task(limits.admit(need(worst=60)))
        third = asyncio.create_task(limits.admit(need(worst=60)))
        await asyncio.sleep(5)
        assert not second.done()
        limits.settle(first, Outcome(Billing.KNOWN, usage=Usage(10, 0), alive=True))
        limits.settle(await second, Outcome(Billing.UNKNOWN, alive=None))
        with pytest.raises(BudgetSpent, match=r"70 tokens are spent or may be"):
            await third
        assert idle(limits)

    run(scenario())


# --- the server slows us down -----------------------------------------------------------------------------------------


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


# --- what a provider charges ------------------------------------------------------------------------------------------


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


# --- an outage, and the end -------------------------------------------------------------------------------------------


def test_limiter_sends_one_probe_at_a_time_during_outage() -> None:
    sent: list[float] = []

    async def scenario() -> None:
        limits = made(RateLimits(concurrency=32))

        async def ask() -> None:
            while True:
                permit = await limits.admit(need())
                sent.append(now())
                await asyncio.sleep(0.1)
                if now() > 60:
                    limits.settle(permit, DONE)
                    return
                limits.settle(permit, FAILED)

        async with asyncio.TaskGroup() as group:
            for _ in range(100):
                group.create_task(ask())

    run(scenario())
    during = [at for at in sent if 0.5 < at <= 59.9]
    assert during == sorted(set(during))
    assert 3 <= len(during) <= 12
    assert sum(at > 59.9 for at in sent) == 100
    assert max(sent) < 95


def test_limiter_drain_refuses_new_rows_and_finishes_started_ones() -> None:
    async def scenario() -> None:
        limits = made(RateLimits(concurrency=1))
        permit = await limits.admit(need(first=True))
        new, later = (asyncio.create_task(limits.admit(need(first=first))) for first in (True, False))
        await asyncio.sleep(1)
        limits.drain()
        with pytest.raises(Interrupted):
            await new
        limits.settle(permit, DONE)
        limits.settle(await later, DONE)
        assert now() == 1.0
        with pytest.raises(Interrupted):
            await limits.admit(need(first=True))
        assert idle(limits)

    run(scenario())


@pytest.mark.parametrize(
    ("rates", "name"),
    [
        (RateLimits(requests_per_minute=60), "requests_per_minute"),
        (RateLimits(tokens_per_minute=600), "tokens_per_minute"),
        (RateLimits(input_tokens_per_minute=600), "input_tokens_per_minute"),
        (RateLimits(output_tokens_per_minute=600), "output_tokens_per_minute"),
        (RateLimits(concurrency=1), "concurrency"),
    ],
)
def test_limiter_wait_shares_name_binding_limit(rates: RateLimits, name: str) -> None:
    async def scenario() -> dict[str, float]:
        limits = made(rates)

        async def ask() -> None:
            permit: Permit = await limits.admit(need(10, 10))
            await asyncio.sleep(1)
            limits.settle(permit, Outcome(Billing.UNKNOWN, alive=True))

        async with asyncio.TaskGroup() as group:
            for _ in range(30):
                group.create_task(ask())
        return limits.waits.shares()

    shares = run(scenario())
    assert max(shares, key=lambda other: shares[other]) == name
    assert 0.8 < sum(shares.values()) <= 1.0
