"""Promise: pauses after 429s grow whatever the server asks for; a used-up quota is not retried before it renews."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.clock import nothing, now, run
from support.transport import FakeTransport

from scorer.client.client import HttpClient
from scorer.client.endpoints import Endpoint
from scorer.client.model_terms import ModelTerms
from scorer.client.providers.openai import OpenAI
from scorer.errors import SetupError
from scorer.files.local_files import LocalFiles
from scorer.limits import Budget, LocalLimiter, RateLimits
from scorer.limits.cooldown import LONGEST_S, QUOTAS, Cooldown
from scorer.output.ledger import Ledger
from scorer.types import Call, Message, Reply, Request

GOOD = (
    b'{"choices": [{"message": {"content": "4"}, "finish_reason": "stop"}],'
    b'"usage": {"prompt_tokens": 9, "completion_tokens": 1}}'
)
LATER = b'{"error": {"message": "Rate limit reached on tokens per day (TPD): Limit 100000.", "type": "tokens"}}'


class Judge(FakeTransport):
    """A transport that answers 429 with these headers until `ends_s`, then well."""

    def __init__(self, headers: Mapping[str, str], ends_s: float, body: bytes = b"{}", status: int = 429) -> None:
        super().__init__()
        self._reply = Reply(status, headers, body)
        self._ends_s = ends_s

    async def reply(self, call: Call, number: int) -> Reply:
        await asyncio.sleep(0.01)
        return self._reply if now() < self._ends_s else Reply(200, {}, GOOD)


def client(judge: Judge, limits: LocalLimiter) -> HttpClient:
    return HttpClient(
        [Endpoint(OpenAI(name="m", base_url="http://judge/v1"), limits)],
        judge,
        ModelTerms(None, 8),
        retries=6,
        clock=now,
    )


def local() -> LocalLimiter:
    ledger = Ledger(LocalFiles(), "never-written", "me", offload=nothing, strict=False)
    return LocalLimiter(RateLimits(concurrency=16), Budget(ledger))


async def asked(judge: Judge, rows: int = 40) -> None:
    limits = local()
    one = client(judge, limits)
    async with asyncio.TaskGroup() as group:
        for number in range(rows):
            group.create_task(one.complete(Request(messages=(Message("user", f"row {number}"),))))


WISHES = [
    {"retry-after": "0"},
    {"retry-after": "-5"},
    {"retry-after": "nan"},
    {"retry-after": "1e-300"},
    {"retry-after-ms": "0"},
    {"retry-after": "Thu, 01 Jan 1970 00:00:00 GMT", "date": "Fri, 27 Nov 2026 10:00:00 GMT"},
    {"retry-after": "Fri, 27 Nov 2026 10:00:00 GMT", "date": "Fri, 27 Nov 2026 10:00:00 GMT"},
    {},
]


@pytest.mark.parametrize("headers", WISHES, ids=str)
def test_cooldown_honours_zero_retry_after_only_once(headers: dict[str, str]) -> None:
    judge = Judge(headers, 600.0)
    run(asked(judge))
    bursts = len([t for t in judge.sent_at if t < 600.0]) / 16
    assert bursts <= 2 + 600 / LONGEST_S + 6, "1, 2, 4 ... 60 s apart"
    assert max(judge.sent_at) < 600.0 + 2 * LONGEST_S, "it goes on once it is over"


def test_cooldown_caps_absurd_retry_after_at_one_minute() -> None:
    judge = Judge({"retry-after": "1e308"}, 30.0)
    run(asked(judge))
    assert 60.0 <= max(judge.sent_at) < 62.0


def test_cooldown_waits_for_retry_after_longer_than_own_pause() -> None:
    judge = Judge({"retry-after": "20"}, 50.0)
    run(asked(judge, rows=4))
    assert sorted({round(at) for at in judge.sent_at}) == [0, 20, 40, 60]


def test_cooldown_keeps_429_streak_on_answer_to_request_sent_earlier() -> None:
    cooldown = Cooldown()
    assert cooldown.throttled(sent_at=1.0, now=2.0, wish_s=0.0)
    cooldown.answered(sent_at=1.5)
    assert cooldown.throttled(sent_at=3.0, now=4.0, wish_s=0.0)
    assert cooldown.until == 4.0 + 1.0  # not 4.0: of the second in a row the wish is not believed
    cooldown.answered(sent_at=7.0)
    assert cooldown.throttled(sent_at=8.0, now=9.0, wish_s=0.0)
    assert cooldown.until == 9.0


@settings(max_examples=100)
@given(st.lists(st.none() | st.floats(0, 600), min_size=2, max_size=30))
def test_cooldown_pauses_of_consecutive_429s_are_never_shorter_than_backoff(wishes: list[float | None]) -> None:
    cooldown, at = Cooldown(), 1.0
    for number, wish in enumerate(wishes):
        assert cooldown.throttled(sent_at=at, now=at, wish_s=wish)
        pause = cooldown.until - at
        own = min(LONGEST_S, 2.0**number)
        if number:
            assert own - 1e-6 <= pause <= max(own, min(wish or 0.0, LONGEST_S)) + 1e-6
        at = max(at, cooldown.until) + 0.01


# --- a quota for a day ------------------------------------------------------------------------------------------------


def test_cooldown_waits_for_daily_quota_as_long_as_retry_after() -> None:
    judge = Judge({"retry-after": "18000"}, 17_000.0, LATER)
    run(asked(judge))
    assert len([at for at in judge.sent_at if at < 17_000.0]) == 16
    assert 18_000 < min(at for at in judge.sent_at if at > 1.0) < 18_002


def test_cooldown_ends_run_when_quota_does_not_renew_as_announced() -> None:
    judge = Judge({"retry-after": "37"}, 1e9, LATER)
    with pytest.raises(ExceptionGroup) as caught:
        run(asked(judge))
    assert all(isinstance(error, SetupError) and "had not renewed" in str(error) for error in caught.value.exceptions)
    assert len({round(at) for at in judge.sent_at}) == QUOTAS


def test_cooldown_ends_run_at_once_on_quota_without_renewal_time() -> None:
    judge = Judge({}, 1e9, LATER)
    with pytest.raises(ExceptionGroup) as caught:
        run(asked(judge))
    assert all("does not say when it renews" in str(error) for error in caught.value.exceptions)
    assert max(judge.sent_at) == 0.0


def test_http_client_uses_other_endpoint_when_quota_of_one_is_used_up() -> None:
    async def scenario() -> None:
        spent, good = Judge({"retry-after": "18000"}, 1e9, LATER), Judge({}, 0.0)

        class Both(FakeTransport):
            async def reply(self, call: Call, number: int) -> Reply:
                return await (spent if "spent" in call.url else good).post(call)

        one = HttpClient(
            [Endpoint(OpenAI(name="m", base_url=f"http://{name}/v1"), local()) for name in ("spent", "good")],
            Both(),
            ModelTerms(None, 8),
            retries=6,
            clock=now,
        )
        async with asyncio.TaskGroup() as group:
            for number in range(60):
                group.create_task(one.complete(Request(messages=(Message("user", f"row {number}"),))))
        assert now() < 60.0
        assert len(spent.sent_at) <= 16

    run(scenario())


@given(st.lists(st.floats(0.001, 0.5), min_size=2, max_size=40), st.sampled_from([None, 0.0, 1.0]))
def test_cooldown_pauses_do_not_grow_while_part_of_burst_is_answered(at: list[float], wish_s: float | None) -> None:
    """A few 429s among many answers are no row of 429s: at a share of 2 % a burst of 128 would always hold one."""
    cooldown, clock = Cooldown(), 0.0
    for late in at:
        sent = clock
        assert cooldown.throttled(sent, sent + 0.01, wish_s)
        cooldown.answered(sent)
        assert cooldown.until - (sent + 0.01) <= 1.0 + 1e-9
        clock = cooldown.until + late
    for _ in range(8):  # nothing is answered any more
        assert cooldown.throttled(clock, clock, wish_s)
        clock = cooldown.until + 0.01
    assert cooldown._own_s == LONGEST_S
