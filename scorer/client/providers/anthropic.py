"""Anthropic's Messages API. It gives no log-probabilities, takes no seed, and its temperatures end at 1."""

from __future__ import annotations

import math
import re
from collections.abc import Generator, Mapping, Sequence
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, Unpack

import orjson

from scorer.client.json_body import json_body
from scorer.client.providers.caching import anthropic_content, anthropic_mark, ends_of
from scorer.client.providers.complaints import complaint, parse
from scorer.client.providers.completions import read_model
from scorer.client.providers.errors import fault, no_logprobs
from scorer.client.providers.headers import retry_after_s
from scorer.client.providers.learned import LearnedSettings, asked_until_taken, merged
from scorer.client.providers.reasoning import Reasoning, anthropic_forms, reasons
from scorer.client.providers.settings import ProviderOptions, ProviderSettings
from scorer.client.providers.structured import NAME, anthropic_schema_forms
from scorer.client.providers.tiers import our_word
from scorer.errors import Refused, RowError, ServerFault, SetupError, SpecError, TooLong, TransientError
from scorer.types import (
    Call,
    Completion,
    Gauge,
    Prefix,
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
    "tool_use": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "content_filter",
}
# What an error's type means where the status under it says nothing: 200, or a gateway's own.
STATUS_OF_ERROR = {
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

    It is made with `ProviderOptions`, which `ProviderSettings` explains; `dialect` has no meaning here. Where it
    reasons no temperature is sent, since the API then takes 1 alone. What a server is found to take is remembered in
    `learned`.

    Raises: SpecError for a temperature above 1, or another than 1 where it reasons.
    """

    default_base_url = "https://api.anthropic.com/v1"
    """Where model.base_url gives no other."""

    __slots__ = ("_headers", "_place", "_settings", "_url", "base_url", "learned", "name")

    def __init__(self, **options: Unpack[ProviderOptions]) -> None:
        self._settings = settings = ProviderSettings.of(options, self.default_base_url)
        if problems := self.problems(settings.temperature, settings.reasoning):
            raise SpecError(problems)
        self.name = settings.name
        self.base_url = settings.base_url.rstrip("/")
        forms = anthropic_schema_forms(reasoning=reasons(settings.reasoning))
        self.learned = LearnedSettings(anthropic_forms(settings.reasoning, self.name), forms)
        self._place = settings.place
        self._headers = {"content-type": "application/json", "anthropic-version": VERSION, **(settings.headers or {})}
        self._url = f"{self.base_url}/messages{settings.url_query}"

    @staticmethod
    def problems(temperature: float | None, reasoning: Reasoning) -> list[str]:
        """What is wrong with these settings, one sentence for each."""
        if temperature is not None and temperature > 1:
            return [f"model.temperature: {temperature:g} is not allowed; Anthropic takes 0 to 1."]
        if reasons(reasoning) and temperature not in (None, 1):
            return [
                f"model.temperature: {temperature:g} is not allowed with model.reasoning; Anthropic's models reason at "
                "temperature 1. Remove one of the two."
            ]
        return []

    @staticmethod
    def default_temperature(name: str, reasoning: Reasoning = None) -> float | None:
        """The temperature where the run file names none: 0; None, so that none is sent, where the model reasons."""
        return None if reasons(reasoning) else 0.0

    def __repr__(self) -> str:
        return f"<Anthropic {self.name!r} at {self.base_url}>"

    def converse(self, request: Request) -> Generator[Call, Reply, Completion]:
        """One call, and another one after each refusal that tells what to ask otherwise.

        Raises: RowError, TransientError, SetupError; never anything else, whatever bytes come back.
        """
        if request.continuation is not None or request.top_logprobs > 0:
            raise no_logprobs("Anthropic")
        reply = yield from asked_until_taken(self.learned, request, self._call, self._sent, self._place.quote)
        return self._read(reply)

    def _sent(self, request: Request) -> tuple[bool, bool, bool, bool]:
        return self._settings.sent(request, reasons=reasons(self._settings.reasoning))

    def _call(self, request: Request) -> Call:
        return Call(url=self._url, body=json_body(self._body(request)), headers=self._headers)

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
        settings, learned = self._settings, self.learned
        system = "\n\n".join(message.content for message in request.messages if message.role == "system")
        asked = request.max_output_tokens
        prefixes = request.prefixes if learned.caching.form else ()
        mark = anthropic_mark(prefixes)
        body: dict[str, Any] = {
            "model": self.name,
            "messages": [
                {
                    "role": message.role,
                    "content": anthropic_content(message.content, ends_of(prefixes, number), mark)
                    if prefixes
                    else message.content,
                }
                for number, message in enumerate(request.messages)
                if message.role != "system"
            ],
            "max_tokens": (settings.max_output_tokens if asked is None else asked) + settings.room,
        }
        if system:
            ends = _system_ends(request, prefixes, system) if prefixes else ()
            body["system"] = anthropic_content(system, ends, mark)
        temperature = settings.temperature if request.temperature is None else request.temperature
        if temperature is not None and learned.temperature.form and not reasons(settings.reasoning):
            body["temperature"] = temperature
        if fields := learned.reasoning.form:
            merged(body, fields)
        if request.schema is not None:
            merged(body, learned.schema.form(request.schema))
        if settings.tier != "standard":  # the API asks for no tier by name: "auto" takes the priority one where it can
            body["service_tier"] = "standard_only" if request.tier == "standard" else "auto"
        return body | (settings.extra or {})

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
            status = next((STATUS_OF_ERROR[code] for code in sorted(said.codes) if code in STATUS_OF_ERROR), status)
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


def _system_ends(request: Request, prefixes: Sequence[Prefix], system: str) -> list[int]:
    """The end of the system prompt, where a prefix is to be cached that ends with its last message."""
    last = max(number for number, message in enumerate(request.messages) if message.role == "system")
    return [len(system)] if len(request.messages[last].content) in ends_of(prefixes, last) else []


def _text(content: Any) -> str | None:
    """The verdict's tool call, else the text blocks joined, whatever stands between; None where that is unknown."""
    if not isinstance(content, list) or not all(isinstance(block, dict) for block in content):
        return None
    if (verdict := _tool_verdict(content)) is not None:
        return verdict
    texts = [block.get("text") for block in content if block.get("type") == "text"]
    return "".join(texts) if all(isinstance(text, str) for text in texts) else None


def _tool_verdict(content: list[dict[str, Any]]) -> str | None:
    """The arguments of the verdict's tool as JSON; None where it was not called."""
    for block in content:
        if block.get("type") == "tool_use" and block.get("name") == NAME and isinstance(block.get("input"), dict):
            return orjson.dumps(block["input"]).decode()
    return None


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
    of_output = usage.get("output_tokens_details")
    reasoning = _count(of_output.get("thinking_tokens")) if isinstance(of_output, dict) else None
    if reasoning is not None and reasoning > completion:
        reasoning = None
    tier = our_word(usage.get("service_tier"))
    return Usage(prompt, completion, cached, written, min(hour or 0, written), reasoning, tier)


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
