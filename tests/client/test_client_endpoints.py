"""Promise: requests go where there is room; an endpoint that is down or garbles replies loses no row."""

from __future__ import annotations

import asyncio

import pytest
from support.clock import now, run
from support.scripted_client import HOUR_S, PRICE, Dialect, Strict, Wire, answering_others, asks, client

from scorer.client.client import HttpClient, ModelRouter
from scorer.client.endpoints import Endpoint
from scorer.client.model_terms import ModelTerms
from scorer.errors import (
    Unreachable,
    Unreadable,
)
from scorer.limits import RateLimits


def test_client_prefers_endpoint_with_most_room_by_weight() -> None:
    async def scenario() -> None:
        wire, limits = Wire([200]), [Strict() for _ in range(2)]
        endpoints = [
            Endpoint(Dialect(f"http://judge-{n}"), some, weight)
            for n, (some, weight) in enumerate(zip(limits, (1.0, 3.0), strict=True))
        ]
        judge = HttpClient(endpoints, wire, ModelTerms(None, 1), retries=1, clock=asyncio.get_running_loop().time)
        async with asyncio.TaskGroup() as group:
            for _ in range(40):
                group.create_task(judge.complete(asks()))
                await asyncio.sleep(0)
        share = sum(url == "http://judge-1" for _, url in wire.calls) / 40
        assert 0.7 <= share <= 0.8

    run(scenario())


def test_client_routes_around_endpoint_that_is_down_until_recovery() -> None:
    async def scenario() -> None:
        wire = Wire(lambda _, call: 500 if call.url == "http://judge-0" and now() < 100 else 200)
        judge = client(wire, Strict(RateLimits(concurrency=4)), Strict(RateLimits(concurrency=4)))
        async with asyncio.TaskGroup() as group:
            for _ in range(200):  # half of them stand in the line of the one that is down
                group.create_task(judge.complete(asks()))
        assert now() < 60
        assert sum(url == "http://judge-0" for _, url in wire.calls) < 20
        await asyncio.sleep(130 - now())
        await judge.complete(asks())  # the probe, as any row may be
        wire.calls.clear()
        async with asyncio.TaskGroup() as group:
            for _ in range(200):
                group.create_task(judge.complete(asks()))
        assert 90 <= sum(url == "http://judge-0" for _, url in wire.calls) <= 110

    run(scenario())


def test_client_waits_for_first_endpoint_to_return_when_all_are_down() -> None:
    async def scenario() -> None:
        wire = Wire(lambda _, call: 200 if call.url == "http://judge-1" and now() > 600 else 500)
        judge = client(wire, Strict(), Strict())
        async with asyncio.TaskGroup() as group:
            rows = [group.create_task(judge.complete(asks())) for _ in range(40)]
        assert all(row.result().text == "4" for row in rows)
        assert 600 < now() < 700
        assert len(wire.calls) < 200

    run(scenario())


def test_model_router_sends_request_to_named_model() -> None:
    async def scenario() -> None:
        wire, judge = Wire([200]), {}
        for alias in ("x", "y"):
            endpoint = Endpoint(Dialect(alias), Strict())
            judge[alias] = HttpClient(
                [endpoint], wire, ModelTerms(None, 1), retries=1, clock=asyncio.get_running_loop().time
            )
        panel = ModelRouter(judge)
        for alias in ("y", "x", "y"):
            await panel.complete(asks(model=alias))
        assert [url for _, url in wire.calls] == ["y", "x", "y"]

    run(scenario())


def test_client_fails_row_at_second_garbled_reply_if_others_were_answered() -> None:
    async def scenario() -> None:
        wire, others = answering_others(lambda _: 299)
        judge = client(wire, Strict(), retries=6)
        busy = asyncio.create_task(others(judge))
        await asyncio.sleep(0.1)
        with pytest.raises(Unreadable, match="twice, while other requests were answered") as caught:
            await judge.complete(asks("garbled alone"))
        busy.cancel()
        assert caught.value.spent is not None
        assert caught.value.spent.attempts == 2

    run(scenario())


def test_client_treats_garbled_replies_to_all_requests_as_outage() -> None:
    async def scenario() -> None:
        limits, wire = Strict(), Wire(lambda _, __: 299 if now() < HOUR_S else 200, seconds=0.1)
        judge = client(wire, limits, retries=2)
        found = await asyncio.gather(*(judge.complete(asks(str(n))) for n in range(20)))
        assert [one.text for one in found] == ["4"] * 20
        assert len(wire.calls) < 300

    run(scenario())


def test_client_measures_hanging_by_call_and_not_by_conversation() -> None:
    """Two calls of 15 s are no reply that hangs for 20 s."""

    async def scenario() -> None:
        limits = Strict()
        wire = Wire(lambda n, _: Unreachable("reset", billed=True) if n == 65 else 200, seconds=0.1)
        judge = HttpClient(
            [Endpoint(Dialect(), limits)], wire, ModelTerms(PRICE, 20), retries=3, clock=now, timeout_s=120.0
        )
        for _ in range(64):
            await judge.complete(asks())
        assert judge._attempts._deadline.seconds == 20.0
        wire.slow = {b"two turns": 15.0}
        cut: list[float] = []
        judge._attempts._deadline.cut = lambda: cut.append(now())  # type: ignore[method-assign]
        await judge.complete(asks("two turns"))
        assert cut == []

    run(scenario())
