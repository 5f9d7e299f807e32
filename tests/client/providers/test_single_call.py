"""Promise: a request that one call answers ends as its conversation does, whatever the server replies."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest
from golden_exchange import talk
from hypothesis import given
from hypothesis import strategies as st
from openai_talk import ASK, FORCE, answer, error, provider, reply

from scorer.client.providers.openai import OpenAI
from scorer.client.single_call import SingleCallProvider
from scorer.errors import RowError, SetupError, TransientError
from scorer.frozen import replace
from scorer.types import Call, Completion, Reply, Request

USAGE = {"prompt_tokens": 3, "completion_tokens": 1}
PLAIN = reply({**answer(), "usage": USAGE})
TEMPERATURE = reply(error("Unsupported value: 'temperature' does not support 0.0 with this model."), 400)
LIMIT = reply(error("max_tokens is not supported, use max_completion_tokens", param="max_tokens"), 400)
REPLIES = [
    PLAIN,
    reply(answer()),
    reply(answer(None, finish_reason="content_filter")),
    reply(b"<html>"),
    reply(error("broken", 500)),
    reply(error("slow down"), 429, retry_after="3"),
    reply(error("no such key"), 401),
    TEMPERATURE,
    LIMIT,
]


def went_on(conversation: Generator[Call, Reply, Completion], replies: list[Reply]) -> tuple[list[Call], Any]:
    """The calls of a conversation that is not begun, and its completion or its error."""
    calls, left = list[Call](), iter(replies)
    try:
        call = next(conversation)
        while True:
            calls.append(call)
            call = conversation.send(next(left))
    except StopIteration as done:
        return calls, done.value
    except (RowError, TransientError, SetupError) as failed:
        return calls, failed


def talk_singly(judge: OpenAI, request: Request, replies: list[Reply]) -> tuple[list[Call], Any]:
    """As `talk`, by the way of a single call."""
    call = judge.single_call(request)
    assert call is not None
    done = judge.single_completion(replies[0])
    if done is not None:
        return [call], done
    calls, result = went_on(judge.go_on(request, call.learned, replies[0]), replies[1:])
    return [call, *calls], result


@given(st.lists(st.sampled_from(REPLIES), max_size=4))
def test_single_call_ends_as_the_conversation_does(replies: list[Reply]) -> None:
    by_call, by_conversation = provider(temperature=0.0), provider(temperature=0.0)
    calls, result = talk_singly(by_call, ASK, [*replies, PLAIN, PLAIN, PLAIN])
    expected_calls, expected = talk(by_conversation, ASK, [*replies, PLAIN, PLAIN, PLAIN])
    assert [call.body for call in calls] == [call.body for call in expected_calls]
    assert (type(result), str(result)) == (type(expected), str(expected))
    assert repr(by_call) == repr(by_conversation)
    assert by_call.learned.places == by_conversation.learned.places


def test_refusals_of_requests_that_were_out_together_move_a_setting_on_once() -> None:
    judge, said = provider(temperature=0.0, reasoning="none"), list[str]()
    judge.learned.tell = said.append
    calls = [judge.single_call(ASK) for _ in range(3)]
    refusal = reply(error("reasoning_effort is not supported"), 400)
    for call in calls:
        assert call is not None
        again, result = went_on(judge.go_on(ASK, call.learned, refusal), [PLAIN])
        assert isinstance(result, Completion)
        assert len(again) == 1
    assert judge.learned.places == (0, 1, 0, 0)
    assert len(said) == 1


@pytest.mark.parametrize(
    "request_", [replace(ASK, choices=2), replace(ASK, schema={"type": "object"}), FORCE], ids=["n", "schema", "forced"]
)
def test_what_one_call_may_not_answer_is_a_conversation(request_: Request) -> None:
    assert provider().single_call(request_) is None


def test_reply_of_another_tier_is_read_by_the_conversation() -> None:
    assert provider(tier="flex").single_call(ASK) is None


def test_class_that_reads_otherwise_is_asked_by_its_conversation() -> None:
    class Odd(OpenAI):
        def read(self, reply: Reply, path: str = "") -> Completion:
            return Completion("odd")

    assert Odd(name="m", base_url="http://h/v1").single_call(ASK) is None
    assert isinstance(provider(), SingleCallProvider)
