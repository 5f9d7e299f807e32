"""Waits and rate limits from headers: every published form is read, and nothing else is believed."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scorer.client.providers.headers import LONGEST_WAIT_S, duration_s, rate_hint, retry_after_s
from scorer.types import Gauge


@pytest.mark.parametrize(
    ("headers", "message", "wait"),
    [
        ({}, "", None),
        ({"retry-after": "20"}, "", 20.0),
        ({"retry-after": "1", "retry-after-ms": "640"}, "", 0.64),
        ({"retry-after": "-5"}, "", 0.0),
        ({"retry-after": "1e9"}, "", LONGEST_WAIT_S),
        ({"retry-after": "nan"}, "", None),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:30 GMT", "date": "Wed, 21 Oct 2026 07:28:00 GMT"}, "", 30.0),
        ({"retry-after": "Wed, 21 Oct 2026 07:27:00 GMT", "date": "Wed, 21 Oct 2026 07:28:00 GMT"}, "", 0.0),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:30 GMT"}, "", None),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:30 -0000", "date": "Wed, 21 Oct 2026 07:28:00 GMT"}, "", None),
        ({"retry-after": "soon"}, "Please try again in 1.2s. Visit", 1.2),
        ({}, "Please try again in 120ms.", 0.12),
        ({}, "Please try again in 6m0s.", 360.0),
        ({}, "Please retry after 26 seconds.", 26.0),
        ({}, "try again in 500 milliseconds", 0.5),
        ({}, "try again in a while", None),
    ],
)
def test_retry_after_s_reads_headers_and_message(headers: dict[str, str], message: str, wait: float | None) -> None:
    assert retry_after_s(headers, message) == wait


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1s", 1.0),
        ("6m0s", 360.0),
        ("120ms", 0.12),
        ("1h3m2.5s", 3782.5),
        ("30", 30.0),
        ("1d", 86_400.0),
        ("", None),
        ("soon", None),
        ("1s!", None),
        ("-1", None),
        ("1751000000", None),
        ("9" * 400, None),
    ],
)
def test_duration_s_reads_openai_durations(text: str, seconds: float | None) -> None:
    assert duration_s(text) == seconds


def test_rate_hint_reads_rate_headers() -> None:
    hint = rate_hint(
        {
            "x-ratelimit-limit-requests": "10000",
            "x-ratelimit-remaining-requests": "9999",
            "x-ratelimit-reset-requests": "6ms",
            "x-ratelimit-remaining-tokens": "-1",
            "x-ratelimit-limit-tokens": "200000",
            "retry-after-ms": "250",
        }
    )
    assert hint.gauges == {"requests": Gauge(10_000, 9_999, 0.006), "tokens": Gauge(200_000, None, None)}
    assert hint.retry_after_s == 0.25


NAMES = [f"x-ratelimit-{part}-{what}" for part in ("limit", "remaining", "reset") for what in ("requests", "tokens")]
VALUES = st.text(max_size=20) | st.from_regex(r"-?[0-9.]{1,20}(ms|[smhd])?", fullmatch=True) | st.floats().map(str)


@settings(max_examples=40, deadline=None)
@given(
    headers=st.dictionaries(st.sampled_from([*NAMES, "retry-after", "retry-after-ms", "date"]), VALUES),
    message=st.text(max_size=40) | VALUES.map("try again in {}".format),
)
def test_retry_after_s_and_rate_hint_survive_any_headers(headers: dict[str, str], message: str) -> None:
    wait = retry_after_s(headers, message)
    assert wait is None or 0 <= wait <= LONGEST_WAIT_S
    for gauge in rate_hint(headers).gauges.values():
        assert gauge != Gauge()
        assert all(one is None or 0 <= one < float("inf") for one in (gauge.limit, gauge.remaining, gauge.reset_s))
