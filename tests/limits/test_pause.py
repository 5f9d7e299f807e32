"""Promise: a pause sends nothing of a new row, reserves nothing for it and finishes rows in flight; caps stay exact."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.clock import inline, now, run

from scorer.errors import BudgetSpent, Interrupted, SpecError
from scorer.files.local_files import LocalFiles
from scorer.limits import Billing, Budget, Demand, LocalLimiter, Outcome, RateLimits
from scorer.limits.live_settings import divided
from scorer.output.ledger import Ledger
from scorer.types import RowStart
from scorer.usage import Usage

ANSWERED = Outcome(Billing.KNOWN, usage=Usage(5, 0), alive=True)


class Unwritten(LocalFiles):
    """A disk that writes nothing: the ledger is the one in memory."""

    def append(self, path: str, data: bytes) -> None:
        pass


async def limiter(stack: list[asyncio.Task[None]], *, strict: bool, **caps: Any) -> LocalLimiter:
    ledger = Ledger(Unwritten(), "nowhere", "me", offload=inline, strict=strict)
    stack.append(asyncio.create_task(ledger.serve()))
    limits = LocalLimiter(RateLimits(concurrency=3), Budget(ledger, **caps))
    for _ in range(4):  # past the opening of a capped run
        limits.settle(await limits.admit(Demand(0, 0, 10)), ANSWERED)
    return limits


def demand(*, first: bool = True, row: RowStart | None = None) -> Demand:
    return Demand(0, 0, worst_tokens=10, first=first, row=row)


async def ended(stack: list[asyncio.Task[None]]) -> None:
    for task in stack:
        task.cancel()
    await asyncio.gather(*stack, return_exceptions=True)


@pytest.mark.parametrize("strict", [False, True])
def test_a_pause_holds_new_rows_with_nothing_reserved_and_lets_rows_in_flight_go_on(strict: bool) -> None:
    async def paused() -> None:
        tasks: list[asyncio.Task[None]] = []
        limits = await limiter(tasks, strict=strict, max_tokens=10**6)
        out = [await limits.admit(demand()) for _ in range(3)]
        waiting = [asyncio.create_task(limits.admit(demand())) for _ in range(4)]
        await asyncio.sleep(0.1)
        limits.pause(paused=True)
        for permit in out:
            limits.settle(permit, ANSWERED)
        await asyncio.sleep(60)
        assert not any(task.done() for task in waiting)
        assert (limits.in_flight, limits._caps.ledger.open_tokens) == (0, 0)
        second = await asyncio.wait_for(limits.admit(demand(first=False)), 1)
        limits.settle(second, ANSWERED)
        limits.pause(paused=False)
        for task in waiting:
            limits.settle(await asyncio.wait_for(task, 1), ANSWERED)
        assert limits._caps.ledger.totals.tokens == (4 + 3 + 1 + 4) * 5
        assert limits.waits.shares()["paused"] > 0.5
        await ended(tasks)

    run(paused())


@pytest.mark.parametrize("strict", [False, True])
def test_a_pause_finishes_a_row_of_which_one_request_was_sent(strict: bool) -> None:
    async def paused() -> None:
        tasks: list[asyncio.Task[None]] = []
        limits = await limiter(tasks, strict=strict, max_tokens=10**6)
        others = [await limits.admit(demand()) for _ in range(2)]
        begun, fresh = RowStart(), RowStart()
        sent = await limits.admit(demand(row=begun))
        untouched = [asyncio.create_task(limits.admit(demand(row=fresh))) for _ in range(2)]
        siblings = [asyncio.create_task(limits.admit(demand(row=begun))) for _ in range(2)]
        await asyncio.sleep(0.1)
        limits.pause(paused=True)
        for permit in [*others, sent]:
            limits.settle(permit, ANSWERED)
        for task in siblings:
            limits.settle(await asyncio.wait_for(task, 1), ANSWERED)
        await asyncio.sleep(10)
        assert not any(task.done() for task in untouched)
        limits.drain()  # Ctrl-C while it is paused
        for task in untouched:
            with pytest.raises(Interrupted):
                await task
        assert (limits.in_flight, limits.waiting, limits._caps.ledger.open_tokens) == (0, 0, 0)
        await ended(tasks)

    run(paused())


def test_a_raised_cap_lets_waiting_requests_go_and_is_exact_while_others_are_out() -> None:
    async def raised() -> None:
        tasks: list[asyncio.Task[None]] = []
        limits = await limiter(tasks, strict=True, max_tokens=20 + 20)
        out = [await limits.admit(demand()) for _ in range(2)]
        third = asyncio.create_task(limits.admit(demand()))
        await asyncio.sleep(1)
        assert not third.done()
        limits._caps.raise_to(max_tokens=20 + 30, max_usd=None)
        permit = await asyncio.wait_for(third, 1)
        fourth = asyncio.create_task(limits.admit(demand()))
        await asyncio.sleep(1)
        assert not fourth.done()  # 20 spent and 30 reserved of 50
        limits._caps.raise_to(max_tokens=10, max_usd=9.0)  # a lower one, and one that there is not
        for one in [*out, permit]:
            limits.settle(one, ANSWERED)
        limits.settle(await asyncio.wait_for(fourth, 1), ANSWERED)
        assert limits._caps.max_tokens == 50
        assert limits._caps.max_pico is None
        limits.settle(await limits.admit(demand()), Outcome(Billing.KNOWN, usage=Usage(10, 0), alive=True))
        with pytest.raises(BudgetSpent):
            await limits.admit(demand())
        with pytest.raises(SpecError, match=r"resume it once it has ended: --set limits\.max_tokens=60\.$"):
            limits._caps.raise_to(max_tokens=60, max_usd=None)
        limits._caps.raise_to(max_tokens=50, max_usd=None)  # as it is
        assert limits._caps.max_tokens == 50
        await ended(tasks)

    run(raised())


_STEP = st.sampled_from(["row", "row", "row", "sibling", "settle", "settle", "pause", "resume", "raise", "tick"])


@settings(max_examples=60, deadline=None)
@given(strict=st.booleans(), steps=st.lists(_STEP, max_size=60))
def test_through_any_pauses_and_raises_each_request_is_settled_once_and_no_cap_is_exceeded(
    strict: bool, steps: list[str]
) -> None:
    async def lived() -> None:
        tasks: list[asyncio.Task[None]] = []
        limits = await limiter(tasks, strict=strict, max_tokens=100)
        budget, ledger = limits._caps, limits._caps.ledger
        cap, sent_of_new, answered, spent = 100, 0, 4, False
        waiting: list[tuple[RowStart, asyncio.Task[Any]]] = []
        permits: list[Any] = []
        rows = [RowStart()]
        for step in steps:
            if step == "row":
                rows.append(RowStart())
            if step in ("row", "sibling"):
                waiting.append((rows[-1], asyncio.create_task(limits.admit(demand(row=rows[-1])))))
            elif step == "settle" and permits:
                limits.settle(permits.pop(0), ANSWERED)
                answered += 1
            elif step in ("pause", "resume"):
                limits.pause(paused=step == "pause")
            elif step == "raise":
                try:
                    budget.raise_to(max_tokens=cap + 15, max_usd=None)
                    cap += 15
                except SpecError:
                    assert spent
            before = {id(row) for row in rows if row.sent}
            await asyncio.sleep(0.05)
            for row, task in [pair for pair in waiting if pair[1].done()]:
                waiting.remove((row, task))
                spent = spent or task.exception() is not None
                if task.exception() is None:
                    permits.append(task.result())
                    sent_of_new += limits.paused and id(row) not in before
            assert ledger.totals.tokens + ledger.open_tokens <= cap
            assert limits.in_flight == len(permits) <= 3
            if limits.paused:
                assert ledger.open_tokens == 10 * len(permits) or any(row.sent for row, _ in waiting)
        assert sent_of_new == 0
        limits.pause(paused=False)
        with suppress(SpecError):
            budget.raise_to(max_tokens=10**6, max_usd=None)
        while permits or waiting:
            for permit in permits:
                limits.settle(permit, ANSWERED)
                answered += 1
            permits.clear()
            await asyncio.sleep(0.05)
            for row, task in [pair for pair in waiting if pair[1].done()]:
                waiting.remove((row, task))
                if task.exception() is None:
                    permits.append(task.result())
                else:
                    assert isinstance(task.exception(), BudgetSpent)
        assert (ledger.totals.tokens, ledger.open_tokens, limits.waiting) == (5 * answered, 0, 0)
        await ended(tasks)

    run(lived())


def test_concurrency_is_lowered_as_requests_settle_and_raised_at_once() -> None:
    async def changed() -> None:
        tasks: list[asyncio.Task[None]] = []
        limits = await limiter(tasks, strict=False)
        out = [await limits.admit(demand()) for _ in range(3)]
        waiting = [asyncio.create_task(limits.admit(demand())) for _ in range(6)]
        assert limits.set_concurrency(1)
        assert not limits.set_concurrency(1)
        for permit in out:
            limits.settle(permit, ANSWERED)
        await asyncio.sleep(1)
        assert limits.in_flight == sum(task.done() for task in waiting) == 1
        limits.set_concurrency(6)
        await asyncio.sleep(0.01)
        assert all(task.done() for task in waiting)
        assert now() < 3
        await ended(tasks)

    run(changed())


@given(
    total=st.integers(0, 10**6), weights=st.lists(st.integers(1, 1024), min_size=1, max_size=9), least=st.integers(1, 4)
)
def test_divided_sums_up_and_leaves_nobody_without(total: int, weights: list[int], least: int) -> None:
    parts = divided(total, weights, least)
    assert len(parts) == len(weights)
    assert min(parts) >= least
    assert sum(parts) == max(total, least * len(weights))
