"""Anthropic's Messages API. It gives no log-probabilities, takes no seed, and its temperatures end at 1."""

from __future__ import annotations

import math
import re
from collections.abc import Generator, Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlencode

import orjson

from scorer.client.providers.completions import read_model
from scorer.client.providers.errors import Place, complaint, fault, parse
from scorer.client.providers.headers import retry_after_s
from scorer.errors import Refused, RowError, ServerFault, SetupError, SpecError, TooLong, TransientError
from scorer.types import (
    Call,
    Completion,
    Gauge,
    RateHint,
    Reply,
    Request,
)
from scorer.usage import (
    Usage,
)

VERSION = "2023-06-01"
"""The `anthropic-version` that the bodies here follow; `headers` may name another."""

_FINISH = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "content_filter",
}
# What an error's type means where the status under it says nothing: 200, or a gateway's own.
_STATUS = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
_TOO_LONG = re.compile(r"exceeds? (?:the )?context limit", re.IGNORECASE)
_ACCOUNT = re.compile(r"usage limits|organization has been disabled", re.IGNORECASE)
_SETTINGS = {
    re.compile(r"[`']?max_tokens\b"): "Lower model.max_output_tokens.",
    re.compile(r"[`']?temperature\b"): "Set model.temperature = 1, which every model takes.",
}
_GAUGES = ("requests", "tokens", "input-tokens", "output-tokens")
_LONGEST_RESET_S = 7 * 86_400.0
_LARGEST_COUNT = 2**53


class Anthropic:
    """A `Provider` for any server that answers POST {base_url}/messages.

    `headers` already hold the key (`x-api-key`) and, like `query`, are never shown. `extra` is merged into the body
    last, so the user's word wins. `temperature` None leaves it to the server. `dialect` is taken and has no meaning.

    Raises: SpecError for a temperature above 1.
    """

    default_base_url = "https://api.anthropic.com/v1"
    """Where model.base_url gives no other."""

    __slots__ = ("_extra", "_headers", "_place", "_url", "base_url", "max_output_tokens", "name", "temperature")

    def __init__(
        self,
        *,
        name: str,
        base_url: str = default_base_url,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        extra: Mapping[str, Any] | None = None,
        temperature: float | None = None,
        max_output_tokens: int = 64,
        dialect: str = "auto",
    ) -> None:
        if temperature is not None and temperature > 1:
            raise SpecError([f"model.temperature: {temperature:g} is not allowed; Anthropic takes 0 to 1."])
        self.name = name
        self.base_url = base_url.rstrip("/")
        self.temperature = temperature
        self.max_output_tokens = max_output_tokens
        self._place = Place(self.base_url, secrets=_secrets(headers or {}, query or {}))
        self._headers = {"content-type": "application/json", "anthropic-version": VERSION, **(headers or {})}
        self._url = f"{self.base_url}/messages" + (f"?{urlencode(query)}" if query else "")
        self._extra = dict(extra or {})

    def __repr__(self) -> str:
        return f"<Anthropic {self.name!r} at {self.base_url}>"

    def converse(self, request: Request) -> Generator[Call, Reply, Completion]:
        """One call. Raises: RowError, TransientError, SetupError; never anything else, whatever bytes come back."""
        if request.continuation is not None or request.top_logprobs > 0:
            raise SetupError(
                "Anthropic gives no log-probabilities. Ask a provider that does, or judge by kind = "
                '"rating" with read = "number", "label" or "json".'
            )
        reply = yield Call(url=self._url, body=orjson.dumps(self._body(request)), headers=self._headers)
        return self._read(reply)

    def rate(self, headers: Mapping[str, str]) -> RateHint:
        """The gauges of `anthropic-ratelimit-*`; a reset is a date, so it needs the reply's own `date` to be one."""
        gauges = {}
        for what in _GAUGES:
            named = f"anthropic-ratelimit-{what}"
            gauge = Gauge(
                limit=_amount(headers.get(f"{named}-limit")),
                remaining=_amount(headers.get(f"{named}-remaining")),
                reset_s=_until(headers.get(f"{named}-reset"), headers.get("date")),
            )
            if gauge != Gauge():
                gauges[what.replace("-", "_")] = gauge
        return RateHint(gauges=gauges, retry_after_s=retry_after_s(headers))

    def _body(self, request: Request) -> dict[str, Any]:
        system = "\n\n".join(message.content for message in request.messages if message.role == "system")
        asked = request.max_output_tokens
        body: dict[str, Any] = {
            "model": self.name,
            "messages": [
                {"role": message.role, "content": message.content}
                for message in request.messages
                if message.role != "system"
            ],
            "max_tokens": self.max_output_tokens if asked is None else asked,
        }
        if system:
            body["system"] = system
        temperature = self.temperature if request.temperature is None else request.temperature
        if temperature is not None:
            body["temperature"] = temperature
        return body | self._extra

    def _read(self, reply: Reply) -> Completion:
        value = parse(reply.body)
        content = value.get("content") if isinstance(value, dict) else None
        if reply.status != 200 or not isinstance(value, dict) or complaint(value) is not None or content is None:
            raise self._fault(reply)
        text = _text(content)
        if text is None:
            garbled = ServerFault(
                f"{self.base_url}/messages answered with content that cannot be read", billed=True, garbled=True
            )
            garbled.usage = _usage(value.get("usage"), said=False)
            raise garbled
        stopped = value.get("stop_reason")
        finish_reason = _FINISH.get(stopped, stopped) if isinstance(stopped, str) else ""
        usage = _usage(value.get("usage"), said=bool(text))
        if finish_reason == "content_filter" and not text:
            raise Refused("The provider's content filter stopped the reply.", usage=usage, billed=True)
        return Completion(
            text=text,
            finish_reason=finish_reason,
            model=read_model(value),
            usage=usage,
            body=reply.body,
        )

    def _fault(self, reply: Reply) -> TransientError | RowError | SetupError:
        said = complaint(parse(reply.body))
        url = f"{self.base_url}/messages"
        status = reply.status
        if said is not None and status == 200:
            status = next((_STATUS[code] for code in sorted(said.codes) if code in _STATUS), status)
        if said is not None and status == 400:
            words = self._place.quote(said.message)
            if _TOO_LONG.search(said.message):
                return TooLong(words)
            if _ACCOUNT.search(said.message):
                return SetupError(f"{url} answered 400: {words} Mend the account and run the same command again.")
            for begins, remedy in _SETTINGS.items():
                if begins.match(said.message):
                    return SetupError(f"{url} answered 400: {words} {remedy}")
        return fault(Reply(status, reply.headers, reply.body), self._place, url)


