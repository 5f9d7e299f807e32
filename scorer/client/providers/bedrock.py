"""Amazon Bedrock's Converse API. It gives no log-probabilities, takes no seed, and names no model in its replies.

Requests are signed on their way (client/aws_signing.py), or carry a Bedrock key as `Authorization: Bearer`.

Source: Amazon Bedrock API reference, "Converse".
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any, Unpack
from urllib.parse import quote

import orjson

from scorer.client.json_body import json_body
from scorer.client.providers.caching import converse_content, ends_of
from scorer.client.providers.complaints import complaint, parse
from scorer.client.providers.errors import fault, no_logprobs
from scorer.client.providers.headers import retry_after_s
from scorer.client.providers.learned import LearnedSettings, asked_until_taken, merged
from scorer.client.providers.reasoning import Reasoning, converse_forms, reasons
from scorer.client.providers.settings import ProviderOptions, ProviderSettings
from scorer.client.providers.structured import NAME, no_schema, tool_config
from scorer.client.providers.tiers import our_word
from scorer.errors import Refused, RowError, ServerFault, SetupError, SpecError, TooLong, TransientError
from scorer.types import Call, Completion, RateHint, Reply, Request
from scorer.usage import Usage

_FINISH = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "guardrail_intervened": "content_filter",
    "content_filtered": "content_filter",
}
_TOO_LONG = ("input is too long", "too many input tokens", "exceeds the maximum number of tokens", "prompt is too long")
_MODEL_FAILED = 424
_LARGEST_COUNT = 2**53


class Bedrock:
    """A `Provider` for Bedrock's POST {base_url}/model/{name}/converse.

    It is made with `ProviderOptions`, which `ProviderSettings` explains; `dialect` has no meaning here. `name` is a
    model's id, the ARN of a profile, or an inference profile such as "eu.anthropic.claude-sonnet-4-5-20250929-v1:0".
    What a server is found to take is remembered in `learned`.

    Raises: SpecError for a temperature above 1.
    """

    default_base_url = "https://bedrock-runtime.{region}.amazonaws.com"
    """Where model.base_url gives no other; the region is that of the AWS configuration."""

    __slots__ = ("_headers", "_place", "_settings", "_url", "base_url", "learned", "name")

    def __init__(self, **options: Unpack[ProviderOptions]) -> None:
        self._settings = settings = ProviderSettings.of(options, self.default_base_url)
        if problems := self.problems(settings.temperature, settings.reasoning):
            raise SpecError(problems)
        self.name = settings.name
        self.base_url = settings.base_url.rstrip("/")
        self.learned = LearnedSettings(converse_forms(settings.reasoning, self.name), [tool_config, no_schema])
        self._place = settings.place
        self._headers = {"content-type": "application/json", **(settings.headers or {})}
        self._url = f"{self.base_url}/model/{quote(self.name, safe='')}/converse{settings.url_query}"

    @staticmethod
    def problems(temperature: float | None, reasoning: Reasoning) -> list[str]:
        """What is wrong with these settings, one sentence for each."""
        if temperature is not None and temperature > 1:
            return [f"model.temperature: {temperature:g} is not allowed; Bedrock takes 0 to 1."]
        return []

    @staticmethod
    def default_temperature(name: str, reasoning: Reasoning = None) -> float | None:
        """The temperature where the run file names none: 0; None, so that none is sent, where the model reasons."""
        return None if reasons(reasoning) else 0.0

    def __repr__(self) -> str:
        return f"<Bedrock {self.name!r} at {self.base_url}>"

    def converse(self, request: Request) -> Generator[Call, Reply, Completion]:
        """One call, and another one after each refusal that tells what to ask otherwise.

        Raises: RowError, TransientError, SetupError; never anything else, whatever bytes come back.
        """
        if request.continuation is not None or request.top_logprobs > 0:
            raise no_logprobs("Bedrock")
        reply = yield from asked_until_taken(self.learned, request, self._call, self._sent, self._place.quote)
        return self._read(reply)

    def rate(self, headers: Mapping[str, str]) -> RateHint:
        return RateHint(retry_after_s=retry_after_s(headers))

    def _sent(self, request: Request) -> tuple[bool, bool, bool, bool]:
        return self._settings.sent(request, reasons=reasons(self._settings.reasoning))

    def _call(self, request: Request) -> Call:
        return Call(url=self._url, body=json_body(self._body(request)), headers=self._headers)

    def _body(self, request: Request) -> dict[str, Any]:
        settings, learned = self._settings, self.learned
        prefixes = request.prefixes if learned.caching.form else ()
        contents = [
            (message.role, converse_content(message.content, ends_of(prefixes, number)))
            for number, message in enumerate(request.messages)
        ]
        system = [block for role, blocks in contents if role == "system" for block in blocks]
        asked = settings.max_output_tokens if request.max_output_tokens is None else request.max_output_tokens
        inference: dict[str, Any] = {"maxTokens": asked + settings.room}
        temperature = settings.temperature if request.temperature is None else request.temperature
        if temperature is not None and learned.temperature.form and not reasons(settings.reasoning):
            inference["temperature"] = temperature
        body: dict[str, Any] = {
            "messages": [{"role": role, "content": blocks} for role, blocks in contents if role != "system"],
            **({"system": system} if system else {}),
            "inferenceConfig": inference,
        }
        if fields := learned.reasoning.form:
            merged(body, fields)
        if request.schema is not None:
            merged(body, learned.schema.form(request.schema))
        if settings.tier != "standard":
            body["serviceTier"] = {"type": "default" if request.tier == "standard" else settings.tier}
        return body | (settings.extra or {})

    def _read(self, reply: Reply) -> Completion:
        value = parse(reply.body)
        output = value.get("output") if isinstance(value, dict) else None
        if reply.status != 200 or not isinstance(value, dict) or not isinstance(output, dict):
            raise self._fault(reply)
        message = output.get("message")
        text = _text(message.get("content")) if isinstance(message, dict) else None
        usage = _usage(value, said=bool(text))
        if text is None:
            garbled = ServerFault(f"{self._url} answered with content that cannot be read", billed=True, garbled=True)
            garbled.usage = usage
            raise garbled
        stopped = value.get("stopReason")
        finish_reason = _FINISH.get(stopped, stopped) if isinstance(stopped, str) else ""
        if finish_reason == "content_filter":
            raise Refused("A guardrail or content filter stopped the reply.", usage=usage, billed=True)
        return Completion(text=text, finish_reason=finish_reason, model="", usage=usage, body=reply.body)

    def _fault(self, reply: Reply) -> TransientError | RowError | SetupError:
        said = complaint(parse(reply.body))
        if said is not None and reply.status == 400 and any(words in said.message.lower() for words in _TOO_LONG):
            return TooLong(self._place.quote(said.message))
        if said is not None and reply.status == _MODEL_FAILED:
            return ServerFault(f"{self._url} answered 424: {self._place.quote(said.message)}", billed=True)
        return fault(reply, self._place, self._url)


def _text(content: Any) -> str | None:
    """The verdict's tool call, else the texts joined, whatever stands between; None where that is unknown."""
    if not isinstance(content, list) or not all(isinstance(block, dict) for block in content):
        return None
    for block in content:
        call = block.get("toolUse")
        if isinstance(call, dict) and call.get("name") == NAME and isinstance(call.get("input"), dict):
            return orjson.dumps(call["input"]).decode()
    texts = [block["text"] for block in content if "text" in block]
    return "".join(texts) if all(isinstance(text, str) for text in texts) else None


def _usage(value: Mapping[str, Any], *, said: bool) -> Usage | None:
    """The bill; `inputTokens` counts only what no cache had to do with. `said`: the reply holds a text.

    No token for a prompt, or none for a text, is no bill.
    """
    usage, served = value.get("usage"), value.get("serviceTier")
    if not isinstance(usage, dict):
        return None
    counts = [usage.get(name) or 0 for name in ("inputTokens", "cacheReadInputTokens", "cacheWriteInputTokens")]
    counts.append(usage.get("outputTokens"))
    if not all(type(count) is int and 0 <= count <= _LARGEST_COUNT for count in counts):
        return None
    fresh, cached, written, completion = counts
    prompt = fresh + cached + written
    if not prompt or (said and not completion):
        return None
    tier = our_word(served.get("type")) if isinstance(served, dict) else None
    return Usage(prompt, completion, cached, written, tier=tier)
