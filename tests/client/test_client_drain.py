"""Promise: a run that stops sends nothing new, finishes what it sent, and waits no longer than replies take."""

from __future__ import annotations

import asyncio

import pytest
from support.clock import VirtualLoop, now, run
from support.scripted_client import (
    Act,
    Strict,
    Wire,
    asks,
    client,
)

from scorer.client.unsent import Unsent
from scorer.errors import (
    Interrupted,
    Unreachable,
)
from scorer.limits import Billing
from scorer.types import (
    Call,
    Reply,
)


@pytest.mark.parametrize("failure", [500, Unreachable("cut", billed=True)])
def test_client_finishes_sent_row_while_draining(failure: Act) -> None:
    """Its retry is no new row: turned away, what other requests of the row were paid would be lost."""

    async def scenario() -> None:
        limits, wire = Strict(), Wire([failure, 200])
        task = asyncio.create_task(client(wire, limits).complete(asks()))
        await asyncio.sleep(0.5)
        limits.drain()
        assert (await task).spent.attempts == 2
        assert (await client(wire, limits).complete(asks(begun=True))).text == "4"
        with pytest.raises(Interrupted):
            await client(wire, limits).complete(asks())
        assert len(wire.calls) == 3

    run(scenario())


def test_client_drain_sends_no_probe() -> None:
    async def scenario() -> None:
        limits, wire = Strict(), Wire([200])
        for _ in range(8):
            limits.breaker.failed(probe=False)
        await asyncio.sleep(1.0)
        assert limits.up
        limits.drain()
        with pytest.raises(Interrupted):
            await client(wire, limits).complete(asks(begun=True))
        assert (wire.calls, limits.up) == ([], False)

    run(scenario())


@pytest.mark.parametrize("waits_for", ["an outage", "a probe", "a 429", "a long pause between attempts"])
def test_client_drain_does_not_wait_for_outage_probe_throttle_or_backoff(waits_for: str) -> None:
    """Else one Ctrl-C in an outage would never end a run."""

    async def scenario() -> None:
        acts = {
            "an outage": [503],
            "a probe": [503],
            "a 429": [429],
            "a long pause between attempts": [500] * 5 + [200],
        }
        limits, wire = Strict(), Wire(acts[waits_for], seconds=0.01)
        judge = client(wire, limits, retries=1000)
        many = 1 if "between" in waits_for else 20
        tasks = [asyncio.create_task(judge.complete(asks(str(n)))) for n in range(many)]
        await asyncio.sleep(100.0 if waits_for in ("an outage", "a probe") else 2.0 if many == 20 else 7.0)
        if waits_for == "a probe":
            wire.seconds = 1000.0
            while not limits.in_flight:  # noqa: ASYNC110 - nobody tells when a probe goes out
                await asyncio.sleep(0.1)
        since = now()
        limits.drain()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert {type(one) for one in ended} == {Interrupted}
        assert now() - since < 0.1
        assert limits.in_flight == 0
        assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]

    run(scenario())


def test_client_drain_waits_briefly_for_requests_sent_before_outage() -> None:
    async def scenario() -> None:
        limits, wire = Strict(), Wire(lambda _, call: 200 if call.body in (b"soon", b"never") else 503, seconds=0.01)
        judge = client(wire, limits)
        wire.slow = {b"soon": 12.0, b"never": 10_000.0}
        soon, never = (asyncio.create_task(judge.complete(asks(text))) for text in ("soon", "never"))
        await asyncio.sleep(0)
        failing = [asyncio.create_task(judge.complete(asks(str(n)))) for n in range(20)]
        await asyncio.sleep(10.0)
        assert limits.breaker.open_since is not None
        limits.drain()
        assert (await soon).text == "4"
        with pytest.raises(Interrupted):
            await never
        assert now() < 12.0 + 5.0
        await asyncio.gather(*failing, return_exceptions=True)

    run(scenario())


@pytest.mark.parametrize("known", [False, True])
def test_client_drain_waits_no_longer_than_replies_take(known: bool) -> None:
    """A judge that accepts and never answers opens no breaker before `timeout_s`."""

    async def scenario() -> None:
        limits, wire = Strict(), Wire([200], seconds=10_000.0)
        judge = client(wire, limits)
        wire.slow = {b"known": 20.0, b"late": 35.0}
        if known:
            await judge.complete(asks("known"))
        since = now()
        late, never = (asyncio.create_task(judge.complete(asks(text))) for text in ("late", "never"))
        await asyncio.sleep(1.0)
        limits.drain()
        ended = await asyncio.gather(late, never, return_exceptions=True)
        assert [isinstance(one, Interrupted) for one in ended] == [not known, True]
        assert now() - since == pytest.approx(2 * 35.0 if known else 4.0, abs=0.1)
        assert limits.in_flight == 0

    run(scenario())


def test_client_drain_takes_replies_that_came_while_this_process_stood_still() -> None:
    """They are in the sockets, and paid, when the time to wait for them is over."""

    async def scenario() -> None:
        limits, wire = Strict(), Wire([200], seconds=2.5)
        tasks = [asyncio.create_task(client(wire, limits).complete(asks(str(number)))) for number in range(8)]
        await asyncio.sleep(1.0)
        limits.drain()
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        loop.stand_still(10.0)
        assert [done.text for done in await asyncio.gather(*tasks)] == ["4"] * 8

    run(scenario())


@pytest.mark.parametrize(("cancelled", "bill"), [(Unsent, Billing.NOTHING), (asyncio.CancelledError, Billing.UNKNOWN)])
@pytest.mark.parametrize("by", ["a drain", "a timeout"])
def test_client_bills_nothing_for_request_cancelled_before_writing(
    cancelled: type[BaseException], bill: Billing, by: str
) -> None:
    class Connecting(Wire):
        async def reply(self, call: Call, number: int) -> Reply:
            try:
                await asyncio.sleep(1000.0)
            except asyncio.CancelledError:
                raise cancelled from None
            raise AssertionError

    async def scenario() -> None:
        limits = Strict()
        task = asyncio.create_task(client(Connecting([200]), limits).complete(asks()))
        await asyncio.sleep(1.0)
        if by == "a drain":
            limits.drain()
            with pytest.raises(Interrupted):
                await task
        else:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1.0):
                    await task
        assert [outcome.bill for outcome in limits.settled] == [bill]

    run(scenario())


def test_client_drain_in_outage_of_one_endpoint_finishes_rows_at_other() -> None:
    async def scenario() -> None:
        down, up = Strict(), Strict()
        wire = Wire(lambda _, call: 503 if call.url == "http://judge-0" else 200, seconds=0.01)
        judge = client(wire, down, up)
        tasks = [asyncio.create_task(judge.complete(asks(str(n), begun=True))) for n in range(40)]
        await asyncio.sleep(0.02)
        down.drain()
        up.drain()
        assert {one.text for one in await asyncio.gather(*tasks)} == {"4"}

    run(scenario())
