"""OpenAI's Responses API, for `model.api = "responses"`: also spoken by Azure, vLLM and OpenRouter.

Each request is by itself: nothing is stored at the provider, and no earlier response is named.

Source: OpenAI, "API reference: create a model response".
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any, Unpack

from scorer.client.json_body import json_body
from scorer.client.providers import LEAST_OUTPUT
from scorer.client.providers.caching import cache_key
from scorer.client.providers.complaints import parse
from scorer.client.providers.completions import read_bill, read_logprobs, read_model
from scorer.client.providers.errors import fault
from scorer.client.providers.headers import rate_hint
from scorer.client.providers.learned import LearnedSettings, asked_until_taken, merged
from scorer.client.providers.openai import OpenAI
from scorer.client.providers.reasoning import responses_forms
from scorer.client.providers.settings import ProviderOptions, ProviderSettings
from scorer.client.providers.structured import no_schema, text_format
from scorer.client.providers.tiers import OpenAITiers
from scorer.errors import Refused, Rejected, RowError, ServerFault, SetupError, TransientError
from scorer.types import Call, Completion, RateHint, Reply, Request
from scorer.usage import Usage

_PATH = "/responses"
_LIMIT = "max_output_tokens"
_ENDED = {"max_output_tokens": "length", "max_tokens": "length", "content_filter": "content_filter"}
# A response that failed comes under 200; its code says what another status would.
_STATUS = {"rate_limit_exceeded": 429, "invalid_prompt": 400}


class Responses:
    """A `Provider` for any server that answers POST {base_url}/responses.

    It is made with `ProviderOptions`, which `ProviderSettings` explains; `dialect` has no meaning here. A request asks
    for at least 16 output tokens, the least that is taken. There is one reply a request, and no seed. What a server is
    found to take is remembered in `learned`.
    """

    default_base_url = OpenAI.default_base_url
    """Where model.base_url gives no other."""
    default_temperature = staticmethod(OpenAI.default_temperature)

    __slots__ = ("_headers", "_place", "_settings", "_tiers", "_url", "base_url", "learned", "name")

    def __init__(self, **options: Unpack[ProviderOptions]) -> None:
        self._settings = settings = ProviderSettings.of(options, self.default_base_url)
        self.name = settings.name
        self.base_url = settings.base_url.rstrip("/")
        self.learned = LearnedSettings(responses_forms(settings.reasoning), [text_format, no_schema])
        self._place = settings.place
        self._headers = {"content-type": "application/json", **(settings.headers or {})}
        self._tiers = OpenAITiers(settings.tier, self.base_url)
        self._url = f"{self.base_url}{_PATH}{settings.url_query}"

    def __repr__(self) -> str:
        return f"<Responses {self.name!r} at {self.base_url}>"

    def converse(self, request: Request) -> Generator[Call, Reply, Completion]:
        """One call, and another one after each refusal that tells what to ask otherwise.

        Raises: RowError, TransientError, SetupError; never anything else, whatever bytes come back.
        """
        if request.continuation is not None:
            raise SetupError(
                'model.api = "responses" gives no log-probabilities of a given text. Leave model.api out for kind = '
                '"likelihood".'
            )
        if request.choices > 1:
            raise Rejected("The Responses API gives one reply a request.")
        reply = yield from asked_until_taken(self.learned, request, self._call, self._settings.sent, self._place.quote)
        return self._read(reply)

    def rate(self, headers: Mapping[str, str]) -> RateHint:
        return rate_hint(headers)

    def _call(self, request: Request) -> Call:
        return Call(url=self._url, body=json_body(self._body(request)), headers=self._headers)

    def _body(self, request: Request) -> dict[str, Any]:
        settings, learned = self._settings, self.learned
        system = "\n\n".join(message.content for message in request.messages if message.role == "system")
        body: dict[str, Any] = {
            "model": self.name,
            "input": [
                {"role": message.role, "content": message.content}
                for message in request.messages
                if message.role != "system"
            ],
            "store": False,
        }
        if system:
            body["instructions"] = system
        asked = settings.max_output_tokens if request.max_output_tokens is None else request.max_output_tokens
        body[_LIMIT] = max(LEAST_OUTPUT, asked + settings.room)
        temperature = settings.temperature if request.temperature is None else request.temperature
        if temperature is not None and learned.temperature.form:
            body["temperature"] = temperature
        if request.top_logprobs > 0:
            body["include"] = ["message.output_text.logprobs"]
            body["top_logprobs"] = request.top_logprobs
        if fields := learned.reasoning.form:
            merged(body, fields)
        if request.schema is not None:
            merged(body, learned.schema.form(request.schema))
        if request.prefixes and learned.caching.form and (key := cache_key(request.prefixes)) is not None:
            body["prompt_cache_key"] = key
        body.update(self._tiers.fields[request.tier])
        return body | (settings.extra or {})

    def _read(self, reply: Reply) -> Completion:
        value = parse(reply.body)
        output = value.get("output") if isinstance(value, dict) else None
        if reply.status != 200 or not isinstance(value, dict) or value.get("error") or not isinstance(output, list):
            raise self._fault(reply, value)
        text, refused, logprobs = _content(output)
        usage = _usage(value, said=bool(text))
        if text is None:
            garbled = ServerFault(f"{self._url} answered with output that cannot be read", billed=True, garbled=True)
            garbled.usage = usage
            raise garbled
        if refused:
            raise Refused(self._place.quote(refused), usage=usage, billed=True)
        finish_reason = _finish_reason(value)
        if finish_reason == "content_filter" and not text:
            raise Refused("The provider's content filter stopped the reply.", usage=usage, billed=True)
        return Completion(
            text=text,
            finish_reason=finish_reason,
            model=read_model(value),
            usage=usage,
            logprobs=read_logprobs(logprobs) if logprobs else None,
            body=reply.body,
        )

    def _fault(self, reply: Reply, value: Any) -> TransientError | RowError | SetupError:
        status, error = reply.status, value.get("error") if isinstance(value, dict) else None
        if status == 200 and isinstance(error, dict):
            status = _STATUS.get(str(error.get("code")), 500)
        found = fault(Reply(status, reply.headers, reply.body), self._place, f"{self.base_url}{_PATH}")
        if isinstance(value, dict) and isinstance(found, RowError | TransientError):
            usage = _usage(value, said=False)
            if usage is not None:
                found.usage, found.billed = usage, True
        return found


def _content(output: list[Any]) -> tuple[str | None, str, list[Any]]:
    """The text of all messages, None where it is unknown; a refusal, "" where there is none; log-probabilities."""
    texts: list[str] = []
    refused, logprobs = "", []
    for item in output:
        if not isinstance(item, dict):
            return None, "", []
        if item.get("type", "message") != "message":
            continue  # reasoning, calls of tools that extra asked for
        parts = item.get("content")
        if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
            return None, "", []
        for part in parts:
            if isinstance(part.get("refusal"), str):
                refused = refused or part["refusal"]
            elif part.get("type", "output_text") in ("output_text", "text"):
                if not isinstance(part.get("text"), str):
                    return None, "", []
                texts.append(part["text"])
                if isinstance(part.get("logprobs"), list):
                    logprobs += part["logprobs"]
    return "".join(texts), refused, logprobs


def _finish_reason(value: Mapping[str, Any]) -> str:
    """As chat completions word it: stop, length, content_filter."""
    details = value.get("incomplete_details")
    reason = details.get("reason") if isinstance(details, dict) else None
    if isinstance(reason, str):
        return _ENDED.get(reason, reason)
    return "stop" if value.get("status") == "completed" else ""


def _usage(value: Mapping[str, Any], *, said: bool) -> Usage | None:
    """The bill, read by the rules of chat completions under their names."""
    usage = value.get("usage")
    if not isinstance(usage, dict):
        return None
    named = {
        "prompt_tokens": usage.get("input_tokens"),
        "completion_tokens": usage.get("output_tokens"),
        "total_tokens": usage.get("total_tokens"),
        "prompt_tokens_details": usage.get("input_tokens_details"),
        "completion_tokens_details": usage.get("output_tokens_details"),
    }
    counts = {name: count for name, count in named.items() if count is not None}
    return read_bill({"usage": counts, "service_tier": value.get("service_tier")}, said=said)
