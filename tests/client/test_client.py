"""Promise: every attempt is settled exactly once, whatever becomes of it, and at what it may have cost."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.clock import now, run
from support.scripted_client import (
    GATEWAY,
    PRICE,
    SILENCE,
    USAGE,
    Act,
    Strict,
    Wire,
    asks,
    client,
    needed,
)

from scorer.errors import (
    BudgetSpent,
    Interrupted,
    Refused,
    RowError,
    ServerFault,
    SetupError,
    Unreachable,
)
from scorer.limits import Billing, RateLimits
from scorer.output.ledger_totals import Totals
from scorer.usage import (
    Spent,
    Usage,
)


def test_client_settles_answer_at_its_usage_and_reports_spent() -> None:
    async def scenario() -> None:
        limits, wire = Strict(), Wire([200], seconds=2.5)
        completion = await client(wire, limits).complete(asks())
        assert completion.text == "4"
        cost = PRICE.cost_pico(USAGE)
        assert completion.spent == Spent(attempts=1, waited_s=0.0, answered_s=2.5, usage=USAGE, cost_pico=cost)
        assert [(o.bill, o.usage, o.alive) for o in limits.settled] == [(Billing.KNOWN, USAGE, True)]
        assert limits.totals == Totals(1, 10, 3, 2, cost)

    run(scenario())


def test_client_counts_completion_of_two_calls_as_one_attempt() -> None:
    async def scenario() -> None:
        limits, wire = Strict(), Wire([200])
        completion = await client(wire, limits).complete(asks("two turns"))
        assert (completion.spent.attempts, completion.spent.answered_s, len(wire.calls)) == (1, 2.0, 2)
        assert limits.given == 1

    run(scenario())


def test_client_counts_answer_without_usage_as_possibly_billed() -> None:
    async def scenario() -> None:
        limits = Strict()
        completion = await client(Wire([200]), limits, usage=None).complete(asks())
        assert completion.spent.usage is None
        assert completion.spent.cost_pico in (None, 0)
        assert [(o.bill, o.alive) for o in limits.settled] == [(Billing.UNKNOWN, True)]
        assert limits.totals.maybe_requests == 1

    run(scenario())


def test_client_reports_null_cost_for_unknown_price() -> None:
    async def scenario() -> None:
        completion = await client(Wire([200]), Strict(), tariff=None).complete(asks())
        assert completion.spent.usage == USAGE
        assert completion.spent.cost_pico is None

    run(scenario())


@pytest.mark.parametrize(("status", "bill"), [(400, Billing.KNOWN), (422, Billing.NOTHING)])
def test_client_sends_row_error_once_and_reports_spent(status: int, bill: Billing) -> None:
    async def scenario() -> None:
        limits = Strict()
        with pytest.raises(Refused) as caught:
            await client(Wire([status]), limits).complete(asks())
        assert caught.value.spent is not None
        assert caught.value.spent.attempts == 1
        assert caught.value.spent.usage == (USAGE if bill is Billing.KNOWN else None)
        assert [(o.bill, o.alive) for o in limits.settled] == [(bill, True)]
        assert limits.totals.requests == (bill is Billing.KNOWN)

    run(scenario())


@pytest.mark.parametrize(
    ("act", "error", "bill"),
    [
        (401, SetupError, Billing.NOTHING),
        (SetupError("the proxy refuses"), SetupError, Billing.NOTHING),
        (418, ZeroDivisionError, Billing.UNKNOWN),
        (KeyError("a bug"), KeyError, Billing.UNKNOWN),
    ],
)
def test_client_ends_at_once_with_setup_error_free_and_bug_possibly_billed(
    act: Act, error: type[Exception], bill: Billing
) -> None:
    async def scenario() -> None:
        limits, wire = Strict(), Wire([act])
        with pytest.raises(error):
            await client(wire, limits).complete(asks())
        assert len(wire.calls) == 1
        assert [o.bill for o in limits.settled] == [bill]
        assert limits.totals.maybe_requests == (bill is Billing.UNKNOWN)

    run(scenario())


def test_client_bills_nothing_in_flight_at_refused_key() -> None:
    """The first 401 ends the run; what is in flight then is waited for, and turns out to be free too."""

    async def scenario() -> None:
        limits, wire = Strict(RateLimits(concurrency=4)), Wire([401])
        wire.quick.add(b"first")
        judge = client(wire, limits)

        async def score() -> None:
            async with asyncio.TaskGroup() as group:
                for text in ("first", "b", "c", "d", "not sent", "nor this one"):
                    group.create_task(judge.complete(asks(text)))

        with pytest.raises(ExceptionGroup):
            await score()
        assert len(wire.calls) == 4
        assert [o.bill for o in limits.settled] == [Billing.NOTHING] * 4
        assert now() == pytest.approx(1.0)

    run(scenario())


def test_client_settles_cancelled_request_as_possibly_billed() -> None:
    async def scenario() -> None:
        limits, wire = Strict(), Wire([200])
        task = asyncio.create_task(client(wire, limits).complete(asks()))
        await asyncio.sleep(0.5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert [(o.bill, o.alive) for o in limits.settled] == [(Billing.UNKNOWN, None)]
        assert limits.totals.maybe_requests == 1
        assert wire.open == 0

    run(scenario())


@pytest.mark.parametrize(("error", "stop"), [(BudgetSpent, "budget"), (Interrupted, "drain")])
def test_client_sends_nothing_when_run_is_stopped(error: type[Exception], stop: str) -> None:
    async def scenario() -> None:
        wire, limits = Wire([200]), Strict(max_tokens=1 if stop == "budget" else None)
        if stop == "drain":
            limits.drain()
        with pytest.raises(error):
            await client(wire, limits).complete(asks())
        assert wire.calls == []
        assert limits.totals == Totals()

    run(scenario())


_ACT = st.sampled_from(
    [200, 200, 400, 422, 429, 500, 502, Unreachable("cut", billed=True), Unreachable("refused", billed=False)]
)


@settings(max_examples=40)
@given(script=st.lists(_ACT, min_size=1, max_size=12), others=st.integers(0, 3), cancel_at=st.none() | st.floats(0, 40))
def test_client_settles_every_permit_exactly_once_under_any_failures(
    script: list[Act], others: int, cancel_at: float | None
) -> None:
    async def scenario() -> None:
        limits, wire = Strict(RateLimits(concurrency=2)), Wire([*script, 200])
        judge, messages = client(wire, limits), []

        async def ask() -> None:
            try:
                await judge.complete(asks())
            except RowError as error:
                messages.append(error.spent)

        tasks = [asyncio.create_task(ask()) for _ in range(1 + others)]
        if cancel_at is not None:
            await asyncio.sleep(cancel_at)
            tasks[0].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert None not in messages
        totals = limits.totals
        billed = sum(o.bill is Billing.KNOWN for o in limits.settled)
        unknown = sum(o.bill is Billing.UNKNOWN for o in limits.settled)
        assert (totals.requests, totals.maybe_requests) == (billed, unknown)
        assert limits.given == len(wire.calls)

    run(scenario())


@pytest.mark.parametrize("failure", [GATEWAY, SILENCE])
@pytest.mark.parametrize(
    ("replies_s", "failed_s", "bill"),
    [
        ([], 0.9, Billing.NOTHING),  # nobody knows how long work takes: a second
        ([], 1.1, Billing.UNKNOWN),
        ([0.2] * 3, 0.1, Billing.NOTHING),
        ([0.2] * 3, 0.3, Billing.UNKNOWN),
        ([float(n) for n in range(1, 21)], 1.9, Billing.NOTHING),  # the quickest tenth is 2 s
        ([float(n) for n in range(1, 21)], 2.1, Billing.UNKNOWN),
    ],
)
def test_client_does_not_bill_failures_faster_than_replies(
    replies_s: list[float], failed_s: float, bill: Billing, failure: Exception
) -> None:
    async def scenario() -> None:
        limits, wire = Strict(), Wire(lambda *_: 200)
        judge = client(wire, limits)
        for wire.seconds in replies_s:
            await judge.complete(asks())
        wire.seconds, wire._script = failed_s, [*[200] * len(replies_s), failure, 200]
        await judge.complete(asks())
        assert [o.bill for o in limits.settled[len(replies_s) :]] == [bill, Billing.KNOWN]

    run(scenario())


def test_client_counts_cut_reply_as_possibly_billed_however_soon() -> None:
    async def scenario() -> None:
        limits = Strict()
        await client(Wire([Unreachable("cut", billed=True), 200], seconds=0.01), limits).complete(asks())
        assert [o.bill for o in limits.settled] == [Billing.UNKNOWN, Billing.KNOWN]

    run(scenario())


@pytest.mark.parametrize(
    ("failure", "seconds"),
    [(GATEWAY, 0.005), (SILENCE, 0.005), (Unreachable("refused"), 0.005), (SILENCE, 0.0)],
)
def test_client_bills_nothing_for_hour_of_quick_failures(failure: Exception, seconds: float) -> None:
    async def scenario() -> None:
        limits, wire = Strict(RateLimits(concurrency=64)), Wire(lambda *_: 200)
        judge = client(wire, limits)
        for _ in range(3):
            await judge.complete(asks())
        wire.seconds, wire._script = seconds, lambda *_: failure if now() < 3600 else 200
        async with asyncio.TaskGroup() as group:
            for _ in range(100):
                group.create_task(judge.complete(asks()))
        assert now() > 3600
        assert limits.totals.maybe_requests == 0
        assert limits.totals.requests >= 103

    run(scenario())


def test_client_counts_few_requests_possibly_billed_in_hour_of_late_failures() -> None:
    async def scenario() -> None:
        limits = Strict(RateLimits(concurrency=8))
        wire = Wire(lambda *_: GATEWAY if now() < 3600 else 200, seconds=20.0)
        judge = client(wire, limits)
        async with asyncio.TaskGroup() as group:
            for _ in range(20):
                group.create_task(judge.complete(asks()))
        assert len(wire.calls) > 60
        assert 8 <= limits.totals.maybe_requests < 2 * 8

    run(scenario())


@pytest.mark.parametrize(("usage", "known"), [(Usage(4000, 70), True), (Usage(10**12, 70), False), (None, False)])
def test_client_settles_unusable_reply_at_its_usage_and_retries(usage: Usage | None, known: bool) -> None:
    async def scenario() -> None:
        garbled = ServerFault("no content that can be read", billed=True)
        garbled.usage = usage
        limits = Strict()
        judge = client(Wire([garbled, 200]), limits)
        done = await judge.complete(asks())
        assert [o.bill for o in limits.settled] == [Billing.KNOWN if known else Billing.UNKNOWN, Billing.KNOWN]
        assert done.spent.usage == (Usage(4010, 73, 2) if known else USAGE)
        assert limits.totals.prompt_tokens == (4010 if known else 10)
        # What it taught is reserved.
        assert (needed(judge, asks()).worst_tokens > 4000) is known

    run(scenario())


@pytest.mark.parametrize(
    ("usage", "choices", "believed"),
    [
        (Usage(1000, 3), 1, True),
        (Usage(1001, 3), 1, False),
        (Usage(5, 1001), 1, False),
        (Usage(5, 3000), 3, True),
        (Usage(3000, 3), 3, True),  # some servers bill the prompt for each choice
        (Usage(3001, 3), 3, False),
        (Usage(10**12, 3), 1, False),
    ],
)
@pytest.mark.parametrize("status", [200, 400])
def test_client_ignores_usage_beyond_context_window(usage: Usage, choices: int, believed: bool, status: int) -> None:
    async def scenario() -> None:
        limits = Strict()
        judge = client(Wire([status]), limits, usage=usage)
        judge._attempts._settlement._window = 1000
        try:
            done = await judge.complete(asks(choices=choices))
            outcome, spent = done.usage, done.spent
        except Refused as error:
            outcome, spent = None, error.spent  # type: ignore[assignment]
        assert spent.usage == (usage if believed else None)
        assert status == 400 or outcome == spent.usage
        assert [o.bill for o in limits.settled] == [Billing.KNOWN if believed else Billing.UNKNOWN]
        if not believed:
            assert spent.cost_pico is None
            assert 0 < limits.totals.maybe_tokens < 1000

    run(scenario())
