"""Promise: no window of any length ever admits more than the limit allows, and the whole limit can be used."""

from __future__ import annotations

import asyncio
import random
from itertools import accumulate, pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.clock import now, run

from scorer.limits.rate_limits import MARGIN, RequestGate, TokenBucket
from scorer.limits.running_quantile import RunningQuantile
from scorer.limits.token_charges import ChargeObservation, TokenChargeModel, TokenEstimateCorrection

_GAPS = st.lists(st.sampled_from([0.0, 0.0, 0.0, 0.001, 0.1, 0.25, 1.0, 59.0]), min_size=1, max_size=80)
_SHARES = st.sampled_from([0.0, 0.001, 0.004, 0.01]) | st.floats(0.0, 1.0)
_PER_MINUTE = st.one_of(st.sampled_from([0.5, 1.0, 59.0, 60.0, 600.0, 10_000.0]), st.floats(0.1, 100_000.0))


def gate_times(per_minute: float, gaps: list[float]) -> tuple[RequestGate, list[float]]:
    """When the gate lets requests through that come `gaps` after one another."""

    async def scenario() -> tuple[RequestGate, list[float]]:
        gate, times = RequestGate(per_minute), []
        for gap in gaps:
            await asyncio.sleep(gap)
            await gate.acquire()
            times.append(now())
        return gate, times

    return run(scenario())


def bucket_times(per_minute: float, burst_s: float, takes: list[tuple[float, float]]) -> list[float]:
    """When the bucket gives `amount`, for each (gap, amount)."""

    async def scenario() -> list[float]:
        bucket, times = TokenBucket(per_minute, burst_s, asyncio.get_running_loop().time), []
        for gap, amount in takes:
            await asyncio.sleep(gap)
            while (wait := bucket.wait_s(amount)) > 0:  # noqa: ASYNC110 - no event tells of time
                await asyncio.sleep(wait)
            bucket.take(amount)
            times.append(now())
        return times

    return run(scenario())


def most_above(times: list[float], amounts: list[float], rate: float) -> float:
    """The most by which any window's sum exceeds `rate` x its length."""
    sums = [0.0, *accumulate(amounts)]
    # Over all i <= j: (sums[j + 1] - rate * times[j]) - (sums[i] - rate * times[i]).
    lowest, most = float("inf"), 0.0
    for j, time in enumerate(times):
        lowest = min(lowest, sums[j] - rate * time)
        most = max(most, sums[j + 1] - rate * time - lowest)
    return most


# --- requests a minute ------------------------------------------------------------------------------------------------


@settings(max_examples=30)
@given(per_minute=_PER_MINUTE, gaps=_GAPS)
def test_request_gate_admits_at_most_n_requests_in_any_n_intervals(per_minute: float, gaps: list[float]) -> None:
    gate, times = gate_times(per_minute, gaps)
    n = gate.rate_limit
    assert n == 1 or 0.24 < n * 60 / per_minute < 0.5
    for earlier, later in zip(times, times[n:], strict=False):
        assert later - earlier >= n * 60 / per_minute
    assert most_above(times, [1.0] * len(times), per_minute / 60) <= n + 1e-6


@settings(max_examples=20)
@given(per_minute=st.integers(1, 1500))
@example(per_minute=1)
@example(per_minute=241)
def test_request_gate_never_exceeds_limit_in_sliding_minute(per_minute: int) -> None:
    _, times = gate_times(per_minute, [0.0] * int(1.5 * per_minute + 2))
    for first, beyond in zip(times, times[per_minute:], strict=False):
        assert beyond - first >= 60


@pytest.mark.parametrize("per_minute", [60.0, 600.0, 10_000.0])
def test_request_gate_uses_limit_up_to_half_percent(per_minute: float) -> None:
    _, times = gate_times(per_minute, [0.0] * 500)
    assert len(times) / (times[-1] - times[0]) * 60 >= per_minute * MARGIN


def test_request_gate_counts_admitted_requests_after_limit_change() -> None:
    async def scenario() -> None:
        gate = RequestGate(6000)
        while gate.wait_s() == 0:
            await gate.acquire()
        gate.lower_to(60, 0.0)
        assert gate.wait_s() == pytest.approx(1 / MARGIN)
        await gate.acquire()
        assert now() == pytest.approx(1 / MARGIN)
        gate.lower_to(6000, 1.0)
        assert gate.wait_s() == 0

    run(scenario())


# --- tokens a minute --------------------------------------------------------------------------------------------------


