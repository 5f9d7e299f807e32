"""`read_plain`, the fast path for an ordinary reply, agrees with the full parse or returns None."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import orjson
from hypothesis import given
from hypothesis import strategies as st

from scorer.client.providers.completions import read_plain
from scorer.client.providers.openai import OpenAI
from scorer.errors import ScorerError
from scorer.types import (
    Completion,
    Reply,
)
from scorer.usage import (
    Usage,
)

ODD: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 2**60),
    st.floats(allow_nan=False),
    st.sampled_from(["", "error", "stop", "content_filter", "Score: 4", "é 😀"]),
    st.just([]),
    st.just({}),
    st.just({"message": "broken", "code": 500}),
    st.just([{"type": "text", "text": "Score: 2"}]),
)


def usually(likely: Any) -> st.SearchStrategy[Any]:
    return st.one_of(st.just(likely), st.just(likely), st.just(likely), ODD)


def table(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries({}, optional=fields)


MESSAGE = table(content=usually("Score: 4"), refusal=usually(None), role=ODD)
CHOICE = table(
    message=st.one_of(MESSAGE, MESSAGE, MESSAGE, ODD),
    finish_reason=usually("stop"),
    logprobs=usually(None),
    error=usually(None),
    text=ODD,
)
USAGE = table(
    prompt_tokens=st.one_of(usually(300), st.just(0)),
    completion_tokens=st.one_of(usually(4), st.just(0)),
    total_tokens=st.one_of(usually(304), st.integers(0, 2000)),
    prompt_tokens_details=st.one_of(table(cached_tokens=usually(128), cache_write_tokens=usually(9)), ODD),
    completion_tokens_details=st.one_of(table(reasoning_tokens=usually(3)), st.just({"reasoning_tokens": 70}), ODD),
    cache_creation_input_tokens=st.one_of(st.none(), ODD),
)
REPLY = table(
    choices=st.one_of(st.lists(CHOICE, min_size=1, max_size=2), st.lists(CHOICE, min_size=1, max_size=2), ODD),
    usage=st.one_of(USAGE, USAGE, ODD),
    model=usually("judge"),
    object=usually("chat.completion"),
    error=usually(None),
    message=ODD,
)


def outcome(reply: Reply) -> Completion | tuple[type[ScorerError], str]:
    try:
        return OpenAI(name="m", base_url="http://h/v1").read(reply)
    except ScorerError as error:
        return type(error), str(error)


@given(REPLY)
def test_read_plain_agrees_with_full_parse(value: Any) -> None:
    reply = Reply(200, {}, orjson.dumps(value))
    with patch("scorer.client.providers.openai.read_plain", lambda body: None):
        long = outcome(reply)
    assert outcome(reply) == long


@given(st.binary())
def test_read_plain_returns_none_for_any_other_bytes(body: bytes) -> None:
    assert read_plain(body) is None


def test_read_plain_reads_ordinary_reply() -> None:
    body = (
        b'{"id":"c","object":"chat.completion","model":"m-1","choices":[{"index":0,"finish_reason":"stop","logprobs":null,'
        b'"message":{"role":"assistant","content":"Score: 4","refusal":null}}],"usage":{"prompt_tokens":9,'
        b'"completion_tokens":3,"prompt_tokens_details":{"cached_tokens":4}}}'
    )
    assert read_plain(body) == Completion("Score: 4", "stop", "m-1", Usage(9, 3, 4), None, body)


def test_read_plain_returns_none_for_extreme_nesting() -> None:
    assert read_plain(b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}") is None
