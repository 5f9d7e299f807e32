"""Promise: a setting that a server refuses is asked in its next form, for all later requests too, and reported once."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from golden_exchange import talk
from hypothesis import given
from hypothesis import strategies as st

from scorer.client.providers.anthropic import Anthropic
from scorer.client.providers.openai import OpenAI
from scorer.client.providers.reasoning import (
    TOKENS,
    anthropic_forms,
    openai_forms,
    reasons_by_itself,
    room_for,
    style_of,
)
from scorer.errors import Rejected, RowError, SetupError, SpecError, TooLong, TransientError
from scorer.types import Completion, Message, Reply, Request

SCHEMA = {"type": "object", "properties": {"score": {"type": "integer"}}, "required": ["score"]}
ASK = Request(messages=(Message("user", "Grade it."),), temperature=0.0, schema=SCHEMA)
OK = Reply(200, {}, b'{"model": "m", "choices": [{"message": {"content": "4"}, "finish_reason": "stop"}]}')


def openai(**options: Any) -> OpenAI:
    return OpenAI(**{"name": "m", "base_url": "http://h/v1", **options})


def refused(message: str, status: int = 400) -> Reply:
    return Reply(status, {}, orjson.dumps({"error": {"message": message}}))


def sent(judge: OpenAI | Anthropic, request: Request = ASK) -> dict[str, Any]:
    return dict(orjson.loads(next(judge.converse(request)).body))


TEMPERATURE = refused("Unsupported value: 'temperature' does not support 0.0 with this model.")
FORMAT = refused("response_format.type must be text or json_object")


def test_learned_remembers_refused_settings_and_reports_them_once() -> None:
    judge, said = openai(), list[str]()
    judge.learned.tell = said.append
    calls, result = talk(judge, ASK, [TEMPERATURE, FORMAT, OK])
    assert isinstance(result, Completion)
    assert len(calls) == 3
    body = sent(judge)
    assert "temperature" not in body
    assert body["response_format"] == {"type": "json_object"}
    assert said == [
        "model.temperature is refused (Unsupported value: 'temperature' does not support 0.0 with this model): it is "
        "left out from now on.",
        'The JSON schema of judge.read = "json" is refused (response_format.type must be text or json_object): another '
        "form is tried.",
    ]


def test_learned_advances_once_for_requests_refused_together() -> None:
    judge, said = openai(), list[str]()
    judge.learned.tell = said.append
    conversations = [judge.converse(ASK) for _ in range(4)]
    for one in conversations:
        next(one)
    second = [orjson.loads(one.send(FORMAT).body)["response_format"] for one in conversations]
    assert second == [{"type": "json_object"}] * 4
    assert len(said) == 1


def test_learned_ignores_complaint_about_setting_not_sent() -> None:
    plain = Request(messages=ASK.messages)
    calls, result = talk(openai(), plain, [TEMPERATURE])
    assert (len(calls), isinstance(result, RowError | SetupError)) == (1, True)


@pytest.mark.parametrize(
    "reply",
    [
        refused("This model's maximum context length is 8 tokens. However, your schema is longer."),
        refused("no such model: schema-1 does not exist", 404),
        refused("temperature must be at most 1."),
        refused("Rate limit reached: response_format is not supported at this rate.", 429),
    ],
)
def test_learned_ignores_unrelated_complaints(reply: Reply) -> None:
    judge = openai()
    judge.learned.schema.proven = True
    calls, result = talk(judge, ASK, [reply])
    assert len(calls) == 1
    assert isinstance(result, Rejected | TooLong | SetupError | TransientError)
    assert judge.learned.places == (0, 0, 0, 0)


def test_learned_retries_once_without_schema_on_unclear_refusal() -> None:
    judge, said = openai(), list[str]()
    judge.learned.tell = said.append
    odd = refused("bad request")
    assert isinstance(talk(judge, ASK, [odd, odd])[1], Rejected)  # it was not the schema
    assert "response_format" in sent(judge)
    assert isinstance(talk(judge, ASK, [odd, OK])[1], Completion)
    assert "response_format" not in sent(judge)
    assert said == ['The JSON schema of judge.read = "json" is refused: it is left out from now on.']


def test_learned_keeps_schema_accepted_before() -> None:
    judge = openai()
    talk(judge, ASK, [OK])
    assert isinstance(talk(judge, ASK, [refused("bad request")])[1], Rejected)


@given(st.lists(st.sampled_from([TEMPERATURE, FORMAT, refused("reasoning_effort is unknown"), OK, refused("x")])))
def test_learned_conversation_ends_for_any_refusals(replies: list[Reply]) -> None:
    judge = openai(reasoning="none")
    _, result = talk(judge, ASK, [*replies, *[TEMPERATURE, FORMAT, refused("effort unsupported")] * 9, OK])
    assert isinstance(result, Completion | RowError | SetupError)


LEVELS = [None, *TOKENS, 700, 5000, 100_000]


@pytest.mark.parametrize("style", ["openai", "gemini", "openrouter", "deepseek", "vllm", "llamacpp"])
@pytest.mark.parametrize("reasoning", LEVELS)
def test_openai_forms_end_with_no_reasoning_setting(style: str, reasoning: Any) -> None:
    forms = openai_forms(reasoning, style)
    assert forms[-1] == {}
    assert len(forms) > (reasoning is not None)
    assert len({orjson.dumps(form) for form in forms}) == len(forms)


@pytest.mark.parametrize(
    ("reasoning", "style", "first"),
    [
        (900, "openai", {"reasoning_effort": "minimal"}),
        (5000, "openai", {"reasoning_effort": "medium"}),
        (100_000, "openai", {"reasoning_effort": "high"}),
        ("none", "openrouter", {"reasoning": {"effort": "none"}}),
        ("minimal", "llamacpp", {"chat_template_kwargs": {"enable_thinking": True, "reasoning_effort": "low"}}),
        ("none", "llamacpp", {"chat_template_kwargs": {"enable_thinking": False}}),
    ],
)
def test_openai_forms_start_with_level_in_server_style(reasoning: Any, style: str, first: dict[str, Any]) -> None:
    assert openai_forms(reasoning, style)[0] == first


@pytest.mark.parametrize(
    ("url", "dialect", "style"),
    [
        ("https://openrouter.ai/api/v1", "auto", "openrouter"),
        ("https://generativelanguage.googleapis.com/v1beta/openai", "auto", "gemini"),
        ("https://api.deepseek.com", "auto", "deepseek"),
        ("https://api.deepseek.com.evil.example/v1", "auto", "openai"),
        ("http://127.0.0.1:8000/v1", "vllm", "vllm"),
        ("http://openrouter.ai:1/v1", "llamacpp", "llamacpp"),
    ],
)
def test_style_of_reads_url_and_dialect(url: str, dialect: str, style: str) -> None:
    assert style_of(url, dialect) == style


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("claude-3-7-sonnet-20250219", "enabled"),
        ("claude-opus-4-20250514", "enabled"),
        ("claude-opus-4-1-20250805", "enabled"),
        ("claude-haiku-4-5", "enabled"),
        ("claude-opus-4-6", "adaptive"),
        ("claude-sonnet-5", "adaptive"),
        ("claude-opus-4-10", "adaptive"),
    ],
)
def test_anthropic_forms_start_with_budget_up_to_claude_4_5(name: str, first: str) -> None:
    assert anthropic_forms("low", name)[0]["thinking"]["type"] == first


def test_room_for_covers_level_and_least_reasoning_of_model() -> None:
    assert [room_for(level, "m") for level in LEVELS] == [0, 0, 1024, 4096, 8192, 24576, 700, 5000, 100_000]
    assert room_for(500, "anthropic.claude-sonnet-4-5") == 1024  # the least budget, which max_tokens has to exceed
    assert room_for(3000, "claude-opus-4-7") == 3000
    assert room_for("none", "claude-opus-4-7") == 0
    assert room_for("none", "o3") == room_for("minimal", "openai/gpt-5-mini") == 4096
    assert room_for("none", "ft:o4-mini-2025-04-16:org::id") == 4096
    assert room_for(None, "o3") == room_for("none", "gpt-5.1") == room_for("none", "gpt-5-chat-latest") == 0


@pytest.mark.parametrize(
    "name",
    [
        "o3",
        "gpt-5",
        "gpt-5-mini",
        "openai/gpt-oss-20b",
        "deepseek-r1",
        "gemini-2.5-flash",
        "Qwen/Qwen3-8B",
        "ft:o4-mini:a::b",
    ],
)
def test_reasons_by_itself_holds_for_reasoning_models(name: str) -> None:
    assert reasons_by_itself(name)


@pytest.mark.parametrize(
    "name", ["", "gpt-4o", "gpt-5.1", "gpt-5-chat-latest", "deepseek-chat", "Qwen3-4B-Instruct-2507", "claude-opus-4-6"]
)
def test_reasons_by_itself_fails_for_other_models(name: str) -> None:
    assert not reasons_by_itself(name)


def test_anthropic_reasoning_allows_temperature_1_only() -> None:
    with pytest.raises(SpecError, match=r"model.temperature: 0.3 is not allowed with model.reasoning; Anthropic"):
        Anthropic(name="claude-opus-4-6", reasoning="low", temperature=0.3)
    judge = Anthropic(name="claude-opus-4-6", reasoning="low", temperature=1.0)
    assert "temperature" not in sent(judge, ASK)  # a second attempt asks warmer
    assert Anthropic.default_temperature("claude-opus-4-6", "low") is None
    assert Anthropic.default_temperature("claude-opus-4-6", "none") == 0.0
