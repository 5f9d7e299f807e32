"""Promise: a bill above a request's worst case raises later reservations, and is forgotten only gradually."""

from __future__ import annotations

import asyncio
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.clock import nothing, now, run

from scorer.files.local_files import LocalFiles
from scorer.limits import Asked, Billing, Budget, Demand, LocalLimiter, Outcome, Permit, RateLimits
from scorer.limits.bills import KEPT, MARGIN, OPENING, QUICK_S, LearnedBilling
from scorer.output.ledger import Ledger
from scorer.usage import (
    Usage,
)


def pico(prompt: int, output: int) -> int:
    return prompt + 10 * output


def need(prompt: int = 100, limit: int = 10, choices: int = 1) -> Demand:
    """At a price of 1 pico-dollar a token of prompt and 10 of reply."""
    asked = Asked(prompt, limit, choices, pico)
    return Demand(prompt // 4, limit * choices, prompt + limit * choices, prompt + 10 * limit * choices, asked=asked)


def billed(bills: LearnedBilling, usage: Usage | None, of: Demand | None = None) -> None:
    bills.answered(of or need(), usage, 1.0)


def test_learned_billing_ignores_bill_within_worst_case() -> None:
    bills = LearnedBilling()
    billed(bills, Usage(33, 10))
    assert bills.learned == (0, 0)
    assert bills.worst(need()) == need()


def test_learned_billing_reserves_hidden_prompt_for_long_texts_too() -> None:
    bills = LearnedBilling()
    billed(bills, Usage(50_020, 3), need(100_000))  # its text had room for it
    assert bills.places == OPENING
    for prompt in (100, 20_000):
        worst = bills.worst(need(prompt))
        assert worst.worst_tokens >= 50_000 + prompt + 10
        assert worst.worst_pico >= 50_000 + prompt + 100


def test_learned_billing_reserves_output_beyond_limit_per_choice() -> None:
    bills = LearnedBilling()
    billed(bills, Usage(20, 3 * 400), need(choices=3))
    assert bills.worst(need(choices=2)).worst_tokens == 100 + 2 * int(MARGIN * 400)
    assert bills.worst(need(limit=5000)).worst_tokens == 5100


def test_learned_billing_forgets_surprise_after_kept_number_of_ordinary_bills() -> None:
    bills = LearnedBilling()
    billed(bills, Usage(1_900_000, 900))
    for left in range(KEPT, 0, -1):
        assert bills.learned == (1_900_000, int(MARGIN * 900)), left
        billed(bills, Usage(20, 3))
    assert bills.learned == (0, 0)


def test_learned_billing_opens_after_first_answers_and_closes_on_surprise() -> None:
    surprises: list[bool] = []
    bills = LearnedBilling(on_surprise=lambda: surprises.append(True))
    for _ in range(OPENING):
        assert bills.places == OPENING
        billed(bills, None)
    assert bills.places == math.inf
    for _ in range(3):  # the first is a surprise, the next two tell nothing new
        billed(bills, Usage(5000, 3))
        assert bills.places == OPENING
    assert surprises == [True]
    for _ in range(OPENING - 2):
        billed(bills, Usage(5000, 3))
    assert bills.places == math.inf


@settings(max_examples=60)
@given(
    added=st.integers(0, 60_000),
    texts=st.lists(st.tuples(st.integers(1, 30_000), st.floats(0, 1)), min_size=1, max_size=30),
    thoughts=st.integers(0, 5000),
)
def test_learned_billing_covers_constant_overcharge_from_first_bill_on(
    added: int, texts: list[tuple[int, float]], thoughts: int
) -> None:
    """The same hidden prompt and so many thoughts beside the limit: from the first bill on, no worst case is passed."""
    bills = LearnedBilling()
    for number, (size, share) in enumerate(texts):
        worst = bills.worst(need(size))
        usage = Usage(added + math.ceil(size * share), thoughts + 10)
        if number:
            assert usage.prompt_tokens + usage.completion_tokens <= worst.worst_tokens
            assert usage.prompt_tokens + 10 * usage.completion_tokens <= worst.worst_pico
        bills.answered(need(size), usage, 1.0)
        if not number and 3 * usage.prompt_tokens <= size:  # a text with so much room shows nothing
            bills.answered(need(0), Usage(added, thoughts + 10), 1.0)


def test_learned_billing_applies_values_of_other_workers_without_reporting_them() -> None:
    bills = LearnedBilling()
    bills.learn_from_others(700, 90)
    assert bills.worst(need()).worst_tokens == 100 + 700 + 90
    assert bills.learned == (0, 0)
    bills.learn_from_others(0, 0)
    assert bills.worst(need()) == need()


def test_learned_billing_quick_s_is_default_until_replies_are_timed() -> None:
    bills = LearnedBilling()
    assert bills.quick_s == QUICK_S
    for latency in range(20, 0, -1):
        bills.answered(need(), Usage(20, 3), float(latency))
    assert bills.quick_s == 2.0


# --- in the line ------------------------------------------------------------------------------------------------------


def made(max_tokens: int | None = None) -> LocalLimiter:
    ledger = Ledger(LocalFiles(), "never-written", "me", offload=nothing, strict=False)
    return LocalLimiter(RateLimits(), Budget(ledger, max_tokens=max_tokens))


def answer(limits: LocalLimiter, permit: Permit, usage: Usage) -> None:
    limits.settle(permit, Outcome(Billing.KNOWN, usage=usage, cost_pico=0, alive=True))


def test_queue_reserves_waiting_requests_at_bill_learned_meanwhile() -> None:
    async def scenario() -> None:
        limits = made(max_tokens=10_000)
        permits = [await limits.admit(need()) for _ in range(OPENING)]
        waiting = asyncio.create_task(limits.admit(need()))
        await asyncio.sleep(1.0)
        assert not waiting.done()
        answer(limits, permits[0], Usage(3000, 3))
        assert (await waiting).demand.worst_tokens == 3110
        assert now() == 1.0
        assert limits.waits.shares() == {"opening": 1.0}

    run(scenario())


def test_limiter_without_cap_admits_without_waiting_for_bills() -> None:
    async def scenario() -> None:
        limits = made()
        assert len([await limits.admit(need()) for _ in range(64)]) == 64

    run(scenario())


@pytest.mark.parametrize("alive", [True, False, None])
def test_learned_billing_stays_closed_after_unbilled_requests(alive: bool | None) -> None:
    async def scenario() -> None:
        limits = made(max_tokens=10**6)
        for _ in range(2 * OPENING):
            limits.settle(await limits.admit(need()), Outcome(Billing.NOTHING, alive=alive))
            if alive is False:
                limits.breaker.answered(success=True)
        assert limits.bills.places == OPENING

    run(scenario())
