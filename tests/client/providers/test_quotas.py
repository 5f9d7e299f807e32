"""Promise: a minute's limit is waited for, a day's quota until the reply says, and a spent account ends the run.

The bodies are those that providers send, as their documentation and their users' issues show them.
"""

# ruff: noqa: E501 - the bodies stand as they are sent

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scorer.client.providers.errors import Place, fault
from scorer.errors import ROW_ERRORS, NoCapacity, Rejected, ServerFault, SetupError, Throttled, TransientError
from scorer.types import Reply

PLACE = Place("http://judge/v1")
DATE = "Fri, 27 Nov 2026 10:00:00 GMT"


def error_of(body: Any, status: int = 429, headers: dict[str, str] | None = None) -> Exception:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return fault(Reply(status, {"date": DATE, **(headers or {})}, raw), PLACE, "http://judge/v1/chat/completions")


def said(message: str, **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, **more}}


def google(message: str, quota: str, delay: str | None) -> list[Any]:
    details: list[Any] = [
        {"@type": "type.googleapis.com/google.rpc.Help", "links": [{"url": "https://ai.google.dev"}]},
        {
            "@type": "type.googleapis.com/google.rpc.QuotaFailure",
            "violations": [{"quotaId": quota, "quotaValue": "20"}],
        },
    ]
    if delay is not None:
        details.append({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay})
    return [{"error": {"code": 429, "message": message, "status": "RESOURCE_EXHAUSTED", "details": details}}]


GEMINI = (
    "You exceeded your current quota, please check your plan and billing details. For more information on this error, "
    "head to: https://ai.google.dev/gemini-api/docs/rate-limits."
)
MINUTES: dict[str, tuple[Any, dict[str, str], float | None]] = {
    "openai rpm": (
        said(
            "Rate limit reached for gpt-4o-mini in organization org-x on requests per min (RPM): Limit 3, Used 3, "
            "Requested 1. Please try again in 20s. Visit https://platform.openai.com/account/rate-limits to learn more. "
            "You can increase your rate limit by adding a payment method to your account.",
            type="requests",
            code="rate_limit_exceeded",
        ),
        {},
        20.0,
    ),
    "azure": (
        said(
            "Requests to the ChatCompletions_Create Operation under Azure OpenAI API version 2024-02-01 have exceeded "
            "token rate limit of your current OpenAI S0 pricing tier. Please retry after 6 seconds. Please go here: "
            "https://aka.ms/oai/quotaincrease if you would like to further increase the default rate limit.",
            code="429",
        ),
        {},
        6.0,
    ),
    "anthropic": (
        {
            "type": "error",
            "error": {
                "type": "rate_limit_error",
                "message": "This request would exceed your organization's rate limit of 50,000 input tokens per minute.",
            },
        },
        {"retry-after": "12"},
        12.0,
    ),
    "gemini by the minute": (
        google(GEMINI + "\nPlease retry in 5.2s.", "GenerateRequestsPerMinutePerProjectPerModel-FreeTier", "5s"),
        {},
        5.2,
    ),
    "gemini, the delay in its details alone": (
        google(GEMINI, "GenerateContentInputTokensPerModelPerMinute-FreeTier", "41s"),
        {},
        41.0,
    ),
    "vertex, shared capacity": (
        [
            {
                "error": {
                    "code": 429,
                    "message": "Resource exhausted. Please try again later. Please refer to "
                    "https://cloud.google.com/vertex-ai/generative-ai/docs/error-code-429",
                    "status": "RESOURCE_EXHAUSTED",
                }
            }
        ],
        {},
        None,
    ),
    "vertex by the minute": (
        said(
            "Quota exceeded for aiplatform.googleapis.com/generate_content_requests_per_minute_per_project_per_base_model"
        ),
        {},
        None,
    ),
    "mistral": ({"message": "Requests rate limit exceeded"}, {}, None),
    "mistral, capacity": (
        {
            "object": "error",
            "message": "Service tier capacity exceeded for this model.",
            "type": "service_tier_capacity_exceeded",
            "code": "3505",
        },
        {},
        None,
    ),
    "together": (
        said("You have been rate limited. Your rate limit is 60 queries per minute.", type="rate_limit"),
        {},
        None,
    ),
    "openrouter upstream": (
        said("Provider returned error", code=429, metadata={"raw": "x is temporarily rate-limited upstream."}),
        {},
        None,
    ),
    "a minute and a day named": (
        said("Too many requests: the limit is 60 requests per minute and 10000 per day."),
        {},
        None,
    ),
    "litellm": (said("Max parallel request limit reached", type="None", code="429"), {"retry-after": "3"}, 3.0),
}

