"""Promise: every attempt is settled exactly once, and a row fails only by its own fault.

Over 300 lines: a scripted wire, and a test for each outcome and for whom it is blamed on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.clock import nothing, now, run
from support.transport import FakeTransport

from scorer.client.client import HttpClient, ModelRouter
from scorer.client.endpoints import Endpoint
from scorer.client.model_terms import ModelTerms
from scorer.client.providers.openai import OpenAI
from scorer.client.unsent import Unsent
from scorer.config.cost import Price
from scorer.errors import (
    BudgetSpent,
    Interrupted,
    Refused,
    RowError,
    ServerFault,
    SetupError,
    Throttled,
    Unavailable,
    Unreachable,
    Unreadable,
)
from scorer.files.files import LocalFiles
from scorer.limits import Billing, Budget, Demand, LocalLimiter, Outcome, Permit, RateLimits
from scorer.output.ledger import Ledger
from scorer.output.ledger_totals import Totals
from scorer.types import (
    Call,
    Completion,
    Message,
    RateHint,
    Reply,
    Request,
)
from scorer.usage import (
    Spent,
    Usage,
)

# A script says what becomes of one call: a status and the seconds it takes, or an error that the transport raises.
Act = int | Exception
USAGE = Usage(10, 3, 2)
PRICE = Price(1.0, 2.0)


class Wire(FakeTransport):
    """A transport that acts as `script` says, call by call, and remembers when each call came and to whom."""

    def __init__(self, script: Callable[[int, Call], Act] | Sequence[Act], seconds: float = 1.0) -> None:
        super().__init__()
        self._script = script
        self.seconds = seconds
        self.slow: dict[bytes, float] = {}
        self.quick: set[bytes] = set()
        """Bodies that are answered in a quarter of the time."""
        self.calls: list[tuple[float, str]] = []
        self.fresh: list[bool] = []
        self.open = 0

    async def reply(self, call: Call, number: int) -> Reply:
        self.calls.append((now(), call.url))
        self.fresh.append(call.fresh)
        self.open += 1
        try:
            seconds = self.slow.get(call.body, self.seconds)
            await asyncio.sleep(seconds / 4 if call.body in self.quick else seconds)
        finally:
            self.open -= 1
        act = self._script(number, call) if callable(self._script) else self._script[min(number, len(self._script) - 1)]
        if isinstance(act, Exception):
            raise act
        return Reply(act, {}, call.body)


@dataclass(frozen=True, slots=True)
class Dialect:
    """A provider whose status codes say it all; a body `n turns` takes n calls."""

    url: str = "http://judge"
    usage: Usage | None = USAGE

    def converse(self, request: Request) -> Generator[Call, Reply, Completion]:
        text = request.messages[0].content
        for _ in range(2 if text == "two turns" else 1):
            reply = yield Call(self.url, text.encode())
            if reply.status == 299:
                raise ServerFault("200, and nothing in it", billed=True, garbled=True)
            if reply.status == 429:
                raise Throttled("slow down", retry_after_s=7.0)
            if reply.status >= 500:
                raise ServerFault("it broke", billed=reply.status == 502)
            if reply.status == 401:
                raise SetupError("a wrong key")
            if reply.status == 400:
                raise Refused("filtered", usage=self.usage)
            if reply.status == 422:
                raise Refused("filtered, and no word of a bill")
            if reply.status == 418:
                raise ZeroDivisionError
        return Completion("4", usage=self.usage)

    def rate(self, headers: Mapping[str, str]) -> RateHint:
        return RateHint()


@dataclass
class Strict(LocalLimiter):
    """Limits that remember what each permit was settled with, and refuse a second settlement."""

    settled: list[Outcome] = field(default_factory=list)
    given: int = 0

    def __init__(self, rates: RateLimits = RateLimits(concurrency=1000), **caps: Any) -> None:  # noqa: B008 - it is frozen
        self.settled, self.given = [], 0
        books = Ledger(LocalFiles(), "never-written", "me", offload=nothing, strict=False)
        super().__init__(rates, Budget(books, **caps))

    async def admit(self, need: Demand, leave: Callable[[], bool] | None = None) -> Permit:
        permit = await super().admit(need, leave)
        self.given += 1
        return permit

    def settle(self, permit: Permit, outcome: Outcome) -> None:
        super().settle(permit, outcome)
        self.settled.append(outcome)

    @property
    def totals(self) -> Totals:
        books = self._caps.ledger
        assert isinstance(books, Ledger)
        assert (books.open_tokens, books.open_pico, self.in_flight) == (0, 0, 0)
        assert len(self.settled) == self.given
        return books.totals


def client(wire: Wire, *limits: Strict, retries: int = 3, tariff: Price | None = PRICE, **dialect: Any) -> HttpClient:
    endpoints = [Endpoint(Dialect(url=f"http://judge-{n}", **dialect), some) for n, some in enumerate(limits)]
    return HttpClient(
        endpoints,
        wire,
        ModelTerms(tariff, 20),
        retries=retries,
        clock=asyncio.get_running_loop().time,
    )


def asks(text: str = "?", **given: Any) -> Request:
    return Request(messages=(Message("user", text),), tokens=10, **given)


def needed(judge: HttpClient, request: Request, body: bytes = b"") -> Demand:
    """What a request is reserved at; its body as the dialect makes it, unless one is given."""
    texts = [message.content for message in request.messages]
    sent = body or "".join(texts).encode("utf-8", "replace")
    return judge.endpoints[0].limits.bills.worst(judge._attempts._reservation.demand(request, sent))


# --- one attempt, every way out ---------------------------------------------------------------------------------------


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
        books = limits.totals
        billed = sum(o.bill is Billing.KNOWN for o in limits.settled)
        unknown = sum(o.bill is Billing.UNKNOWN for o in limits.settled)
        assert (books.requests, books.maybe_requests) == (billed, unknown)
        assert limits.given == len(wire.calls)

    run(scenario())


# --- what fails may have been billed, or surely was not ---------------------------------------------------------------

GATEWAY = ServerFault("answered 504", billed=True, if_late=True)
SILENCE = Unreachable("broke off", billed=True, silent=True)


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


# --- what a bill may say ----------------------------------------------------------------------------------------------


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


# --- what is free -----------------------------------------------------------------------------------------------------

ENDED = Unreachable("it broke off", billed=True, silent=True, kept=True)


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


# --- whose fault it is ------------------------------------------------------------------------------------------------


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


NEVER_SENT = Unreachable("cannot reach it")


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
        wire, others = _answering_others(lambda _: NEVER_SENT)
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


def _answering_others(
    wire_for: Callable[[Call], Act],
) -> tuple[Wire, Callable[[HttpClient], Coroutine[Any, Any, None]]]:
    """A wire on which `good` rows are answered within an eighth of a second, for as long as anybody asks."""

    async def others(judge: HttpClient) -> None:
        while True:
            await judge.complete(asks("good", index=1))

    wire = Wire(lambda _, call: 200 if call.body == b"good" else wire_for(call), seconds=0.5)
    wire.quick.add(b"good")
    return wire, others


@pytest.mark.parametrize(("retries", "act"), [(1, 500), (3, 500), (6, Unreachable("reset", billed=True))])
def test_client_counts_attempt_only_if_others_were_answered_meanwhile(retries: int, act: Act) -> None:
    async def scenario() -> None:
        wire, others = _answering_others(lambda _: act)
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

        wire, others = _answering_others(lambda _: 429)
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
        assert limits.totals.requests >= 3  # the small questions that told it from an outage are in the books

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


# --- what may be spent ------------------------------------------------------------------------------------------------


@given(text=st.text(max_size=200), system=st.text(max_size=50))
@settings(max_examples=30)
def test_reservation_bounds_token_count_of_any_tokeniser(text: str, system: str) -> None:
    async def scenario() -> None:
        limits = Strict()
        request = Request(messages=(Message("system", system), Message("user", text)), max_output_tokens=7)
        judge = client(Wire([200]), limits)
        worst = needed(judge, request).worst_tokens
        assert worst >= len(text.encode()) + len(system.encode()) + 7

    run(scenario())


def test_reservation_grows_by_prompt_tokens_added_by_server() -> None:
    async def scenario() -> None:
        limits = Strict()
        judge = client(Wire([200]), limits, usage=Usage(1000, 5))
        before = needed(judge, asks()).worst_tokens
        assert before < 1000
        await judge.complete(asks())
        assert needed(judge, asks()).worst_tokens >= 1000 + 20

    run(scenario())


@pytest.mark.parametrize(
    ("extra", "output"),
    [
        ({}, 20),
        ({"max_tokens": 900}, 900),
        ({"max_completion_tokens": 900}, 900),
        ({"max_output_tokens": 900, "max_tokens": 30}, 900),
        ({"n": 7}, 140),
        ({"n": 2, "best_of": 7}, 140),
        ({"max_tokens": 900, "n": 7}, 6300),
        ({"options": {"num_predict": 900}}, 900),
        ({"generationConfig": {"thinkingConfig": {"thinkingBudget": 900}}}, 900),
        ({"max_tokens": -1}, 20),  # no limit at all: bills tell
        ({"max_tokens": "900", "n": True}, 20),
    ],
)
def test_reservation_covers_body_sent(extra: dict[str, Any], output: int) -> None:
    async def scenario() -> None:
        judge = client(Wire([200]), Strict())
        provider = OpenAI(name="m", base_url="http://h/v1", max_output_tokens=20, extra=extra)
        request = asks('a text that names "max_tokens": 5000000, and n: 9')
        body = next(provider.converse(request)).body
        need = needed(judge, request, body)
        assert need.output_tokens == output
        assert need.worst_tokens >= len(body) + output
        assert need.worst_pico == PRICE.worst_pico(need.worst_tokens - output, output)

    run(scenario())


def test_reservation_counts_schema_in_extra() -> None:
    async def scenario() -> None:
        judge = client(Wire([200]), Strict())
        schema = {"type": "json_schema", "json_schema": {"schema": {"description": "x" * 15_000}}}
        provider = OpenAI(name="m", base_url="http://h/v1", extra={"response_format": schema})
        body = next(provider.converse(asks())).body
        assert needed(judge, asks(), body).worst_tokens > 15_000

    run(scenario())


def test_reservation_of_choices_counts_each_reply_and_prompt_once() -> None:
    async def scenario() -> None:
        judge = client(Wire([200]), Strict())
        one, five = needed(judge, asks()), needed(judge, asks(choices=5))
        assert (one.output_tokens, five.output_tokens) == (20, 100)
        assert five.worst_tokens - one.worst_tokens == 4 * 20
        assert five.worst_pico - one.worst_pico == PRICE.worst_pico(0, 80)
        assert five.tokens == one.tokens

    run(scenario())


def test_reservation_of_continuation_counts_its_length_and_no_reply() -> None:
    async def scenario() -> None:
        need = needed(client(Wire([200]), Strict()), Request(prompt="p" * 300, continuation="c" * 100, tokens=90))
        assert (need.tokens, need.output_tokens, need.first) == (90, 1, True)
        assert need.worst_tokens >= 401

    run(scenario())


# --- several endpoints, several models --------------------------------------------------------------------------------


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
        wire, others = _answering_others(lambda _: 299)
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


HOUR_S = 3600.0


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
