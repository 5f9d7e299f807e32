"""Promise: a row fails only by its own fault; what never reached the judge is free, and an outage costs no row."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest
from support.clock import now, run
from support.scripted_client import ENDED, NEVER_SENT, Act, Strict, Wire, answering_others, asks, client

from scorer.errors import (
    Unavailable,
    Unreachable,
)
from scorer.limits import Billing, RateLimits
from scorer.types import (
    Call,
)


def test_client_retries_closed_kept_connection_free_and_uncounted() -> None:
    async def scenario() -> None:
        limits, wire = Strict(), Wire([200, ENDED, 200])
        judge = client(wire, limits, retries=1)
        await judge.complete(asks())  # takes a second
        wire.seconds = 0.1
        completion = await judge.complete(asks())
        assert completion.spent.attempts == 2
        assert now() == pytest.approx(1.2), "asked again at once"
        assert [o.bill for o in limits.settled] == [Billing.KNOWN, Billing.NOTHING, Billing.KNOWN]
        assert [o.alive for o in limits.settled] == [True, None, True]
        assert wire.fresh == [False, False, True]

    run(scenario())


def test_client_counts_kept_connection_closed_late_as_possibly_billed() -> None:
    async def scenario() -> None:
        limits, wire = Strict(), Wire([200, ENDED, 200], seconds=0.5)
        judge = client(wire, limits)
        await judge.complete(asks())
        wire.seconds = 2.0
        await judge.complete(asks())
        assert [o.bill for o in limits.settled] == [Billing.KNOWN, Billing.UNKNOWN, Billing.KNOWN]

    run(scenario())


def test_client_treats_server_closing_every_connection_as_outage() -> None:
    async def scenario() -> None:
        limits, wire = Strict(), Wire([ENDED], seconds=0.01)
        task = asyncio.create_task(client(wire, limits).complete(asks()))
        await asyncio.sleep(600.0)
        task.cancel()
        assert len(wire.calls) < 60

    run(scenario())


def test_client_retries_transient_error_through_admission_without_connection() -> None:
    async def scenario() -> None:
        limits, wire = Strict(), Wire([500, 502, Unreachable("cut", billed=True), 200])
        task = asyncio.create_task(client(wire, limits, retries=9).complete(asks()))
        await asyncio.sleep(1.1)
        assert (wire.open, limits.in_flight) == (0, 0)
        completion = await task
        assert completion.spent.attempts == limits.given == 4
        assert completion.spent.answered_s == 4.0
        assert completion.spent.waited_s == pytest.approx(now() - 4)
        assert [o.bill for o in limits.settled] == [Billing.NOTHING, Billing.UNKNOWN, Billing.UNKNOWN, Billing.KNOWN]
        assert limits.totals.maybe_requests == 2

    run(scenario())


def test_client_counts_no_attempt_without_a_request_sent() -> None:
    async def scenario() -> None:
        limits, wire = Strict(), Wire([NEVER_SENT, Unreachable("late", billed=True), NEVER_SENT, 500, 200])
        completion = await client(wire, limits, retries=9).complete(asks())
        assert completion.spent.attempts == 3
        assert limits.given == len(wire.calls) == 5

        # The first of two turns was sent, and the second was not.
        wire = Wire([200, NEVER_SENT, 200])
        assert (await client(wire, Strict(), retries=9).complete(asks("two turns"))).spent.attempts == 2

    run(scenario())


def test_client_row_that_never_reached_endpoint_says_no_request_was_sent() -> None:
    async def scenario() -> None:
        wire, others = answering_others(lambda _: NEVER_SENT)
        judge = client(wire, Strict(), retries=2)
        busy = asyncio.create_task(others(judge))
        await asyncio.sleep(0.1)
        with pytest.raises(Unavailable, match="2 attempts") as caught:
            await judge.complete(asks("bad"))
        busy.cancel()
        assert caught.value.spent is not None
        assert caught.value.spent.attempts == 0

    run(scenario())


def test_client_backoff_grows_up_to_30_s() -> None:
    async def scenario() -> None:
        wire = Wire(lambda n, _: 500 if n < 12 else 200, seconds=0.0)
        judge = client(wire, Strict(), retries=100)
        await judge.complete(asks())
        times = [at for at, _ in wire.calls]
        gaps = [after - before for before, after in pairwise(times)]
        for n, gap in enumerate(gaps[:6]):
            assert 0.25 * 2**n <= gap <= 0.5 * 2**n
        assert max(gaps) <= 60  # the breaker's pause may come after the client's own

    run(scenario())


@pytest.mark.parametrize(("retries", "act"), [(1, 500), (3, 500), (6, Unreachable("reset", billed=True))])
def test_client_counts_attempt_only_if_others_were_answered_meanwhile(retries: int, act: Act) -> None:
    async def scenario() -> None:
        wire, others = answering_others(lambda _: act)
        judge = client(wire, Strict(), retries=retries)
        busy = asyncio.create_task(others(judge))
        await asyncio.sleep(0.1)
        with pytest.raises(Unavailable) as caught:
            await judge.complete(asks("bad"))
        busy.cancel()
        assert caught.value.spent is not None
        assert caught.value.spent.attempts == retries
        assert "while other requests were answered" in caught.value.detail

    run(scenario())


@pytest.mark.parametrize("status", [500, 429])
def test_client_loses_no_row_in_outage_of_hour(status: int) -> None:
    async def scenario() -> None:
        wire = Wire(lambda *_: status if now() < 3600 else 200)
        limits = Strict(RateLimits(concurrency=16))
        judge = client(wire, limits)
        async with asyncio.TaskGroup() as group:
            rows = [group.create_task(judge.complete(asks())) for _ in range(50)]
        assert all(row.result().text == "4" for row in rows)
        assert 3600 < now() < 3600 + 120
        if status == 500:  # what is down is asked by one at a time, and seldom
            assert len(wire.calls) < 300

    run(scenario())


def test_client_weighs_429_a_tenth_and_waits_retry_after() -> None:
    async def scenario() -> None:
        limits, wire = Strict(), Wire([429, 200])
        await client(wire, limits, retries=1).complete(asks())
        assert [at for at, _ in wire.calls] == [0.0, 8.0]
        assert [(o.throttled, o.retry_after_s) for o in limits.settled] == [(True, 7.0), (False, None)]

        wire, others = answering_others(lambda _: 429)
        judge = client(wire, Strict(), retries=2)
        busy = asyncio.create_task(others(judge))
        await asyncio.sleep(0.1)
        with pytest.raises(Unavailable) as caught:
            await judge.complete(asks("throttled alone"))
        busy.cancel()
        assert caught.value.spent is not None
        assert caught.value.spent.attempts == 20

    run(scenario())


def test_client_fails_last_row_that_breaks_server() -> None:
    async def scenario() -> None:
        wire = Wire(lambda _, call: 500 if call.body == b"poison" else 200)
        limits = Strict()
        with pytest.raises(Unavailable) as caught:
            await client(wire, limits, retries=3).complete(asks("poison"))
        assert caught.value.spent is not None
        assert caught.value.spent.attempts <= 12
        assert now() < 600
        assert limits.totals.requests >= 3  # the small questions that told it from an outage are in the ledger

    run(scenario())


def test_client_loses_no_row_in_outage_right_after_answered_probe() -> None:
    """The row failed, a small question was answered, and then the endpoint went down for everyone (seed 6)."""

    async def scenario() -> None:
        asked = 0

        def act(_: int, call: Call) -> Act:
            nonlocal asked
            if call.body != b"?":
                return 200 if asked < 2 or now() > 100 else 500
            asked += 1
            return 200 if now() > 100 else 500

        completion = await client(Wire(act, seconds=0.1), Strict(), retries=1).complete(asks())
        assert completion.text == "4"
        assert asked > 2

    run(scenario())