DAYS: dict[str, tuple[Any, dict[str, str], float]] = {
    "openai rpd": (
        said(
            "Rate limit reached for gpt-4 in organization org-x on requests per day (RPD): Limit 200, Used 200, "
            "Requested 1. Please try again in 7m12s. Visit https://platform.openai.com/account/rate-limits.",
            code="rate_limit_exceeded",
        ),
        {},
        432.0,
    ),
    "groq tpd": (
        said(
            "Rate limit reached for model `llama-3.3-70b` in organization `org_x` service tier `on_demand` on tokens per "
            "day (TPD): Limit 100000, Used 99336, Requested 1483. Please try again in 11m47.616s. Need more tokens?",
            code="rate_limit_exceeded",
        ),
        {"retry-after": "708"},
        708.0,
    ),
    "gemini by the day": (
        google(GEMINI + "\nPlease retry in 37.01s.", "GenerateRequestsPerDayPerProjectPerModel-FreeTier", "37s"),
        {},
        37.01,
    ),
    "github models": (
        said(
            "Rate limit of 50 per 86400s exceeded for UserByModelByDay. Please wait 27364 seconds before retrying.",
            code="RateLimitReached",
        ),
        {},
        27364.0,
    ),
    "openrouter": (
        said(
            "Rate limit exceeded: free-models-per-day. Add 10 credits to unlock 1000 free model requests per day",
            code=429,
            metadata={"headers": {"X-RateLimit-Limit": "50", "X-RateLimit-Reset": "1795824000000"}},
        ),
        {},
        1795824000 - 1795773600.0,
    ),
    "cerebras": (
        {"message": "Requests per day limit exceeded - too many requests sent.", "code": "request_quota_exceeded"},
        {"x-ratelimit-reset-requests-day": "33011.38"},
        33011.38,
    ),
    "anthropic's daily limit": (
        said("Number of request tokens has exceeded your daily rate limit.", type="rate_limit_error"),
        {"retry-after": "40000"},
        40000.0,
    ),
    "current quota, and when": (said("You exceeded your current quota. Please retry in 90s"), {}, 90.0),
    "a date": (
        said("Daily quota exceeded"),
        {"retry-after": "Sat, 28 Nov 2026 00:00:00 GMT"},
        14 * 3600.0,
    ),
}

ENDS: dict[str, tuple[Any, dict[str, str]]] = {
    "openai's account": (
        said(
            "You exceeded your current quota, please check your plan and billing details.",
            type="insufficient_quota",
            code="insufficient_quota",
        ),
        {"retry-after": "5"},
    ),
    "current quota, no word of when": (said("You exceeded your current quota."), {}),
    "bedrock": ({"message": "Too many tokens per day, please wait before trying again."}, {}),
    "cohere": ({"message": "You are using a Trial key, which is limited to 1000 API calls / month."}, {}),
    "a day, and a wish that is over": (said("quota_per_day used up"), {"retry-after": "0"}),
    "a day, and a wish in the past": (said("quota_per_day used up"), {"retry-after": "Thu, 26 Nov 2026 10:00:00 GMT"}),
    "next month": (said("monthly quota used up"), {"retry-after": str(20 * 86_400)}),
    "gemini by the day, no delay": (google("Quota exceeded", "GenerateRequestsPerDayPerProject", None), {}),
}


@pytest.mark.parametrize("name", MINUTES)
def test_minute_limit_is_throttled_for_stated_wait(name: str) -> None:
    body, headers, wait_s = MINUTES[name]
    error = error_of(body, headers=headers)
    assert isinstance(error, Throttled)
    assert (error.quota, error.retry_after_s) == (False, wait_s)


@pytest.mark.parametrize("name", DAYS)
def test_daily_quota_is_throttled_until_stated_renewal(name: str) -> None:
    body, headers, wait_s = DAYS[name]
    error = error_of(body, headers=headers)
    assert isinstance(error, Throttled)
    assert error.quota
    assert error.retry_after_s == pytest.approx(wait_s)


@pytest.mark.parametrize("name", ENDS)
def test_quota_without_stated_renewal_is_setup_error(name: str) -> None:
    body, headers = ENDS[name]
    error = error_of(body, headers=headers)
    assert isinstance(error, SetupError)
    assert "used up" in str(error)


def test_capacity_and_proxy_errors_are_not_row_errors() -> None:
    groq = error_of(said("Flex tier capacity exceeded", code="capacity_exceeded"), 498, {"retry-after": "3"})
    assert isinstance(groq, NoCapacity)
    assert groq.retry_after_s == 3.0
    proxy = error_of(b"<html>Proxy Authentication Required</html>", 407)
    assert isinstance(proxy, SetupError)
    assert "HTTPS_PROXY" in str(proxy)
    assert isinstance(error_of(said("no such thing"), 418), Rejected)
    assert isinstance(error_of(b"<html>nothing</html>", 200), ServerFault)


def test_server_message_escapes_control_characters() -> None:
    error = error_of(said("go\x1b[2J\r\naway\u202e\x9b1m"), 503)
    assert "go\\x1b[2J\\r\\naway\\u202e\\x9b1m" in str(error)


@given(
    message=st.text() | st.sampled_from(["per day", "exceeded your current quota", "daily, per minute"]),
    headers=st.dictionaries(
        st.sampled_from(["retry-after", "retry-after-ms", "date", "x-ratelimit-reset"]),
        st.text(max_size=20) | st.sampled_from(["-1", "nan", "1e308", "1e18", DATE, "Thu, 01 Jan 0000 00:00:00 -0000"]),
    ),
    details=st.recursive(
        st.none() | st.text(max_size=5) | st.integers(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["violations", "quotaId", "retryDelay", "headers"]), inner, max_size=3)
        ),
        max_leaves=8,
    ),
)
def test_fault_types_any_429(message: str, headers: dict[str, str], details: Any) -> None:
    body = json.dumps({"error": {"message": message, "details": details, "metadata": {"headers": details}}}).encode()
    error = fault(Reply(429, headers, body), PLACE, "http://judge")
    assert isinstance(error, (TransientError, SetupError, *ROW_ERRORS.values()))
    if isinstance(error, Throttled) and error.retry_after_s is not None:
        assert 0 <= error.retry_after_s <= 48 * 3600
