"""Promise: a full service tier costs time alone, and a reply is billed at the tier that it names, within the cap."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import orjson
import pytest
from support.clock import nothing, now, run
from support.transport import FakeTransport

from scorer.client.client import HttpClient
from scorer.client.endpoints import Endpoint
from scorer.client.model_terms import ModelTerms
from scorer.client.providers.openai import OpenAI
from scorer.client.tiers import TierFallback
from scorer.config.cost import Price, TierPrices
from scorer.errors import BudgetSpent
from scorer.files.local_files import LocalFiles
from scorer.limits import Budget, LocalLimiter, RateLimits
from scorer.output.ledger import Ledger
from scorer.types import Call, Completion, Message, Reply, Request
from scorer.usage import Usage

PRICES = TierPrices(Price(2.0, 4.0), {"flex": Price(1.0, 2.0), "priority": Price(5.0, 10.0)}, "flex")
FULL = Reply(429, {}, b'{"error": {"message": "Resource Unavailable", "code": "resource_unavailable"}}')


def good(tier: str | None) -> Reply:
    choice = {"message": {"content": "4"}, "finish_reason": "stop"}
    value = {"choices": [choice], "usage": {"prompt_tokens": 10, "completion_tokens": 1}}
    return Reply(200, {}, orjson.dumps(value if tier is None else {**value, "service_tier": tier}))


class Server(FakeTransport):
    """Answers as `act` says of the tier that a request asks for; `asked` has these tiers."""

    def __init__(self, act: Callable[[str], Reply], seconds: float = 1.0) -> None:
        super().__init__()
        self._act, self._seconds = act, seconds
        self.asked: list[str] = []
        self.timeouts: set[float | None] = set()

    async def reply(self, call: Call, number: int) -> Reply:
        tier: str = orjson.loads(call.body)["service_tier"]
        self.asked.append(tier)
        self.timeouts.add(call.timeout_s)
        await asyncio.sleep(self._seconds)
        return self._act(tier)


class Run:
    """A client of the tier "flex" at a server, with its limits and its ledger."""

    def __init__(
        self, server: Server, fallback: TierFallback | None = None, most: int | None = 8, max_usd: float | None = None
    ) -> None:
        self.ledger = Ledger(LocalFiles(), "never-written", "me", offload=nothing, strict=False)
        rates = RateLimits(concurrency=most, most=64)
        self.limits = LocalLimiter(rates, Budget(self.ledger, max_usd=max_usd))
        self.client = HttpClient(
            [Endpoint(OpenAI(name="m", base_url="http://judge/v1", tier="flex"), self.limits)],
            server,
            ModelTerms(PRICES, 8, tier="flex", fallback=fallback),
            retries=2,
            clock=now,
            timeout_s=900.0,
        )

    async def complete(self, rows: int = 1) -> list[Completion]:
        asks = [self.client.complete(Request(messages=(Message("user", f"row {n}"),))) for n in range(rows)]
        return await asyncio.gather(*asks)


def test_full_tier_costs_time_and_no_money_no_row_and_no_concurrency() -> None:
    server = Server(lambda _: FULL if now() < 3600.0 else good("flex"), 0.1)

    async def night() -> None:
        one = Run(server, most=None)
        before = one.limits.concurrency
        done = await one.complete(40)
        assert [completion.text for completion in done] == ["4"] * 40
        assert one.ledger.totals.money_pico == 40 * PRICES.others["flex"].cost_pico(Usage(10, 1))
        assert one.limits.concurrency >= before
        assert one.limits.cooldown.until == 0.0
        assert one.limits.breaker.open_since is None

    run(night())
    assert 3600.0 < max(server.sent_at) < 3600.0 + 61.0
    assert len([at for at in server.sent_at if at < 3600.0]) < 40 * (8 + 3600 / 30), "the backoff grows to a minute"


def test_full_tier_pauses_no_other_request() -> None:
    def first_is_refused(_: str) -> Reply:
        return FULL if len(server.asked) == 1 else good("flex")

    server = Server(first_is_refused, 0.0)

    async def two() -> None:
        one = Run(server, most=1)
        await one.complete(3)
        assert one.limits.health.why is None

    run(two())
    assert server.sent_at[1:3] == [0.0, 0.0], "the others went out at once"


def test_full_tier_is_an_answer_of_a_judge_that_is_set_up_well() -> None:
    async def refused() -> None:
        one = Run(Server(lambda _: FULL, 0.0))
        task = asyncio.create_task(one.complete())
        await asyncio.sleep(1.0)
        assert one.limits.health.met, "limits.first_answer_s does not end the run"
        assert "Resource Unavailable" in (one.limits.health.why or "")
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    run(refused())


def test_fallback_asks_at_the_standard_tier_after_its_seconds() -> None:
    server = Server(lambda tier: FULL if tier == "flex" else good("default"), 0.0)

    async def one_row() -> None:
        one = Run(server, TierFallback(120.0))
        (done,) = await one.complete()
        assert done.spent.usage is not None
        assert done.spent.usage.tier == "standard"
        assert done.spent.cost_pico == PRICES.standard.cost_pico(Usage(10, 1))
        assert any("120 s" in note for note in one.limits.notes)

    run(one_row())
    assert server.sent_at[-1] == pytest.approx(120.0, abs=0.01)
    assert server.asked == ["flex"] * (len(server.asked) - 1) + ["default"]


def test_fallback_lets_no_more_than_its_share_leave() -> None:
    server = Server(
        lambda tier: good("default") if tier == "default" else FULL if now() < 7200.0 else good("flex"), 0.0
    )

    async def rows() -> None:
        await Run(server, TierFallback(60.0, 0.25)).complete(20)

    run(rows())
    assert server.asked.count("default") == 5


@pytest.mark.parametrize(
    ("named", "tier", "price"),
    [
        ("flex", "flex", PRICES.others["flex"]),
        ("default", "standard", PRICES.standard),
        ("priority", "priority", PRICES.others["priority"]),
        (None, None, PRICES.standard),
        ("scale", "scale", PRICES.standard),
    ],
)
def test_reply_is_billed_at_the_tier_that_it_names(named: str | None, tier: str | None, price: Price) -> None:
    async def one_row() -> None:
        one = Run(Server(lambda _: good(named)))
        (done,) = await one.complete()
        assert done.spent.usage is not None
        assert done.spent.usage.tier == tier
        assert one.ledger.totals.money_pico == price.cost_pico(Usage(10, 1))
        assert bool(one.limits.notes) == (named != "flex"), "another tier than was asked for is noted"

    run(one_row())


def test_reservation_is_at_the_dearer_of_the_tier_and_the_standard_price() -> None:
    assert PRICES.worst_pico(100, 10) == PRICES.standard.worst_pico(100, 10)
    priority = TierPrices(PRICES.standard, PRICES.others, "priority")
    assert priority.worst_pico(100, 10) == PRICES.others["priority"].worst_pico(100, 10)


class Dear(Server):
    """Bills nearly all that a request reserves, at the standard tier."""

    async def reply(self, call: Call, number: int) -> Reply:
        await super().reply(call, number)
        value = orjson.loads(good("default").body)
        return Reply(
            200, {}, orjson.dumps({**value, "usage": {"prompt_tokens": len(call.body) + 70, "completion_tokens": 8}})
        )


def test_cap_holds_where_replies_come_at_the_standard_price() -> None:
    async def rows() -> None:
        one = Run(Dear(lambda _: FULL), max_usd=0.0009)
        with pytest.raises(BudgetSpent):
            await one.complete(8)
        await asyncio.sleep(5.0)
        assert 0 < one.ledger.totals.money_pico <= 0.0009 * 10**12

    run(rows())


def test_slow_tier_is_waited_for_however_quick_replies_were() -> None:
    server = Server(lambda _: good("flex"), 0.1)

    async def rows() -> None:
        await Run(server).complete(100)

    run(rows())
    assert server.timeouts == {None}, "the transport's own timeout"


@pytest.mark.parametrize(
    ("one", "other", "sum_"),
    [("flex", "standard", "standard"), ("priority", "flex", "priority"), (None, "flex", "flex"), (None, None, None)],
)
def test_sum_of_usages_has_the_dearest_tier(one: str | None, other: str | None, sum_: str | None) -> None:
    assert (Usage(1, 1, tier=one) + Usage(1, 1, tier=other)).tier == sum_
    assert (Usage(1, 1, tier=other) + Usage(1, 1, tier=one)).tier == sum_
