"""Promise: first come, first served; no limit is exceeded; a cancelled request leaves nothing reserved."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.clock import now, run
from support.limiters import DONE, FAILED, idle, made, need, next_admitted

from scorer.errors import BudgetSpent, Interrupted, TooLong
from scorer.files.local_files import LocalFiles
from scorer.limits import Billing, Budget, LocalLimiter, Outcome, Permit, RateLimits
from scorer.output.ledger import Ledger
from scorer.usage import Usage

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