def _secrets(headers: Mapping[str, str], query: Mapping[str, str]) -> tuple[str, ...]:
    values = (*headers.values(), *query.values())
    words = {word for value in values for word in (value, value.rpartition(" ")[2])}  # with and without "Bearer"
    return tuple(sorted((word for word in words if len(word) >= 8), key=len, reverse=True))


def _text(content: Any) -> str | None:
    """The text blocks joined, whatever stands between them (thinking, tools); None where that cannot be told."""
    if not isinstance(content, list) or not all(isinstance(block, dict) for block in content):
        return None
    texts = [block.get("text") for block in content if block.get("type") == "text"]
    return "".join(texts) if all(isinstance(text, str) for text in texts) else None


def _usage(usage: Any, *, said: bool) -> Usage | None:
    """The bill; `input_tokens` alone counts only what no cache had to do with. `said`: the reply holds a text.

    No token for a prompt, or none for a text, is no bill.
    """
    if not isinstance(usage, dict):
        return None
    fresh, completion = _count(usage.get("input_tokens")), _count(usage.get("output_tokens"))
    # Null, or not there, where no cache took part.
    written = _count(usage.get("cache_creation_input_tokens") or 0)
    cached = _count(usage.get("cache_read_input_tokens") or 0)
    if fresh is None or written is None or cached is None or completion is None:
        return None
    prompt = fresh + written + cached
    if not prompt or (said and not completion):
        return None
    lasting = usage.get("cache_creation")
    hour = _count(lasting.get("ephemeral_1h_input_tokens")) if isinstance(lasting, dict) else 0
    return Usage(prompt, completion, cached, written, min(hour or 0, written))


def _count(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value <= _LARGEST_COUNT else None


def _amount(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None


def _until(then: str | None, now: str | None) -> float | None:
    if then is None or now is None:
        return None
    try:
        # A date without its zone makes this a TypeError, a year 0 an OverflowError.
        seconds = (datetime.fromisoformat(then) - parsedate_to_datetime(now)).total_seconds()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return max(seconds, 0.0) if seconds <= _LONGEST_RESET_S else None
