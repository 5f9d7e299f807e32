"""A late request is sent again, the first answer wins, and no request is left running."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any

import orjson
import pytest
from support.clock import now, run
from support.transport import FakeTransport

from scorer.client.client import HttpClient
from scorer.client.endpoints import Endpoint
from scorer.client.hedging import MOST, first_answer
from scorer.client.model_terms import ModelTerms
from scorer.client.providers.openai import OpenAI
from scorer.client.unsent import Unsent
from scorer.config.cost import Price
from scorer.errors import Unreachable
from scorer.files.local_files import LocalFiles
from scorer.limits import Budget, LocalLimiter, RateLimits
from scorer.output.ledger import Ledger
from scorer.rehearsal.config import RehearsalConfig
from scorer.rehearsal.simulator import RehearsalJudge
from scorer.types import Call, Message, Reply, Request


class Moment(Exception):
    pass


def asker(
    *plans: tuple[float, float, str | Exception], ended: list[str]
) -> Callable[[asyncio.Event], Coroutine[Any, Any, str]]:
    """Each call waits for admission, then for its answer, as the plans say in turn."""
    turns = iter(plans)

    async def ask(sent: asyncio.Event) -> str:
        admitted_s, answers_s, what = next(turns)
        try:
            await asyncio.sleep(admitted_s)
            sent.set()
            await asyncio.sleep(answers_s)
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise
        if isinstance(what, Exception):
            raise what
        ended.append(what)
        return what

    return ask


def race(*plans: tuple[float, float, str | Exception]) -> tuple[str, float, list[str]]:
    ended: list[str] = []

    async def main() -> tuple[str, float, list[str]]:
        answer = await first_answer(asker(*plans, ended=ended), lambda: 2.0, (Moment,))
        return answer, now(), ended

    return run(main())


def test_hedging_sends_once_for_answer_in_time() -> None:
    assert race((0, 1, "first")) == ("first", 1, ["first"])


def test_hedging_ignores_wait_for_admission() -> None:
    assert race((60, 1, "first")) == ("first", 61, ["first"])


def test_hedging_sends_late_request_again_and_cancels_loser() -> None:
    assert race((0, 600, "first"), (0, 0.5, "second")) == ("second", 2.5, ["second", "cancelled"])


def test_hedging_takes_answer_of_first_if_sooner() -> None:
    assert race((0, 2.5, "first"), (0, 5, "second")) == ("first", 2.5, ["first", "cancelled"])


def test_hedging_sends_at_most_three() -> None:
    assert MOST == 3
    assert race((0, 600, "1"), (0, 600, "2"), (0, 600, "3")) == ("1", 600, ["1", "cancelled", "cancelled"])


def test_hedging_sends_third_sooner_after_second() -> None:
    assert race((0, 600, "1"), (0, 600, "2"), (0, 0.5, "3")) == ("3", 3.1, ["3", "cancelled", "cancelled"])


def test_hedging_prefers_pending_answer_to_failure() -> None:
    assert race((0, 5, "first"), (0, 0.5, Moment("second")), (0, 600, "third")) == ("first", 5, ["first", "cancelled"])


def test_hedging_raises_last_failure_if_all_fail() -> None:
    with pytest.raises(Moment, match="first"):
        race((0, 5, Moment("first")), (0, 0.5, Moment("second")), (0, 1, Moment("third")))


def test_hedging_raises_failure_in_time_at_once() -> None:
    with pytest.raises(Moment, match="at once"):
        race((0, 1, Moment("at once")))


def test_hedging_stops_all_at_error_that_ends_run() -> None:
    with pytest.raises(ExceptionGroup) as failed:
        race((0, 600, "first"), (0, 0.5, ValueError("a bug")))
    assert {str(error) for error in failed.value.exceptions} == {"a bug"}


def test_hedging_cancels_all_when_cancelled() -> None:
    ended: list[str] = []

    async def main() -> None:
        ask = asker((0, 600, "1"), (0, 600, "2"), (0, 600, "3"), ended=ended)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await first_answer(ask, lambda: 2.0, (Moment,))

    run(main())
    assert ended == ["cancelled"] * 3


async def a_millisecond(*_: object) -> None:
    """An `Offload` to a disk that takes that long, and forgets."""
    await asyncio.sleep(0.001)


class Wire(FakeTransport):
    """A transport to the rehearsal judge, whose counters are strict; where it hangs up, the judge goes on and bills."""

    def __init__(self, judge: RehearsalJudge) -> None:
        super().__init__()
        self._judge = judge
        self._random = random.Random(0)
        self.given_up = 0

    async def reply(self, call: Call, number: int) -> Reply:
        outcome = self._judge.ask("chat", orjson.loads(call.body), now(), self._random)
        arrived = False
        try:
            async with asyncio.timeout(call.timeout_s):
                await asyncio.sleep(outcome.delay_s)
            arrived = outcome.wire == "whole"
        except asyncio.CancelledError:
            self.given_up += 1
            raise
        except TimeoutError:
            raise Unreachable("no reply", billed=True) from None
        finally:
            self._judge.settle(outcome, now(), delivered=arrived)
        assert arrived, "no hang is waited for until it breaks off by itself"
        return Reply(outcome.status, outcome.headers, outcome.body)


class Connecting(Wire):
    """As the judge answers, but for the last request: each attempt at it waits 1,000 s for a connection."""

    async def reply(self, call: Call, number: int) -> Reply:
        if b"[row:20]" in call.body and "20" not in self._judge.request_log.rows:
            try:
                await asyncio.sleep(1000.0)
            except asyncio.CancelledError:
                raise Unsent from None
        return await super().reply(call, number)


def test_hedged_request_counts_no_attempt_that_was_cancelled_before_it_was_sent() -> None:
    async def scenario() -> None:
        judge = RehearsalJudge(RehearsalConfig(latency_median_s=0.8))
        ledger = Ledger(LocalFiles(), "never-written", "1", offload=a_millisecond, strict=False)
        client = HttpClient(
            [
                Endpoint(
                    OpenAI(name="m", base_url="http://judge/v1"),
                    LocalLimiter(RateLimits(concurrency=64), Budget(ledger)),
                )
            ],
            Connecting(judge),
            ModelTerms(Price(1.0, 1.0), 32),
            retries=6,
            clock=asyncio.get_running_loop().time,
            hedge=True,
        )
        for number in range(21):
            completion = await client.complete(Request(messages=(Message("user", f"[row:{number}]"),), tokens=20))
        assert completion.spent.attempts == judge.request_log.rows["20"].recv == 1

    run(scenario())


@pytest.mark.slow
@pytest.mark.parametrize("capped", [False, True])
def test_hedging_bounds_slowest_hundredth_at_twice_p99_of_others(capped: bool) -> None:
    """Slow: three thousand requests, of which thirty hang, are what a hundredth needs.

    By the judge's own counters: no request beyond a limit, every loser hung up on, settled, counted as possibly billed.
    """
    config = RehearsalConfig(
        requests_per_minute=6000,
        tokens_per_minute=600_000,
        latency_median_s=0.8,
        latency_sigma=0.3,
        fault_hang=0.01,
        hang_s=600.0,
        scale=(1, 100),
    )

    async def scenario() -> tuple[list[float], RehearsalJudge, Wire, Ledger]:
        judge = RehearsalJudge(config)
        ledger = Ledger(LocalFiles(), "never-written", "1", offload=a_millisecond, strict=capped)
        caps = Budget(ledger, max_tokens=10**7 if capped else None)
        limits = LocalLimiter(RateLimits(requests_per_minute=6000, tokens_per_minute=600_000, concurrency=64), caps)
        wire = Wire(judge)
        client = HttpClient(
            [Endpoint(OpenAI(name="m", base_url="http://judge/v1"), limits)],
            wire,
            ModelTerms(Price(1.0, 1.0), 32),
            retries=6,
            clock=asyncio.get_running_loop().time,
            timeout_s=120.0,
            hedge=True,
        )
        took: list[float] = []

        async def one(number: int) -> None:
            completion = await client.complete(
                Request(messages=(Message("user", f"Rate the answer [row:{number}] from 1 to 100."),), tokens=20)
            )
            took.append(completion.spent.answered_s)
            assert completion.usage is not None

        async with asyncio.TaskGroup() as group:
            for number in range(3000):
                group.create_task(one(number))
        assert (limits.in_flight, limits.waiting, ledger.open_tokens) == (0, 0, 0)
        return took, judge, wire, ledger

    took, judge, wire, ledger = run(scenario())
    took.sort()
    others = took[: int(len(took) * 0.99)]
    assert max(took) <= 2 * others[int(len(others) * 0.99)]
    found = judge.stats()
    assert found["faults"]["hang"] >= 25
    assert found["r429"] == found["in_flight"] == 0
    assert found["requests"] <= 3000 * 1.08, "few are asked twice"
    assert found["delivered"] == ledger.totals.requests == 3000
    assert wire.given_up == found["requests"] - 3000 == ledger.totals.maybe_requests, (
        "every loser is settled, and counted"
    )
    billed = sum(found[name] for name in found if name.endswith(("prompt_tokens", "completion_tokens")))
    assert ledger.totals.prompt_tokens + ledger.totals.completion_tokens <= billed <= ledger.totals.tokens
