"""The Messages API byte by byte: what is sent, what is read of a reply, and the error raised without one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from golden_exchange import FOLDER, check, talk
from hypothesis import given, settings
from hypothesis import strategies as st
from support.any_body import any_body

from scorer.client.providers import PROVIDERS
from scorer.client.providers.anthropic import VERSION, Anthropic
from scorer.errors import (
    Refused,
    Rejected,
    RowError,
    ScorerError,
    ServerFault,
    SetupError,
    SpecError,
    Throttled,
    TooLong,
    TransientError,
)
from scorer.types import (
    Completion,
    Gauge,
    Message,
    RateHint,
    Reply,
    Request,
)
from scorer.usage import (
    Usage,
)

GOLDEN = sorted(FOLDER.glob("anthropic_*.json"))
ASK = Request(messages=(Message("user", "Grade it."),))


def provider(**keywords: Any) -> Anthropic:
    return Anthropic(**{"name": "m", "base_url": "http://h/v1"} | keywords)


def outcome(reply: Reply, judge: Anthropic | None = None, request: Request = ASK) -> Completion | ScorerError:
    return talk(judge or provider(), request, [reply])[1]


def reply(body: Any, status: int = 200, **headers: str) -> Reply:
    return Reply(status, headers, body if isinstance(body, bytes) else orjson.dumps(body))


def answer(*content: Any, **more: Any) -> dict[str, Any]:
    return {"type": "message", "model": "m", "content": list(content), "stop_reason": "end_turn", **more}


def text(words: Any) -> dict[str, Any]:
    return {"type": "text", "text": words}


def error(kind: str, message: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message}}


# --- golden bytes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_anthropic_matches_golden_bytes(path: Path) -> None:
    check(path, Anthropic, {"content-type": "application/json", "anthropic-version": "2023-06-01"})


def test_anthropic_has_golden_bytes_and_is_registered() -> None:
    assert len(GOLDEN) >= 18
    assert PROVIDERS["anthropic"] == f"{Anthropic.__module__}:{Anthropic.__qualname__}"


# --- what is sent -----------------------------------------------------------------------------------------------------


def test_anthropic_lets_user_headers_query_and_extra_win() -> None:
    judge = provider(
        headers={"anthropic-version": "2027-01-01", "anthropic-beta": "x"},
        query={"beta": "true"},
        extra={"max_tokens": 99, "temperature": 1, "top_k": 5},
        temperature=0.0,
    )
    call = next(judge.converse(ASK))
    body = orjson.loads(call.body)
    assert call.url == "http://h/v1/messages?beta=true"
    assert (call.headers["anthropic-version"], call.headers["anthropic-beta"]) == ("2027-01-01", "x")
    assert (body["max_tokens"], body["temperature"], body["top_k"]) == (99, 1, 5)
    assert next(provider().converse(ASK)).headers["anthropic-version"] == VERSION


def test_anthropic_sends_no_temperature_unless_given() -> None:
    body = orjson.loads(next(provider().converse(ASK)).body)
    assert body == {"model": "m", "messages": [{"role": "user", "content": "Grade it."}], "max_tokens": 64}


def test_anthropic_rejects_temperature_above_1_before_sending() -> None:
    with pytest.raises(SpecError, match=r"model.temperature: 1.5 is not allowed; Anthropic takes 0 to 1"):
        provider(temperature=1.5)


@pytest.mark.parametrize(
    "request_", [Request(prompt="Paris is in", continuation="France."), Request(ASK.messages, top_logprobs=5)]
)
def test_anthropic_reports_requested_logprobs_as_setup_error(request_: Request) -> None:
    with pytest.raises(SetupError, match="Anthropic gives no log-probabilities"):
        next(provider().converse(request_))


def test_anthropic_shows_no_secret() -> None:
    key = "sk-ant-secret-0123"
    judge = provider(headers={"x-api-key": key, "authorization": "Bearer other-secret"})
    call = next(judge.converse(ASK))
    failure = outcome(reply(error("authentication_error", f"bad {key} and other-secret"), 401), judge)
    for shown in (repr(judge), repr(call), str(failure)):
        assert key not in shown
        assert "other-secret" not in shown


# --- what is read -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stopped", "reason"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("refusal", "content_filter"),
        ("pause_turn", "pause_turn"),
        (None, ""),
    ],
)
def test_anthropic_reads_finish_reason(stopped: str | None, reason: str) -> None:
    result = outcome(reply(answer(text("4"), stop_reason=stopped)))
    assert isinstance(result, Completion)
    assert (result.text, result.finish_reason) == ("4", reason)


@pytest.mark.parametrize(
    ("usage", "read"),
    [
        (None, None),
        ({"input_tokens": 3}, None),
        ({"input_tokens": -1, "output_tokens": 2}, None),
        ({"input_tokens": True, "output_tokens": 2}, None),
        ({"input_tokens": 3, "output_tokens": 2}, Usage(3, 2, 0)),
        ({"input_tokens": 3, "output_tokens": 2, "cache_read_input_tokens": None}, Usage(3, 2, 0)),
        ({"input_tokens": 3, "output_tokens": 2, "cache_read_input_tokens": "x"}, None),
        (
            {
                "input_tokens": 3,
                "output_tokens": 2,
                "cache_creation_input_tokens": 10,
                "cache_read_input_tokens": 100,
            },
            Usage(113, 2, 100, 10),
        ),
        (
            {
                "input_tokens": 0,
                "output_tokens": 2,
                "cache_creation_input_tokens": 10,
                "cache_creation": {"ephemeral_5m_input_tokens": 3, "ephemeral_1h_input_tokens": 7},
            },
            Usage(10, 2, 0, 10, 7),
        ),
        ({"input_tokens": 0, "output_tokens": 0}, None),
        ({"input_tokens": 0, "output_tokens": 2}, None),
        ({"input_tokens": 3, "output_tokens": 0}, None),
    ],
)
def test_anthropic_reads_usage_whole_or_not_at_all(usage: Any, read: Usage | None) -> None:
    result = outcome(reply(answer(text("4"), usage=usage)))
    assert isinstance(result, Completion)
    assert result.usage == read


def test_anthropic_reads_empty_turn_as_empty_text() -> None:
    result = outcome(reply(answer()))
    assert isinstance(result, Completion)
    assert result.text == ""


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (200, b"<html>gateway</html>", ServerFault),
        (200, b"", ServerFault),
        (200, b'{"type": "message", "content": [{"ty', ServerFault),
        (200, {"type": "message"}, ServerFault),
        (200, answer(text(7)), ServerFault),
        (200, answer("4"), ServerFault),
        (200, answer(stop_reason="refusal"), Refused),
        (200, error("rate_limit_error", "slow"), Throttled),
        (200, error("authentication_error", "key"), SetupError),
        (200, error("new_error", "what"), ServerFault),
        (400, error("invalid_request_error", "max_tokens: 99999 > 8192"), SetupError),
        (400, error("invalid_request_error", "This organization has been disabled."), SetupError),
        (400, error("invalid_request_error", "Output blocked by content filtering policy"), Refused),
        (400, error("invalid_request_error", "messages.0: Input should be a valid dictionary"), Rejected),
        (402, error("billing_error", "pay"), SetupError),
        (413, error("request_too_large", "Request exceeds the maximum size"), TooLong),
        (429, b"", Throttled),
        (500, error("api_error", "Internal server error"), ServerFault),
        (504, error("timeout_error", "slow"), ServerFault),
    ],
)
def test_anthropic_types_errors_by_status_and_body(status: int, body: Any, kind: type[ScorerError]) -> None:
    result = outcome(reply(body, status))
    assert type(result) is kind
    assert "<html>" not in str(result)


def test_anthropic_bills_refusal_like_any_reply() -> None:
    usage = {"input_tokens": 30, "output_tokens": 1}
    for stated, read in ((usage, Usage(30, 1)), ({}, None)):
        refused = outcome(reply(answer(stop_reason="refusal", usage=stated)))
        assert isinstance(refused, Refused)
        assert (refused.usage, refused.billed) == (read, True)


def test_anthropic_setup_error_names_setting_to_change() -> None:
    message = str(outcome(reply(error("invalid_request_error", "`max_tokens`: 99999 > 8192"), 400)))
    assert message.endswith("Lower model.max_output_tokens.")


# --- rates ------------------------------------------------------------------------------------------------------------

NOW = "Tue, 24 Nov 2026 10:00:00 GMT"


def test_anthropic_reads_rate_headers() -> None:
    hint = provider().rate(
        {
            "date": NOW,
            "anthropic-ratelimit-requests-limit": "1000",
            "anthropic-ratelimit-requests-remaining": "999",
            "anthropic-ratelimit-requests-reset": "2026-11-24T10:00:06Z",
            "anthropic-ratelimit-tokens-limit": "96000",
            "anthropic-ratelimit-input-tokens-remaining": "79000",
            "anthropic-ratelimit-output-tokens-reset": "2026-11-24T11:30:00+01:30",
            "retry-after": "12",
        }
    )
    assert hint == RateHint(
        gauges={
            "requests": Gauge(1000, 999, 6.0),
            "tokens": Gauge(96_000, None, None),
            "input_tokens": Gauge(None, 79_000, None),
            "output_tokens": Gauge(None, None, 0.0),
        },
        retry_after_s=12.0,
    )


@pytest.mark.parametrize(
    ("reset", "date", "seconds"),
    [
        ("2026-11-24T09:59:59Z", NOW, 0.0),
        ("2026-11-24T10:00:00.250Z", NOW, 0.25),
        ("2026-11-24T10:00:06Z", None, None),
        ("2026-11-24T10:00:06", NOW, None),
        ("2027-11-24T10:00:06Z", NOW, None),
        ("soon", NOW, None),
    ],
)
def test_anthropic_measures_rate_reset_from_date_header(reset: str, date: str | None, seconds: float | None) -> None:
    headers = {"anthropic-ratelimit-tokens-reset": reset} | ({"date": date} if date else {})
    gauges = provider().rate(headers).gauges
    assert gauges == ({} if seconds is None else {"tokens": Gauge(reset_s=seconds)})


# --- any bytes --------------------------------------------------------------------------------------------------------

BODIES = [one["reply"]["body"].encode() for path in GOLDEN for one in orjson.loads(path.read_bytes())["exchange"]]


@settings(max_examples=30, deadline=None)
@given(
    status=st.sampled_from([200, 200, 200, 204, 301, 400, 401, 404, 429, 500, 529]),
    body=any_body(BODIES),
)
def test_anthropic_reads_any_bytes_as_completion_or_typed_error(status: int, body: bytes) -> None:
    result = outcome(Reply(status, {}, body))
    if isinstance(result, Completion):
        assert isinstance(result.text, str)
    else:
        assert isinstance(result, RowError | TransientError | SetupError)


NAMES = [
    f"anthropic-ratelimit-{what}-{part}"
    for what in ("requests", "tokens", "input-tokens", "output-tokens")
    for part in ("limit", "remaining", "reset")
]
VALUES = st.text(max_size=20) | st.floats().map(str) | st.datetimes().map(lambda when: when.isoformat() + "Z")


@settings(max_examples=25, deadline=None)
@given(st.dictionaries(st.sampled_from([*NAMES, "date", "retry-after"]), VALUES | st.just(NOW)))
def test_anthropic_rate_survives_any_headers(headers: dict[str, str]) -> None:
    for gauge in provider().rate(headers).gauges.values():
        assert gauge != Gauge()
        assert all(one is None or 0 <= one < float("inf") for one in (gauge.limit, gauge.remaining, gauge.reset_s))
