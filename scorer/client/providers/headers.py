"""What reply headers say of time and limits: `rate_hint` and `retry_after_s`, for OpenAI's names and their imitators.

A value that makes no sense is as good as none: headers never raise.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from scorer.client.http.raw_headers import RawHeaders
from scorer.patterns import pattern
from scorer.types import Gauge, RateHint

if TYPE_CHECKING:
    from datetime import datetime

LONGEST_WAIT_S = 600.0
"""A wish to wait longer is read as this: quotas that need longer are a set-up error, not a pause."""

_LONGEST_RESET_S = 7 * 86_400.0  # beyond it lies a point in time, written as seconds or milliseconds since 1970
_FIRST_TIME_S = 1e9  # the year 2001
_DAY_RESETS = ("x-ratelimit-reset", "x-ratelimit-reset-requests-day", "x-ratelimit-reset-tokens-day")
_UNIT_S = {"d": 86_400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_NUMBER = r"\d{1,15}(?:\.\d{0,9})?"
_DURATION = pattern(rf"(?:{_NUMBER}(?:ms|[dhms]))+")
_STEP = pattern(rf"({_NUMBER})(ms|[dhms])")
_SPAN = rf"(?:{_NUMBER}(?:ms|[dhms])(?![a-z]))+"
_IN_WORDS = pattern(
    rf"(?:try|retry) again (?:in|after) ({_SPAN}|{_NUMBER} ?(?:milli)?seconds?)"
    rf"|(?:retry (?:in|after)|please wait) ({_SPAN}|{_NUMBER} ?(?:(?:milli)?seconds?|s\b)?)",
    re.IGNORECASE,
)


_KNOWN = ("x-ratelimit-", "retry-after")
_RATE_LIMIT, _RETRY_AFTER = (name.encode() for name in _KNOWN)
_NOTHING_SAID = RateHint()


def rate_hint(headers: Mapping[str, str]) -> RateHint:
    """The gauges of `x-ratelimit-{limit,remaining,reset}-{requests,tokens}` and the wish to wait.

    A reset is a duration as OpenAI writes it ("6m0s", "120ms") or a bare number of seconds.
    """
    if isinstance(headers, RawHeaders):
        lower = headers.lower
        if lower.find(_RATE_LIMIT) < 0 and lower.find(_RETRY_AFTER) < 0:  # `in` takes twice as long for bytes
            return _NOTHING_SAID
    elif not any(name.startswith(_KNOWN) for name in map(str.lower, headers)):
        return _NOTHING_SAID
    gauges = {}
    for what in ("requests", "tokens"):
        gauge = Gauge(
            limit=_amount(headers.get(f"x-ratelimit-limit-{what}")),
            remaining=_amount(headers.get(f"x-ratelimit-remaining-{what}")),
            reset_s=duration_s(headers.get(f"x-ratelimit-reset-{what}")),
        )
        if gauge != Gauge():
            gauges[what] = gauge
    return RateHint(gauges=gauges, retry_after_s=retry_after_s(headers))


def retry_after_s(headers: Mapping[str, str], message: str = "") -> float | None:
    """How long the server asks to wait, in [0, LONGEST_WAIT_S]; None where it does not say.

    Read from `retry-after-ms`, else `retry-after` (seconds, or a date compared with the reply's own `date`, so that no
    clock is needed), else from "try again in 1.2s" in the message.
    """
    wait = _asked(headers, message)
    return None if wait is None else min(max(wait, 0.0), LONGEST_WAIT_S)


def _asked(headers: Mapping[str, str], message: str) -> float | None:
    milliseconds = _number(headers.get("retry-after-ms"))
    wait = None if milliseconds is None else milliseconds / 1000
    if wait is None:
        wait = _number(headers.get("retry-after"))
    if wait is None:
        wait = _until(headers.get("retry-after"), headers.get("date"))
    return _in_words(message) if wait is None else wait


def _reset(text: str | None, now: str | None) -> float | None:
    """Seconds of a reset, which is a duration, or a point in time where it is larger than any duration could be."""
    if (seconds := duration_s(text)) is not None:
        return seconds
    when = _number(text)
    if when is None or now is None or when < _FIRST_TIME_S:
        return None
    try:
        return (when / 1000 if when >= 1000 * _FIRST_TIME_S else when) - _date(now).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError, OSError):
        return None


def renews_s(headers: Mapping[str, str], said: Mapping[str, str], message: str = "") -> float | None:
    """Seconds until a day's quota renews, not bounded; None where nothing says so, or only that it has renewed.

    Read from what `retry_after_s` reads, from the headers and from those that the body repeats (`said`); then from
    `x-ratelimit-reset` and its like of requests and tokens a day: a duration, or a time in (milli)seconds since 1970.
    """
    waits = [_asked(headers, message), _asked({**said, "date": headers.get("date", "")}, "")]
    now = headers.get("date")
    waits += [_reset(named.get(name), now) for named in (headers, said) for name in _DAY_RESETS]
    return max((wait for wait in waits if wait is not None and wait > 0), default=None)


def duration_s(text: str | None) -> float | None:
    """Seconds of "1h2m3.5s", "120ms" or "30"; None for anything else, and for what no limit takes to recover."""
    if text is None or len(text) > 64:
        return None
    text = text.strip()
    seconds = _number(text)
    if seconds is None and _DURATION.fullmatch(text):
        seconds = sum(float(number) * _UNIT_S[unit] for number, unit in _STEP.findall(text))
    return seconds if seconds is not None and 0 <= seconds <= _LONGEST_RESET_S else None


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _amount(text: str | None) -> float | None:
    number = _number(text)
    return number if number is not None and number >= 0 else None  # Azure writes -1 where it keeps no count


def _until(then: str | None, now: str | None) -> float | None:
    if then is None or now is None:
        return None
    try:
        # Subtracting an aware from a naive date ("-0000") is a TypeError, a year 0 an OverflowError.
        return (_date(then) - _date(now)).total_seconds()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def _date(text: str) -> datetime:
    from email.utils import parsedate_to_datetime  # loads ten modules, and few replies need it

    return parsedate_to_datetime(text)


def _in_words(message: str) -> float | None:
    found = _IN_WORDS.search(message)
    if found is None:
        return None
    words = (found[1] or found[2]).lower().replace(" ", "")
    words = re.sub(r"milliseconds?$", "ms", words)
    return duration_s(re.sub(r"seconds?$", "s", words))
