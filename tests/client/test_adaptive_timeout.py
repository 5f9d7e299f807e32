"""Promise: a reply that hangs costs seconds and not all of `timeout_s`; one that is slow is not lost for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.clock import nothing, now, run
from support.transport import FakeTransport

from scorer.client.adaptive_timeout import FACTOR, KNOWN, LEAST_S, LOOK, WINDOW, AdaptiveTimeout
from scorer.client.client import HttpClient
from scorer.client.endpoints import Endpoint
from scorer.client.model_terms import ModelTerms
from scorer.client.providers.openai import OpenAI
from scorer.config.cost import Price
from scorer.errors import Unreachable
from scorer.files.local_files import LocalFiles
from scorer.limits import Budget, LocalLimiter, RateLimits
from scorer.output.ledger import Ledger
from scorer.types import Call, Message, Reply, Request

TIMEOUT_S = 120.0
BODY = b'{"choices": [{"message": {"content": "4"}}], "usage": {"prompt_tokens": 9, "completion_tokens": 1}}'
ASKED = Request(messages=(Message("user", "?"),), tokens=9)


# --- the rule ---------------------------------------------------------------------------------------------------------


def test_adaptive_timeout_is_unset_before_enough_replies() -> None:
    deadline = AdaptiveTimeout(TIMEOUT_S)
    for _ in range(KNOWN - 1):
        deadline.answered(1.0)
    assert deadline.seconds is None
    for _ in range(LOOK):
        deadline.answered(1.0)
    assert deadline.seconds == LEAST_S


@given(
    latencies=st.lists(st.floats(0.01, 60), min_size=1, max_size=40),
    times=st.integers(1, 20),
    most_s=st.floats(1, 600),
)
def test_adaptive_timeout_stays_far_above_latencies_and_below_timeout_s(
    latencies: list[float], times: int, most_s: float
) -> None:
    deadline, seen = AdaptiveTimeout(most_s), list[float]()
    for latency in latencies * times:
        deadline.answered(latency)
        seen.append(latency)
        if deadline.seconds is not None:
            assert len(seen) >= KNOWN
            assert deadline.seconds >= max(LEAST_S, FACTOR * max(seen[-WINDOW:]))
            assert deadline.seconds < most_s


def test_adaptive_timeout_rises_at_once_for_slow_reply_and_falls_after_window() -> None:
    deadline = AdaptiveTimeout(TIMEOUT_S)
    for _ in range(2 * KNOWN):
        deadline.answered(1.0)
    deadline.answered(30.0)
    assert deadline.seconds == 90.0
    for _ in range(WINDOW + LOOK):
        deadline.answered(1.0)
    assert deadline.seconds == LEAST_S


def test_adaptive_timeout_is_off_after_many_cuts_until_replies_come_in_time() -> None:
    deadline = AdaptiveTimeout(TIMEOUT_S)
    for _ in range(100):
        deadline.answered(1.0)
    for cut in range(6):
        assert (deadline.seconds is None) == (cut > 5)
        deadline.cut()
    assert deadline.seconds is None
    for _ in range(200):
        deadline.answered(1.0)
    assert deadline.seconds == LEAST_S


# --- what becomes of requests -----------------------------------------------------------------------------------------


class Wire(FakeTransport):
    """A judge whose n-th reply takes as long as `takes(n)` says; it waits as a transport does, and counts cuts."""

    def __init__(self, takes: Callable[[int], float]) -> None:
        super().__init__()
        self._takes = takes
        self.waited: list[float] = []
        """How long each reply was waited for that never came."""

    async def reply(self, call: Call, number: int) -> Reply:
        takes, waits = self._takes(number), min(TIMEOUT_S, call.timeout_s or TIMEOUT_S)
        await asyncio.sleep(min(takes, waits))
        if takes > waits:
            self.waited.append(waits)
            raise Unreachable("no reply", billed=True)
        return Reply(200, {}, BODY)


def made(wire: Wire, places: int = 16) -> tuple[HttpClient, Ledger]:
    ledger = Ledger(LocalFiles(), "never-written", "1", offload=nothing, strict=False)
    endpoint = Endpoint(
        OpenAI(name="m", base_url="http://judge/v1"), LocalLimiter(RateLimits(concurrency=places), Budget(ledger))
    )
    clock = asyncio.get_running_loop().time
    client = HttpClient([endpoint], wire, ModelTerms(Price(1.0, 1.0), 4), retries=6, clock=clock, timeout_s=TIMEOUT_S)
    return client, ledger


async def ask(client: HttpClient, times: int) -> None:
    async with asyncio.TaskGroup() as group:
        for _ in range(times):
            group.create_task(client.complete(ASKED))


def test_client_cuts_hanging_request_as_possibly_billed_and_retries() -> None:
    async def scenario() -> None:
        wire = Wire(lambda number: 600.0 if number == 160 else 1.0)
        client, ledger = made(wire)
        await ask(client, 160)
        since = now()
        completion = await client.complete(ASKED)
        assert wire.waited == [LEAST_S]
        assert now() - since < LEAST_S + 3
        assert completion.spent.attempts == 2
        assert (ledger.totals.requests, ledger.totals.maybe_requests, ledger.open_tokens) == (161, 1, 0)

    run(scenario())


def test_client_gives_cut_request_full_timeout_on_retry() -> None:
    async def scenario() -> None:
        wire = Wire(lambda number: 100.0 if number >= 160 else 1.0)
        client, _ = made(wire)
        await ask(client, 160)
        completion = await client.complete(ASKED)
        assert wire.waited == [LEAST_S]
        assert completion.spent.attempts == 2
        await client.complete(ASKED)
        assert wire.waited == [LEAST_S]  # now it is known that a reply may take so long

    run(scenario())


@pytest.mark.parametrize("takes_s", [15.0, 50.0, 110.0])
def test_client_cuts_requests_in_flight_at_most_once_when_judge_slows(takes_s: float) -> None:
    async def scenario() -> None:
        wire = Wire(lambda number: takes_s if number >= 160 else 1.0)
        client, ledger = made(wire)
        await ask(client, 160)
        await ask(client, 400)
        assert len(wire.waited) <= (16 if takes_s > LEAST_S else 0)
        assert ledger.totals.requests == 560

    run(scenario())
