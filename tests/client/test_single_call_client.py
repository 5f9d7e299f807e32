"""Promise: a request that one call answers is sent, asked again and settled as any other is."""

from __future__ import annotations

import asyncio

import orjson
import pytest
from support.clock import run
from support.scripted_client import PRICE, Strict, asks
from support.transport import FakeTransport

from scorer.client.client import HttpClient
from scorer.client.endpoints import Endpoint
from scorer.client.model_terms import ModelTerms
from scorer.client.providers.openai import OpenAI
from scorer.errors import Refused
from scorer.limits import Billing
from scorer.types import Call, Reply
from scorer.usage import Spent, Usage

USAGE = {"prompt_tokens": 10, "completion_tokens": 3}
TEMPERATURE = {"error": {"message": "Unsupported value: 'temperature' does not support 0.0 with this model."}}


def answer(content: str | None, reason: str) -> Reply:
    choice = {"message": {"content": content}, "finish_reason": reason}
    return Reply(200, {}, orjson.dumps({"model": "m", "choices": [choice], "usage": USAGE}))


class Replies(FakeTransport):
    """Replies in turn, each after a second; remembers the bodies."""

    def __init__(self, *replies: Reply) -> None:
        super().__init__()
        self.replies = replies
        self.bodies: list[bytes] = []

    async def reply(self, call: Call, number: int) -> Reply:
        self.bodies.append(call.body)
        await asyncio.sleep(1.0)
        return self.replies[number]


def client(wire: Replies, limits: Strict) -> HttpClient:
    judge = OpenAI(name="m", base_url="http://h/v1", temperature=0.0)
    clock = asyncio.get_running_loop().time
    return HttpClient([Endpoint(judge, limits, single=judge)], wire, ModelTerms(PRICE, 20), retries=3, clock=clock)


def test_one_call_is_settled_at_its_usage() -> None:
    async def scenario() -> None:
        limits, wire = Strict(), Replies(answer("4", "stop"))
        done = await client(wire, limits).complete(asks())
        usage = Usage(10, 3)
        assert (done.text, done.spent) == ("4", Spent(1, 0.0, 1.0, usage, PRICE.cost_pico(usage)))
        assert [outcome.bill for outcome in limits.settled] == [Billing.KNOWN]

    run(scenario())


def test_refused_setting_is_asked_otherwise_in_the_same_attempt() -> None:
    async def scenario() -> None:
        refusal = Reply(400, {}, orjson.dumps(TEMPERATURE))
        limits, wire = Strict(), Replies(refusal, answer("4", "stop"))
        done = await client(wire, limits).complete(asks())
        assert (done.text, done.spent.attempts, done.spent.answered_s, limits.given) == ("4", 1, 2.0, 1)
        assert ["temperature" in orjson.loads(body) for body in wire.bodies] == [True, False]

    run(scenario())


def test_error_of_the_row_is_billed_and_settled_once() -> None:
    async def scenario() -> None:
        limits, wire = Strict(), Replies(answer(None, "content_filter"))
        with pytest.raises(Refused) as failed:
            await client(wire, limits).complete(asks())
        assert failed.value.spent is not None
        assert failed.value.spent.usage == Usage(10, 3)
        assert [outcome.bill for outcome in limits.settled] == [Billing.KNOWN]

    run(scenario())
