"""Promise: a cached prefix is written once before others read it, and waiting for that ends whatever happens."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from itertools import count
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.anthropic_cache import FRESH, OUTPUT, READ, WRITE, CachingServer
from support.clock import nothing, now, run

from scorer.client.cache_leaders import LATE_S, CacheLeaders
from scorer.client.client import HttpClient
from scorer.client.endpoints import Endpoint
from scorer.client.model_terms import ModelTerms
from scorer.client.prompt_cache import BYTES_A_TOKEN, LIFE_S, PromptCache, least_tokens
from scorer.client.providers.anthropic import Anthropic
from scorer.client.providers.caching import parts
from scorer.client.reservation import Reservation
from scorer.config.cost import Price
from scorer.errors import BudgetSpent, Interrupted, RowError
from scorer.files.local_files import LocalFiles
from scorer.judges.rating import Rating
from scorer.limits import Budget, LocalLimiter, RateLimits
from scorer.output.ledger import Ledger
from scorer.types import Call, Completion, Message, Reply, Request, Row

PRICE = Price(FRESH, OUTPUT, READ, WRITE)
RUBRIC = "Grade by these rules. " * 250  # 1,375 tokens
LONG = "Another rule of this task. " * 200  # 1,350 tokens


class Run:
    """A client of Claude that caches, at a server, with its limits and its ledger."""

    def __init__(self, server: CachingServer, most: int = 64, max_usd: float | None = None, **limits: Any) -> None:
        self.server, self.notes = server, []
        self.ledger = Ledger(LocalFiles(), "never-written", "me", offload=nothing, strict=False)
        self.limits = LocalLimiter(RateLimits(concurrency=most, **limits), Budget(self.ledger, max_usd=max_usd))
        least = least_tokens("claude-sonnet-4-5")
        self.leaders = CacheLeaders(now, least * BYTES_A_TOKEN, lambda: self.limits.note("off"))
        provider = Anthropic(name="claude-sonnet-4-5", base_url="http://judge/v1", temperature=0.0)
        provider.learned.tell = self.limits.note
        self.client = HttpClient(
            [Endpoint(provider, self.limits, leaders=self.leaders)],
            server,
            ModelTerms(PRICE, 8, cache=PromptCache(least, now)),
            retries=3,
            clock=now,
            timeout_s=500.0,
        )

    async def all(self, requests: Sequence[Request]) -> list[Completion | BaseException]:
        return await asyncio.gather(*map(self.client.complete, requests), return_exceptions=True)

    @property
    def usd(self) -> float:
        return self.ledger.totals.money_pico / 1e12


def requests(rows: int, prompt: str = RUBRIC + "{text}", **columns: Callable[[int], str]) -> list[Request]:
    judge = Rating(prompt=prompt)
    made = []
    for number in range(rows):
        values = {"text": f"text {number}", **{name: make(number) for name, make in columns.items()}}
        made += next(judge(Row("s", number, values)))
    return made


def test_first_request_writes_and_all_others_read() -> None:
    server = CachingServer()

    async def night() -> Run:
        one = Run(server)
        assert all(isinstance(done, Completion) for done in await one.all(requests(200)))
        return one

    one = run(night())
    assert [tokens > 0 for tokens in server.written] == [True] + [False] * 199
    assert all(tokens > 1300 for tokens in server.read[1:])
    assert one.usd == pytest.approx(server.usd)
    assert server.sent_at[:2] == [0.0, 1.0], "the second goes once the first is answered"
    assert server.sent_at.count(1.0) == 64, "and then all that may"


def test_each_endpoint_has_a_first_request_of_its_own() -> None:
    """One of two endpoints is down at first: its requests go to the other one, and none waits for it."""

    class Two(CachingServer):
        async def post(self, call: Call) -> Reply:
            return await (one if "//one/" in call.url else other).post(call)

    one = CachingServer()
    other = CachingServer(act=lambda number: 503 if number < 3 else 200)

    async def night() -> None:
        run_ = Run(Two())
        second = LocalLimiter(RateLimits(concurrency=64), Budget(run_.ledger))
        endpoints = [
            Endpoint(
                Anthropic(name="claude-sonnet-4-5", base_url=f"http://{name}/v1", temperature=0.0),
                limits,
                leaders=CacheLeaders(now, 4096, lambda: None),
            )
            for name, limits in (("one", run_.limits), ("other", second))
        ]
        cache = PromptCache(1024, now)
        client = HttpClient(endpoints, Two(), ModelTerms(PRICE, 8, cache=cache), retries=5, clock=now, hedge=True)
        done = await asyncio.gather(*map(client.complete, requests(300)))
        assert len(done) == 300

    run(night())
    for server in (one, other):
        assert sum(tokens > 0 for tokens in server.written) == 1
        assert len(server.written) > 50


def test_text_of_a_marked_prompt_is_the_same() -> None:
    server = CachingServer()
    asked = requests(3)

    async def night() -> None:
        await Run(server).all(asked)

    run(night())
    sent = ["".join(block["text"] for block in body["messages"][0]["content"]) for body in server.bodies]
    assert sent == [request.messages[0].content for request in asked]
    first = server.bodies[0]["messages"][0]["content"]
    assert [sorted(block) for block in first] == [["cache_control", "text", "type"], ["text", "type"]]
    assert first[0]["text"] == RUBRIC


def test_rubrics_that_repeat_are_each_written_once() -> None:
    server = CachingServer()
    prompt = RUBRIC + "{rubric}\n{text}"

    async def night() -> Run:
        one = Run(server)
        asked = requests(440, prompt, rubric=lambda number: f"{number % 4}. {LONG}")
        await one.all(asked[:40])
        await one.all(asked[40:])
        return one

    one = run(night())
    deep = [tokens for tokens in server.read[40:] if tokens > 2600]
    assert len(deep) >= 396, "each of the four is read by all of its rows but the first"
    assert sum(tokens > 0 for tokens in server.written) <= 1 + 4
    assert one.usd == pytest.approx(server.usd)


def test_text_that_does_not_repeat_is_not_written() -> None:
    server = CachingServer()

    async def night() -> None:
        await Run(server).all(
            requests(100, RUBRIC + "{text}\n{long}", text=str, long=lambda number: f"{number} {LONG}")
        )

    run(night())
    assert sum(server.written) == server.written[0] > 0
    assert server.written[0] < 1400


def test_prefix_is_written_again_by_one_request_after_its_life() -> None:
    server = CachingServer()

    async def night() -> None:
        one = Run(server)
        await one.all(requests(50))
        await asyncio.sleep(LIFE_S + 10)
        await one.all(requests(50))

    run(night())
    assert [number for number, tokens in enumerate(server.written) if tokens] == [0, 50]


def test_requests_that_waited_longer_than_the_life_let_one_write() -> None:
    """They were held back by a pause after their prefix was known to be cached."""
    server = CachingServer()

    async def night() -> None:
        one = Run(server)
        asked = requests(60)
        await one.all(asked[:10])
        one.limits.pause(paused=True)
        later = asyncio.create_task(one.all(asked[10:]))
        await asyncio.sleep(2 * LIFE_S)
        one.limits.pause(paused=False)
        assert all(isinstance(done, Completion) for done in await later)

    run(night())
    assert [number for number, tokens in enumerate(server.written) if tokens] == [0, 10]


def test_next_request_goes_first_where_the_first_fails() -> None:
    server = CachingServer(act=lambda number: 500 if number < 2 else 200)

    async def night() -> None:
        assert all(isinstance(done, Completion) for done in await Run(server).all(requests(30)))

    run(night())
    assert server.sent_at[:3] == [0.0, 1.0, 2.0]
    assert sum(tokens > 0 for tokens in server.written) == 1


def test_request_that_hangs_holds_others_back_for_a_minute() -> None:
    server = CachingServer(seconds=lambda number: 400.0 if number == 0 else 1.0)

    async def night() -> None:
        assert all(isinstance(done, Completion) for done in await Run(server).all(requests(30)))

    run(night())
    assert server.sent_at[:3] == [0.0, LATE_S, LATE_S + 1]
    assert server.sent_at[29] == LATE_S + 1


def test_drain_turns_waiting_requests_away_once_the_first_is_answered() -> None:
    server = CachingServer()

    async def night() -> list[Completion | BaseException]:
        one = Run(server)
        task = asyncio.create_task(one.all(requests(30)))
        await asyncio.sleep(0.5)
        one.limits.drain()
        return await task

    done = run(night())
    assert [type(one) for one in done] == [Completion] + [Interrupted] * 29


def test_cancelled_first_request_lets_the_next_write() -> None:
    server = CachingServer()

    async def night() -> None:
        one = Run(server)
        tasks = [asyncio.create_task(one.client.complete(request)) for request in requests(10)]
        await asyncio.sleep(0.5)
        tasks[0].cancel()
        tasks[5].cancel()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        assert sum(isinstance(each, Completion) for each in done) == 8

    run(night())
    assert server.sent_at[1:3] == [0.5, 1.5]


def test_nobody_waits_for_a_prefix_that_is_too_short() -> None:
    server = CachingServer()

    async def night() -> None:
        await Run(server).all(requests(30, "Short. " * 100 + "{text}"))

    run(night())
    assert set(server.sent_at) == {0.0}
    assert isinstance(server.bodies[0]["messages"][0]["content"], str)


def test_server_without_a_cache_ends_the_waiting() -> None:
    server = CachingServer(caches=False)

    async def night() -> Run:
        one = Run(server, most=4)
        for _ in range(4):
            await one.all(requests(20))
            await asyncio.sleep(LIFE_S + 1)
        return one

    one = run(night())
    assert one.leaders.off
    assert one.limits.notes == ["off"]
    assert server.sent_at[-20:][:4] == [server.sent_at[-20]] * 4, "all go at once"


def test_server_that_refuses_marks_is_asked_without_them() -> None:
    class Refusing(CachingServer):
        async def reply(self, call: Call, number: int) -> Reply:
            if b"cache_control" in call.body:
                message = "messages.0.content.0.cache_control: Extra inputs are not permitted"
                return Reply(
                    400, {}, b'{"error": {"type": "invalid_request_error", "message": "%s"}}' % message.encode()
                )
            return await super().reply(call, number)

    async def night() -> list[str]:
        one = Run(Refusing())
        assert all(isinstance(done, Completion) for done in await one.all(requests(30)))
        return one.limits.notes

    notes = run(night())
    assert sum("model.cache is refused" in note for note in notes) == 1
    assert any("Extra inputs are not permitted" in note for note in notes)


def test_cap_holds_where_every_request_writes() -> None:
    """Each row has a prefix of its own that its kind made look worth a write."""
    server = CachingServer(life_s=0.0)
    cap = 0.05

    async def night() -> Run:
        one = Run(server, max_usd=cap)
        done = await one.all(requests(500))
        assert any(isinstance(each, BudgetSpent) for each in done)
        return one

    one = run(night())
    assert 0.5 * cap < server.usd <= cap
    assert one.usd == pytest.approx(server.usd)


@pytest.mark.parametrize(
    ("body", "price"),
    [
        (b'{"messages":[{"role":"user","content":"cache it"}]}', FRESH),
        (b'{"messages":[{"content":[{"text":"a","cache_control":{"type":"ephemeral"}}]}]}', WRITE),
        (b'{"messages":[{"content":[{"text":"a","cache_control":{"type":"ephemeral","ttl":"1h"}}]}]}', 2 * FRESH),
        (b'{"messages":[{"content":[{"text":"\\"1h\\" a"},{"cachePoint":{"type":"default"}}]}]}', WRITE),
    ],
)
def test_reservation_covers_a_write_at_its_price(body: bytes, price: float) -> None:
    asked = Request(messages=(Message("user", "a"),), tokens=1)
    demand = Reservation(PRICE, 8).demand(asked, body)
    prompt = demand.worst_tokens - 8
    assert prompt > len(body)
    assert demand.worst_pico == prompt * price * 1e6 + 8 * OUTPUT * 1e6


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from([200, 200, 200, 500, 529]), min_size=5, max_size=40), st.integers(1, 8), st.data())
def test_every_request_ends_whatever_fails(statuses: list[int], most: int, data: st.DataObject) -> None:
    """Each status is drawn: in a fixed order all of 200 could go to the requests that only ask whether it is up."""
    drawn = Random(len(statuses))
    times = data.draw(st.lists(st.sampled_from([0.1, 1.0, 70.0]), min_size=5, max_size=40))
    server = CachingServer(act=lambda _: drawn.choice(statuses), seconds=lambda number: times[number % len(times)])
    kinds = data.draw(st.integers(1, 6))
    pauses = data.draw(st.booleans())

    async def night() -> None:
        one = Run(server, most=most)
        asked = requests(40, RUBRIC + "{rubric}\n{text}", rubric=lambda number: f"{number % kinds}. {LONG}")
        task = asyncio.create_task(one.all(asked))
        if pauses:
            await asyncio.sleep(2.0)
            one.limits.pause(paused=True)
            await asyncio.sleep(LIFE_S * 1.5)
            one.limits.pause(paused=False)
        done = await asyncio.wait_for(task, 10_000_000)
        assert all(isinstance(each, Completion | RowError) for each in done)
        assert one.limits.in_flight == 0
        assert one.usd == pytest.approx(server.usd)

    if 200 in statuses:
        run(night())


@given(st.text(alphabet="ab \n", max_size=20), st.lists(st.integers(0, 20), max_size=4))
def test_parts_keep_the_text_and_are_never_blank(text: str, places: list[int]) -> None:
    ends = sorted({min(place, len(text)) for place in places})
    cut = parts(text, ends)
    assert "".join(part for part, _ in cut) == text
    if text.strip():
        assert all(part.strip() for part, _ in cut)
    places_of_marks = {sum(len(part) for part, _ in cut[: number + 1]) for number, (_, mark) in enumerate(cut) if mark}
    assert places_of_marks <= set(ends)


def test_question_that_a_second_turn_repeats_is_cached() -> None:
    ticks = count()
    cache = PromptCache(1024, lambda: float(next(ticks)))
    asked = []
    for number in range(40):
        question = Message("user", f"{number} {RUBRIC}{RUBRIC}", 0, ())
        first = Request(messages=(question,))
        asked.append(cache.prefixes(first))
        asked.append(cache.prefixes(Request(messages=(question, Message("assistant", "so"), Message("user", "now")))))
    assert not any(asked[:8])
    for first, second in zip(asked[20::2], asked[21::2], strict=True):
        assert [prefix.message for prefix in first] == [0]
        assert first[0].key == second[0].key
        assert not first[0].constant
