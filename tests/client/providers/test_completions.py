"""Promise: choices of one request are what separate requests would have brought, and their prompt is paid once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scorer.client.providers.openai import OpenAI
from scorer.errors import Refused, Rejected, ScorerError, ServerFault, SetupError, TooLong
from scorer.types import (
    Completion,
    Message,
    Reply,
    Request,
)
from scorer.usage import (
    Usage,
)

MESSAGES = (Message("user", "Grade it."),)
THREE = Request(messages=MESSAGES, choices=3, seed=4)
USAGE = {"prompt_tokens": 9, "completion_tokens": 6}


def provider(**keywords: Any) -> OpenAI:
    return OpenAI(**{"name": "m", "base_url": "http://h/v1"} | keywords)


def talk(judge: OpenAI, request: Request, *replies: Reply) -> tuple[list[dict[str, Any]], Completion | ScorerError]:
    """The bodies sent and what came of them."""
    conversation = judge.converse(request)
    bodies, waiting = [orjson.loads(next(conversation).body)], iter(replies)
    try:
        while True:
            bodies.append(orjson.loads(conversation.send(next(waiting)).body))
    except StopIteration as end:
        return bodies, end.value
    except ScorerError as error:
        return bodies, error


def reply(body: Any, status: int = 200) -> Reply:
    return Reply(status, {}, body if isinstance(body, bytes) else orjson.dumps(body))


def answer(*contents: Any) -> Reply:
    choices = [{"index": place, "message": {"content": text}} for place, text in enumerate(contents)]
    return reply({"model": "m", "choices": choices, "usage": USAGE})


def texts(answers: Iterable[Any]) -> list[Any]:
    return [one.text if isinstance(one, Completion) else one.name for one in answers]


def test_choices_are_requested_by_n_and_billed_once() -> None:
    bodies, whole = talk(provider(), THREE, answer("1", "2", "3"))
    assert bodies[0]["n"] == 3
    assert isinstance(whole, Completion)
    assert (texts(whole.choices), whole.usage) == (["1", "2", "3"], Usage(9, 6))
    assert [one.usage for one in whole.choices if isinstance(one, Completion)] == [None] * 3
    assert "n" not in talk(provider(), Request(messages=MESSAGES), answer("1"))[0][0]


def test_choice_body_is_reply_with_that_choice_alone() -> None:
    _, whole = talk(provider(), THREE, answer("1", "2", "3"))
    assert isinstance(whole, Completion)
    kept = [one.body for one in whole.choices if isinstance(one, Completion)]
    again = [talk(provider(), Request(messages=MESSAGES), reply(body))[1] for body in kept]
    assert texts(again) == ["1", "2", "3"]
    # Whoever adds up the bills of stored replies finds each once.
    assert ["usage" in orjson.loads(body) for body in kept] == [True, False, False]


def test_choices_beyond_those_requested_are_dropped() -> None:
    _, whole = talk(provider(), THREE, answer("1", "2", "3", "4"))
    assert isinstance(whole, Completion)
    assert texts(whole.choices) == ["1", "2", "3"]


def test_choices_drop_unreadable_and_return_refused_as_errors() -> None:
    choices = [
        {"message": {"content": "1"}},
        "no choice",
        {"message": {"content": 7}},
        {"error": {"message": "upstream"}, "message": {"content": ""}},
        {"message": {"content": None}, "finish_reason": "content_filter"},
    ]
    _, whole = talk(provider(), Request(messages=MESSAGES, choices=5), reply({"choices": choices, "usage": USAGE}))
    assert isinstance(whole, Completion)
    assert texts(whole.choices) == ["1", "Refused"]


def test_choices_all_refused_still_report_usage() -> None:
    refused = {"message": {"content": None, "refusal": "no"}}
    _, whole = talk(provider(), THREE, reply({"choices": [refused] * 3, "usage": USAGE}))
    assert isinstance(whole, Completion)
    assert (texts(whole.choices), whole.usage) == (["Refused"] * 3, Usage(9, 6))


@pytest.mark.parametrize("status", [400, 422])
@pytest.mark.parametrize(
    "complaint",
    [
        {"message": "Unsupported value: 'n'", "param": "n", "code": "unsupported_value"},
        {"message": "n must be 1 when using greedy sampling, got 3."},
        {"message": "The model `m` does not exist"},
    ],
)
def test_choices_complaint_that_may_concern_n_rejects_only_request(status: int, complaint: Any) -> None:
    bodies, error = talk(provider(), THREE, reply({"error": complaint}, status))
    assert (len(bodies), type(error)) == (1, Rejected)
    # Asked alone, the same words are whose fault they are.
    _, alone = talk(provider(), Request(messages=MESSAGES), reply({"error": complaint}, status))
    assert type(alone) is (Rejected if "greedy" in complaint["message"] else SetupError)


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        ({"error": {"message": "maximum context length is 9", "code": "context_length_exceeded"}}, 400, TooLong),
        ({"error": {"message": "filtered", "code": "content_filter"}}, 400, Refused),
        ({"error": {"message": "no such key"}}, 401, SetupError),
        ({"error": {"message": "later"}}, 503, ServerFault),
        ({"choices": [{"message": {"content": 7}}]}, 200, ServerFault),
    ],
)
def test_choices_complaint_unrelated_to_n_keeps_its_error_type(body: Any, status: int, kind: type[ScorerError]) -> None:
    assert type(talk(provider(), THREE, reply(body, status))[1]) is kind


def test_choices_keep_renamed_output_limit() -> None:
    renamed = {"message": "'max_tokens' is not supported", "param": "max_tokens", "code": "unsupported_parameter"}
    bodies, whole = talk(provider(), THREE, reply({"error": renamed}, 400), answer("1", "2", "3"))
    assert [(body["n"], "max_completion_tokens" in body) for body in bodies] == [(3, False), (3, True)]
    assert isinstance(whole, Completion)


CONTENTS = st.none() | st.text(max_size=9) | st.integers() | st.lists(st.text(max_size=3), max_size=2)


@settings(max_examples=30, deadline=None)
@given(st.lists(CONTENTS, min_size=1, max_size=5), st.integers(2, 6))
def test_choices_equal_separate_requests(contents: list[Any], wanted: int) -> None:
    alone = [talk(provider(), Request(messages=MESSAGES), answer(content))[1] for content in contents[:wanted]]
    readable = [one for one in alone if not isinstance(one, ServerFault)]
    _, whole = talk(provider(), Request(messages=MESSAGES, choices=wanted), answer(*contents))
    if not readable:
        assert isinstance(whole, ServerFault)
        return
    assert isinstance(whole, Completion)
    assert texts(whole.choices) == texts(readable)