@settings(max_examples=50)
@given(
    per_minute=_PER_MINUTE,
    burst_s=st.floats(0.01, 2.0),
    takes=st.lists(st.tuples(st.sampled_from([0.0, 0.0, 0.01, 0.3, 30.0]), _SHARES), max_size=60),
)
@example(per_minute=60.0, burst_s=0.3, takes=[(0.0, 1.0)] * 3)
@example(per_minute=60.0, burst_s=0.3, takes=[(59.0, 0.001)] * 2 + [(0.0, 0.001)] * 50)
def test_token_bucket_gives_at_most_rate_and_one_burst_in_any_window(
    per_minute: float, burst_s: float, takes: list[tuple[float, float]]
) -> None:
    amounts = [share * per_minute for _, share in takes]
    times = bucket_times(per_minute, burst_s, [(gap, share * per_minute) for gap, share in takes])
    rate = per_minute * MARGIN / 60
    # What is larger than the bucket waits for a full one, so beyond the rate it is the largest alone.
    burst = max(rate * burst_s, *amounts, 0.0)
    assert most_above(times, amounts, rate) <= burst * (1 + 1e-6) + 1e-3


@settings(max_examples=30)
@given(per_minute=st.floats(1000.0, 1e6), sizes=st.lists(st.floats(0.0, 0.004), min_size=10, max_size=200))
def test_token_bucket_never_exceeds_sliding_minute_for_fitting_requests(per_minute: float, sizes: list[float]) -> None:
    amounts = [size * per_minute for size in sizes]
    times = bucket_times(per_minute, 0.3, [(0.0, amount) for amount in amounts])
    for index, start in enumerate(times):
        inside = [a for t, a in zip(times[index:], amounts[index:], strict=True) if t < start + 60]
        assert sum(inside) <= per_minute * (1 + 1e-6)


def test_token_bucket_admits_oversized_request_when_full_and_keeps_debt() -> None:
    rate = 6000 * MARGIN / 60
    times = bucket_times(6000, 0.3, [(0.0, 5000.0), (0.0, 1.0)])
    assert times[0] == 0.0
    # The debt is paid, and the bucket is full for the first token above it.
    assert times[1] == pytest.approx((5000 - 0.3 * rate + 1) / rate)


def test_token_bucket_is_asked_once_a_millisecond_at_most_and_the_rate_is_used_up() -> None:
    """2,500 requests a second, each of which would wait .4 ms: a timer of uvloop of so little comes at once."""
    rate = 30e6 * MARGIN / 60
    times = bucket_times(30e6, 0.3, [(0.0, 200.0)] * 10_000)
    waits = {round(after - before, 9) for before, after in pairwise(times)} - {0.0}
    assert min(waits) >= 0.001
    assert times[-1] == pytest.approx((10_000 * 200 - 0.3 * rate) / rate, abs=0.001)


def test_token_bucket_returns_tokens_at_once_without_overflow() -> None:
    async def scenario() -> None:
        bucket = TokenBucket(6000, 1.0, asyncio.get_running_loop().time)
        full = 6000 * MARGIN / 60
        bucket.take(full)
        assert bucket.wait_s(full / 2) > 0
        bucket.give(full / 2)
        assert bucket.wait_s(full / 2) == 0
        bucket.give(10 * full)
        bucket.take(full)
        assert bucket.wait_s(1) > 0
        bucket.give(-full)  # it took more than was reserved
        assert bucket.wait_s(1) == pytest.approx((full + 1) / full)

    run(scenario())


def test_token_bucket_correct_never_exceeds_remaining_of_server() -> None:
    async def scenario() -> None:
        bucket = TokenBucket(60_000, 1.0, asyncio.get_running_loop().time)
        rate = 60_000 * MARGIN / 60
        bucket.correct(remaining=100.0, elapsed_s=0.2, since=50.0)
        assert bucket.wait_s(100 + 0.2 * rate - 50) == 0
        assert bucket.wait_s(100 + 0.2 * rate - 49) > 0
        bucket.correct(remaining=1e9, elapsed_s=0.0, since=0.0)  # optimism is not believed
        assert bucket.wait_s(100 + 0.2 * rate - 49) > 0
        bucket.correct(remaining=0.0, elapsed_s=0.0, since=1e12)  # nor is despair beyond ten seconds' worth
        assert bucket.wait_s(0.0) == pytest.approx(10.0)

    run(scenario())


# --- what is learned --------------------------------------------------------------------------------------------------


def test_running_quantile_is_none_below_16_values_then_follows_last_512() -> None:
    quantile = RunningQuantile(0.9)
    for value in range(15):
        quantile.add(value)
        assert quantile.value is None
    quantile.add(15)
    assert quantile.value == 14
    for _ in range(512):
        quantile.add(1000)
    assert quantile.value == 1000


