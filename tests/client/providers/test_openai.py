"""The OpenAI provider: golden bytes of each dialect; every reply is a completion or a typed error.

Over 300 lines: most of them are tables of replies.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from golden_exchange import check, talk
from hypothesis import given, settings
from hypothesis import strategies as st
from openai_talk import ASK, DIALECTS, FORCE, OURS, answer, error, outcome, provider, reply
from support.any_body import any_body

from scorer.client.providers import PROVIDERS
from scorer.client.providers.openai import OpenAI
from scorer.client.request_body import asked_output
from scorer.errors import (
    Refused,
    Rejected,
    RowError,
    ScorerError,
    ServerFault,
    SetupError,
    Throttled,
    TooLong,
    TransientError,
)
from scorer.types import (
    Completion,
    Reply,
    Request,
)
from scorer.usage import (
    Usage,
)

# --- golden bytes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.stem)
def test_openai_matches_golden_bytes(path: Path) -> None:
    check(path, OpenAI, {"content-type": "application/json"})


def test_openai_has_golden_bytes_of_every_dialect() -> None:
    assert {path.name.split("_")[0] for path in OURS} == set(DIALECTS)


def test_openai_is_registered() -> None:
    assert PROVIDERS["openai"] == f"{OpenAI.__module__}:{OpenAI.__qualname__}"


# --- what is sent -----------------------------------------------------------------------------------------------------


def sent(judge: OpenAI, request: Request = ASK) -> dict[str, Any]:
    return dict(orjson.loads(next(judge.converse(request)).body))


@pytest.mark.parametrize(
    ("name", "limit"),
    [
        ("gpt-4o-mini", "max_tokens"),
        ("o1", "max_completion_tokens"),
        ("o3-mini", "max_completion_tokens"),
        ("openai/o4-mini-2025-04-16", "max_completion_tokens"),
        ("gpt-5-nano", "max_completion_tokens"),
        ("ft:o4-mini-2025-04-16:org::id", "max_completion_tokens"),
        ("ft:gpt-4o-mini:o3-org::id", "max_tokens"),
        ("gpt-5.1", "max_completion_tokens"),
        ("o100-llama", "max_tokens"),
        ("foo3-mini", "max_tokens"),
    ],
)
def test_openai_names_output_limit_by_model_family(name: str, limit: str) -> None:
    body = sent(provider(name=name, max_output_tokens=9))
    assert body == {"model": name, "messages": [{"role": "user", "content": "Grade it."}], limit: 9}


def test_openai_extra_wins_and_replaces_output_limit_under_either_name() -> None:
    judge = provider(temperature=0.0, extra={"temperature": 1, "max_completion_tokens": 99, "top_p": 0.5})
    body = sent(judge)
    assert (body["temperature"], body["max_completion_tokens"], body["top_p"]) == (1, 99, 0.5)
    assert "max_tokens" not in body


def test_openai_request_settings_win_over_model_settings_even_at_zero() -> None:
    body = sent(
        provider(temperature=0.7, max_output_tokens=9), Request(ASK.messages, temperature=0.0, max_output_tokens=1)
    )
    assert (body["temperature"], body["max_tokens"]) == (0.0, 1)


@pytest.mark.parametrize(
    ("options", "known"),
    [
        ({}, True),
        ({"name": "o3"}, True),
        ({"reasoning": "low", "base_url": "https://openrouter.ai/api/v1"}, False),
        ({"extra": {"max_tokens": 9}}, False),
        ({"extra": {"n": 3}}, False),
        ({"extra": {"options": {"num_predict": 900}}}, False),
    ],
)
def test_openai_call_says_the_output_that_its_body_asks_for(options: dict[str, Any], known: bool) -> None:
    for request in (ASK, replace(ASK, max_output_tokens=5, choices=4)):
        call = next(provider(**options).converse(request))
        assert call.output == (asked_output(call.body) if known else None)


def test_openai_remembers_renamed_output_limit_and_retries_once() -> None:
    refusal = reply(error("Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."), 400)
    judge = provider()
    calls, result = talk(judge, ASK, [refusal, refusal])
    assert [b"max_completion_tokens" in call.body for call in calls] == [False, True]
    assert isinstance(result, Rejected)
    assert "max_completion_tokens" in sent(judge)


def test_openai_returns_to_max_tokens_for_older_servers() -> None:
    forbidden = {
        "type": "extra_forbidden",
        "loc": ["body", "max_completion_tokens"],
        "msg": "Extra inputs are not permitted",
    }
    judge = provider(name="o1-lookalike")
    calls, result = talk(judge, ASK, [reply({"detail": [forbidden]}, 422), reply(answer())])
    assert isinstance(result, Completion)
    assert "max_tokens" in orjson.loads(calls[1].body)


def test_openai_does_not_rename_output_limit_that_is_too_large() -> None:
    message = (
        "'max_tokens' or 'max_completion_tokens' is too large: 9. This model's maximum context length is 8 tokens."
    )
    calls, result = talk(provider(), ASK, [reply(error(message), 400)])
    assert len(calls) == 1
    assert isinstance(result, TooLong)


def test_openai_shows_no_secret() -> None:
    key = "sk-very-secret-0123"
    judge = provider(headers={"authorization": f"Bearer {key}"}, query={"api-key": "query-secret"})
    call = next(judge.converse(ASK))
    _, failure = talk(judge, ASK, [reply(error(f"Bad key {key} or query-secret."), 401)])
    assert call.headers["authorization"].endswith(key)
    for shown in (repr(judge), repr(call).replace(call.url, ""), str(failure)):
        assert key not in shown
        assert "query-secret" not in shown


# --- what is read -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("Score: 4", "Score: 4"),
        (None, ""),
        ([{"type": "text", "text": "Sco"}, {"type": "image_url"}, {"type": "text", "text": "re: 4"}], "Score: 4"),
        ([{"type": "thinking", "text": "2?"}, {"type": "text", "text": "4"}], "4"),
    ],
)
def test_openai_reads_content_in_every_shape(content: Any, text: str) -> None:
    result = outcome(answer(content))
    assert isinstance(result, Completion)
    assert result.text == text


@pytest.mark.parametrize(
    ("status", "billed", "if_late"),
    [
        (408, True, False),
        *((status, False, False) for status in (409, 425, 500, 501, 503, 529)),
        *((status, True, True) for status in (502, 504, *range(520, 528))),
    ],
)
def test_openai_gateway_error_may_be_billed_if_late(status: int, billed: bool, if_late: bool) -> None:
    error = outcome({"error": {"message": "no"}}, status)
    assert isinstance(error, TransientError)
    assert (error.billed, error.if_late) == (billed, if_late)


@pytest.mark.parametrize(
    ("choice", "kind"),
    [
        ({"message": {"content": 7}}, ServerFault),
        ({"message": {"content": ""}, "error": {"code": 502, "message": "upstream"}}, ServerFault),
        ({"message": {"content": ""}, "error": {"code": 429, "message": "slow"}}, Throttled),
        ({"message": {"content": None, "refusal": "no"}}, Refused),
    ],
)
@pytest.mark.parametrize("choices", [1, 3])
def test_openai_error_carries_usage_of_unusable_reply(choice: Any, kind: type[ScorerError], choices: int) -> None:
    body = {"choices": [choice] * choices, "usage": {"prompt_tokens": 30, "completion_tokens": 2, "total_tokens": 50}}
    error = talk(provider(), Request(messages=ASK.messages, choices=choices), [reply(body)])[1]
    if isinstance(error, Completion):  # of several choices some may be refused
        assert error.usage == Usage(30, 20)
        return
    assert type(error) is kind
    assert (error.usage, error.billed) == (Usage(30, 20), True)  # type: ignore[attr-defined]


THREE_AND_TWO = {"prompt_tokens": 3, "completion_tokens": 2}


@pytest.mark.parametrize(
    ("usage", "read"),
    [
        (None, None),
        ({}, None),
        ({"prompt_tokens": 3}, None),
        ({"prompt_tokens": -1, "completion_tokens": 2}, None),
        ({"prompt_tokens": True, "completion_tokens": 2}, None),
        ({"prompt_tokens": 3.0, "completion_tokens": 2}, None),
        ({"prompt_tokens": 2**60, "completion_tokens": 2}, None),
        ({"prompt_tokens": 3, "completion_tokens": 2}, Usage(3, 2, 0)),
        ({"prompt_tokens": 3, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 2}}, Usage(3, 2, 2)),
        ({"prompt_tokens": 3, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 9}}, Usage(3, 2, 3)),
        ({"prompt_tokens": 3, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": "x"}}, Usage(3, 2, 0)),
        # Less than is billed: no prompt for a prompt, no reply for a text.
        ({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}, None),
        ({"prompt_tokens": 0, "completion_tokens": 2}, None),
        ({"prompt_tokens": 3, "completion_tokens": 0}, None),
        ({"prompt_tokens": 3, "completion_tokens": 0, "total_tokens": 3}, None),
        # Thoughts that stand in the total alone (Gemini through a gateway), or beside what was generated (xAI).
        ({"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 90}, Usage(3, 87)),
        ({"prompt_tokens": 3, "total_tokens": 90}, Usage(3, 87)),
        ({"prompt_tokens": 3, "completion_tokens": 0, "total_tokens": 90}, Usage(3, 87)),
        ({**THREE_AND_TWO, "completion_tokens_details": {"reasoning_tokens": 85}}, Usage(3, 87, reasoning_tokens=85)),
        ({**THREE_AND_TWO, "completion_tokens_details": {"reasoning_tokens": 1}}, Usage(3, 2, reasoning_tokens=1)),
        # A total that says less, or nothing that can be read, takes nothing away.
        ({"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 1}, Usage(3, 2)),
        ({"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": "x"}, Usage(3, 2)),
        ({"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": -7}, Usage(3, 2)),
        # A part that is missing follows from the total; one that makes no sense does not.
        ({"completion_tokens": 2, "total_tokens": 5}, Usage(3, 2)),
        ({"completion_tokens": 5, "total_tokens": 5}, None),
        ({"total_tokens": 5}, None),
        ({"prompt_tokens": -1, "completion_tokens": 2, "total_tokens": 5}, None),
        ({"prompt_tokens": 3, "completion_tokens": "2", "total_tokens": 5}, None),
        ("3", None),
        # Tokens written to a cache, as OpenRouter and LiteLLM tell them.
        ({**THREE_AND_TWO, "prompt_tokens_details": {"cache_write_tokens": 2}}, Usage(3, 2, 0, 2)),
        ({**THREE_AND_TWO, "cache_creation_input_tokens": 2}, Usage(3, 2, 0, 2)),
    ],
)
def test_openai_reads_usage_whole_or_not_at_all(usage: Any, read: Usage | None) -> None:
    result = outcome(answer() | {"usage": usage})
    assert isinstance(result, Completion)
    assert result.usage == read


ODD = st.none() | st.booleans() | st.integers(-3, 2**60) | st.floats(allow_nan=False) | st.text(max_size=3)
COUNT = st.integers(0, 500) | ODD


@given(
    usage=st.fixed_dictionaries(
        {},
        optional={
            "prompt_tokens": COUNT,
            "completion_tokens": COUNT,
            "total_tokens": COUNT,
            "prompt_tokens_details": ODD | st.fixed_dictionaries({}, optional={"cached_tokens": COUNT}),
            "completion_tokens_details": ODD | st.fixed_dictionaries({}, optional={"reasoning_tokens": COUNT}),
        },
    )
)
@settings(max_examples=100)
def test_openai_usage_is_never_below_any_of_its_parts(usage: dict[str, Any]) -> None:
    result = outcome(answer() | {"usage": usage})
    assert isinstance(result, Completion)
    if (read := result.usage) is not None:
        assert read.prompt_tokens > 0
        assert read.completion_tokens > 0
        assert 0 <= read.cached_tokens <= read.prompt_tokens
        for name, least in (("prompt_tokens", read.prompt_tokens), ("completion_tokens", read.completion_tokens)):
            found = usage.get(name)
            assert type(found) is not int or found <= least
        total = usage.get("total_tokens")
        assert type(total) is not int or total > 2**53 or total <= read.prompt_tokens + read.completion_tokens


def test_openai_ignores_usage_that_counts_no_tokens_of_choices() -> None:
    body = answer() | {"usage": {"prompt_tokens": 3, "completion_tokens": 0}}
    result = talk(provider(), Request(messages=ASK.messages, choices=2), [reply(body)])[1]
    assert isinstance(result, Completion)
    assert (result.usage, len(result.choices)) == (None, 1)


@pytest.mark.parametrize(
    ("shape", "tokens"),
    [
        (None, None),
        ({"content": None}, None),
        ({"content": [{"token": "4", "logprob": -1}]}, [("4", -1.0, ())]),
        (
            [{"text": "4", "logprob": -1.5, "top_logprobs": [{"text": "5", "logprob": -1}]}],
            [("4", -1.5, (("5", -1.0),))],
        ),
        ({"content": [{"token": "4", "logprob": -1}, {"token": "5", "logprob": None}]}, None),
        (
            {"tokens": ["4", "."], "token_logprobs": [-1.5, -2], "top_logprobs": [{"5": -3, "4": -1.5}, None]},
            [("4", -1.5, (("4", -1.5), ("5", -3.0))), (".", -2.0, ())],
        ),
        ({"tokens": ["4", "."], "token_logprobs": [-1.5]}, None),
        ({"tokens": ["4"], "token_logprobs": [None]}, None),
    ],
)
def test_openai_reads_logprobs_in_every_shape(shape: Any, tokens: Any) -> None:
    result = outcome(answer(logprobs=shape))
    assert isinstance(result, Completion)
    assert (result.logprobs and [(t.token, t.logprob, t.top) for t in result.logprobs]) == tokens


# --- who is at fault --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (200, b"<html>gateway</html>", ServerFault),
        (200, b"", ServerFault),
        (200, b'{"choices": [{"message": {"content": "Sco', ServerFault),
        (200, {"choices": []}, ServerFault),
        (200, answer(content=7), ServerFault),
        (200, error("try later"), ServerFault),
        (200, error("no money", "insufficient_quota"), SetupError),
        (200, error("no such model", "model_not_found"), SetupError),
        (200, error("long", "context_length_exceeded"), TooLong),
        (200, answer("", finish_reason="content_filter"), Refused),
        (301, b"", SetupError),
        (400, error("Invalid value for 'seed'."), Rejected),
        (400, error("The model `x` does not exist"), SetupError),
        (400, error("x is not a valid model ID"), SetupError),
        (400, error("Your credit balance is too low"), SetupError),
        (400, error("prompt is too long: 9 tokens > 8 maximum"), TooLong),
        (400, error("x", 400, type="exceed_context_size_error"), TooLong),
        (401, b"", SetupError),
        (402, b"", SetupError),
        (403, b"<html>Forbidden</html>", SetupError),
        (404, b"", SetupError),
        (405, b"", SetupError),
        (408, b"", ServerFault),
        (409, b"", ServerFault),
        (413, b"", TooLong),
        (418, b"", Rejected),
        (422, error("the request exceeds the available context size"), TooLong),
        (425, b"", ServerFault),
        (429, b"", Throttled),
        (
            429,
            error("Add a payment method at https://h/account/billing to go faster", "rate_limit_exceeded"),
            Throttled,
        ),
        (429, error("Request too large for m on tokens per min (TPM): Limit 9, Requested 10."), TooLong),
        (500, b"<html>oops</html>", ServerFault),
        (503, error("Loading model"), ServerFault),
        (529, b"", ServerFault),
    ],
)
def test_openai_types_errors_by_status_and_body(status: int, body: Any, kind: type[ScorerError]) -> None:
    result = outcome(body, status)
    assert type(result) is kind
    assert "<html>" not in str(result)


@pytest.mark.parametrize(("status", "billed"), [(200, True), (408, True), (429, False), (500, False), (529, False)])
def test_openai_marks_errors_that_may_have_been_billed(status: int, billed: bool) -> None:
    result = outcome(b"", status)
    assert isinstance(result, TransientError)
    assert result.billed is billed


def test_openai_cuts_error_detail_at_500_characters() -> None:
    result = outcome(error("no " * 1_000_000), 400)
    assert isinstance(result, Rejected)
    assert len(result.detail) == 500


def test_openai_setup_error_names_setting_to_change() -> None:
    assert "http://h/v1 does not accept the key: check the key of api_key_env or api_key_command" in str(
        outcome(b"", 401)
    )
    assert "Check model.base_url (http://h/v1) and model.name" in str(outcome(b"", 404))
    assert "redirects (307) to https://h/v1; write" in str(outcome(b"", 307, location="https://h/v1"))
    assert "answered 304: no message. Check model.base_url (http://h/v1)." in str(outcome(b"", 304))


# --- any bytes --------------------------------------------------------------------------------------------------------


BODIES = [one["reply"]["body"].encode() for path in OURS for one in orjson.loads(path.read_bytes())["exchange"]]
STATUSES = st.sampled_from([200, 200, 200, 204, 301, 400, 401, 404, 422, 429, 500, 599])
ANY_BODY = any_body(BODIES)


@settings(max_examples=25, deadline=None)
@given(
    replies=st.lists(st.builds(Reply, STATUSES, st.just({}), ANY_BODY), min_size=6, max_size=6),
    dialect=st.sampled_from(["auto", "openai", "vllm", "llamacpp"]),
)
def test_openai_reads_any_bytes_as_completion_or_typed_error(replies: list[Reply], dialect: Any) -> None:
    for request in (ASK, FORCE):
        _, result = talk(provider(dialect=dialect), request, replies)
        if isinstance(result, Completion):
            assert isinstance(result.text, str)
            assert all(isinstance(one.logprob, float) for one in result.logprobs or ())
        else:
            assert isinstance(result, RowError | TransientError | SetupError)