@settings(max_examples=30)
@given(factor=st.floats(0.2, 5.0), before=st.floats(0.2, 5.0))
def test_token_estimate_correction_follows_change_of_ratio(factor: float, before: float) -> None:
    ratio = TokenEstimateCorrection()
    assert ratio.value == 1.0
    for _ in range(500):
        ratio.add(100 * before, 100)
    assert ratio.value == pytest.approx(before)
    for _ in range(2500):
        ratio.add(100 * factor, 100)
    assert ratio.value == pytest.approx(factor, rel=0.01)
    ratio.add(0, 100)
    ratio.add(100, 0)
    assert ratio.value == pytest.approx(factor, rel=0.01)


def observations(charged: str, *, foreign: int = 0, out_of_order: bool = False) -> list[ChargeObservation]:
    """What 240 replies tell: bursts of three against a bucket of 10,000 that refills at 1,000 a second.

    Each `foreign`-th request is followed by somebody else's of 300 tokens.
    """
    remaining, mark, at, seen = 10_000.0, 0.0, 0.0, []
    for index in range(240):
        gap = 0.0 if index % 3 else 0.9
        at += gap
        remaining = min(10_000.0, remaining + 1000 * gap)
        mark += 400.0
        remaining -= {"reserve": 400.0, "usage": 210.0}[charged]
        seen.append(ChargeObservation(mark, 400.0, remaining, reserve=400.0, usage=210.0, sent_at=at))
        if foreign and index % foreign == 0:
            remaining -= 300
    if out_of_order:
        for start in range(0, 240, 4):
            seen[start : start + 4] = reversed(seen[start : start + 4])
    return seen


@pytest.mark.parametrize("charged", ["reserve", "usage"])
@pytest.mark.parametrize("foreign", [0, 5])
@pytest.mark.parametrize("out_of_order", [False, True])
def test_token_charge_model_learns_both_charge_rules(charged: str, foreign: int, *, out_of_order: bool) -> None:
    rule = TokenChargeModel()
    assert not rule.refunds
    for seen in observations(charged, foreign=foreign, out_of_order=out_of_order):
        rule.watch(seen, 1000.0)
    assert rule.refunds == (charged == "usage")


def test_token_charge_model_follows_change_of_rule() -> None:
    rule = TokenChargeModel()
    for seen in observations("usage") * 2:
        rule.watch(seen, 1000.0)
    assert rule.refunds
    for seen in observations("reserve") * 6:
        rule.watch(seen, 1000.0)
    assert not rule.refunds


@pytest.mark.parametrize(("by_usage", "refunds"), [(8, False), (11, False), (24, True)])
def test_token_charge_model_needs_more_evidence_for_faster_rule(by_usage: int, *, refunds: bool) -> None:
    """Seed 115000: six votes of chance, from a limit that had doubled, and the run asked for twice the declared."""
    rule = TokenChargeModel()
    for at in range(48):
        charged = 210.0 if at < by_usage else 310.0  # which is near to neither
        rule.watch(
            ChargeObservation(
                400.0 * at, 400, 60_000 - charged, reserve=400, usage=210, sent_at=at * 1e3, limit=60_000
            ),
            0,
        )
    assert rule.refunds is refunds


def test_token_charge_model_learns_from_limit_of_always_full_bucket() -> None:
    for charged, refunds in ((400.0, False), (210.0, True)):
        rule = TokenChargeModel()
        for index in range(24):
            at = float(index)
            rule.watch(
                ChargeObservation(400 * at, 400, 60_000 - charged, reserve=400, usage=210, sent_at=at, limit=60_000),
                1000,
            )
        assert rule.refunds is refunds


@pytest.mark.parametrize("charged", ["reserve", "usage"])
@pytest.mark.parametrize("prompts", [(100,), (80, 100, 130)])
def test_token_charge_model_learns_from_differences_at_one_second_bucket(
    charged: str, prompts: tuple[int, ...]
) -> None:
    """Half a second apart, 1,000 tokens a second, at most 400 of output: the bucket is full again each time."""
    rule, draw, mark = TokenChargeModel(), random.Random(3), 0.0
    for index in range(96):
        prompt, output = draw.choice(prompts), draw.randint(4, 14)
        taken = prompt + (400 if charged == "reserve" else output)
        mark += prompt + 400
        remaining = float(int(1000 - taken + draw.random() * 0.9))
        seen = ChargeObservation(
            mark, prompt + 400, remaining, prompt + 400, prompt + output, sent_at=index / 1.9, limit=60_000
        )
        rule.watch(seen, 1000.0)
    assert rule.refunds == (charged == "usage")


def test_token_charge_model_ignores_brimful_bucket_and_replies_without_gap() -> None:
    rule = TokenChargeModel()
    for index in range(240):
        rule.watch(
            ChargeObservation(400.0 * index, 400.0, 9790.0, reserve=400.0, usage=210.0, sent_at=float(index)), 1000.0
        )
        rule.watch(
            ChargeObservation(400.0 * index, 400.0, 5000.0, reserve=210.0, usage=210.0, sent_at=float(index)), 1000.0
        )
    assert not rule.refunds
