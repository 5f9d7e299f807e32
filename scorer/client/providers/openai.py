"""OpenAI's chat completions as spoken by OpenAI, Azure, vLLM, SGLang, TGI, Ollama, llama.cpp and OpenRouter.

The log-probability of a given text is asked in `logprobs`; what replies complain of is read in `errors`.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping
from dataclasses import replace
from typing import Any, Unpack

import orjson

from scorer.client.json_body import json_body
from scorer.client.providers import logprobs as forced
from scorer.client.providers.caching import cache_key
from scorer.client.providers.complaints import complaint, parse
from scorer.client.providers.completions import (
    billed,
    read_bill,
    read_fingerprint,
    read_logprobs,
    read_model,
    read_plain,
    read_text,
)
from scorer.client.providers.errors import fault
from scorer.client.providers.headers import rate_hint
from scorer.client.providers.learned import LearnedSettings, Places, merged, refusal
from scorer.client.providers.reasoning import FAMILY, Reasoning, openai_forms, style_of
from scorer.client.providers.settings import ProviderOptions, ProviderSettings
from scorer.client.providers.structured import openai_schema_forms
from scorer.client.providers.tiers import OpenAITiers, our_word
from scorer.errors import NoCapacity, Refused, Rejected, RowError, ServerFault, SetupError
from scorer.patterns import pattern
from scorer.types import Call, Completion, Reply, Request

_OLD_LIMIT = "max_tokens"
_NEW_LIMIT = "max_completion_tokens"
_LIMITS = (_OLD_LIMIT, _NEW_LIMIT)
_Learned = tuple[str, Places]
"""The name of the output limit and the forms of the settings that a call was made with."""
_TIER_HEADER = "x-gemini-service-tier"
# gpt-5-chat is no reasoning model but takes the new name.
_REASONING = pattern(FAMILY + r"(?:o[134](?:$|-)|gpt-5)", re.IGNORECASE)
_NOT_TAKEN = pattern(
    r"not supported|unsupported|unrecognized|unknown|unexpected|not permitted|not allowed|extra (?:inputs?|fields?)",
    re.IGNORECASE,
)
_EITHER_LIMIT = pattern(r"max_(?:completion_)?tokens")


class OpenAI:
    """A `Provider` for any server that answers POST {base_url}/chat/completions.

    It is made with `ProviderOptions`, which `ProviderSettings` explains. `dialect` says how the log-probability of a
    given text is asked; "auto" finds out at the first such request. What a server is found to take is remembered on the
    instance: the name of the output limit, and `learned`.
    """

    default_base_url = "https://api.openai.com/v1"
    """Where model.base_url gives no other."""

    __slots__ = (
        "_chat_url",
        "_headers",
        "_is_single",
        "_limit",
        "_place",
        "_settings",
        "_tiers",
        "base_url",
        "forcing",
        "learned",
        "name",
    )

    def __init__(self, **options: Unpack[ProviderOptions]) -> None:
        self._settings = settings = ProviderSettings.of(options, self.default_base_url)
        self.name = settings.name
        self.base_url = settings.base_url.rstrip("/")
        self.forcing = forced.Forcing(settings.dialect)
        style = style_of(self.base_url, settings.dialect)
        self.learned = LearnedSettings(openai_forms(settings.reasoning, style), openai_schema_forms(style))
        self._tiers = OpenAITiers(settings.tier, self.base_url)
        headers = {"content-type": "application/json", **(settings.headers or {})}
        self._headers = {tier: {**headers, **added} for tier, added in self._tiers.headers.items()}
        self._limit = _NEW_LIMIT if _REASONING.search(self.name) else _OLD_LIMIT
        self._place = settings.place
        # The reply of another tier may name it in a header; a user's class may converse or read otherwise.
        as_here = type(self).converse is OpenAI.converse and type(self).read is OpenAI.read
        self._is_single = as_here and settings.tier == "standard"
        self._chat_url = f"{self.base_url}/chat/completions{settings.url_query}"

    @staticmethod
    def default_temperature(name: str, reasoning: Reasoning = None) -> float | None:
        """The temperature where the run file names none: 0; None for families that refuse a temperature."""
        return None if _REASONING.search(name) else 0.0

    def __repr__(self) -> str:
        return f"<OpenAI {self.name!r} at {self.base_url}, {self._limit}, dialect {self.forcing.dialect}>"

    def converse(self, request: Request) -> Generator[Call, Reply, Completion]:
        """One call, and another one after each refusal that tells what to ask otherwise.

        Where several choices are wanted, whatever is called wrong is Rejected: `n` may be what is wrong.

        Raises: RowError, TransientError, SetupError; never anything else, whatever bytes come back.
        """
        if request.continuation is not None:
            return (yield from forced.converse(self, request))
        learned = self._limit, self.learned.places
        reply = yield self._chat(request)
        return (yield from self.go_on(request, learned, reply))

    def single_call(self, request: Request) -> Call | None:
        """As `SingleCallProvider`."""
        single = self._is_single and request.choices == 1 and request.schema is None and request.continuation is None
        return self._chat(request) if single else None

    def single_completion(self, reply: Reply) -> Completion | None:
        """As `SingleCallProvider`."""
        return read_plain(reply.body) if reply.status == 200 else None

    def go_on(self, request: Request, learned: _Learned, reply: Reply) -> Generator[Call, Reply, Completion]:
        """The conversation after the reply to a call, which was made with what was `learned` by then."""
        renamed = False
        while reply.status != 200 and (said := refusal(reply)) is not None:
            limit, places = learned
            if not renamed and (other := _other_limit(reply, limit)) is not None:
                self._limit, renamed = other, True
            elif not self.learned.learn(said, places, self._settings.sent(request), self._place.quote):
                break
            learned = self._limit, self.learned.places
            reply = yield self._chat(request)
        if request.schema is not None and not self.learned.schema.proven:
            reply = yield from self._schema_proved(request, reply)
        done = self.read(reply) if request.choices == 1 else self._read_several(reply, request.choices)
        named = our_word(reply.headers.get(_TIER_HEADER)) if self._settings.tier != "standard" else None
        if done.usage is not None and done.usage.tier is None and named is not None:
            return replace(done, usage=replace(done.usage, tier=named))
        return done

    def _schema_proved(self, request: Request, reply: Reply) -> Generator[Call, Reply, Reply]:
        """The reply; where a request with a schema is called wrong in other words, that to the same without it.

        If that is answered, the schema was at fault and is left out from now on.
        """
        schema = self.learned.schema
        if reply.status == 200:
            schema.proven = True
        elif schema.has_more and isinstance(self.fault(reply, "/chat/completions"), Rejected):
            other = yield self._chat(replace(request, schema=None))
            if other.status == 200:
                self.learned.give_up_schema()
                return other
        return reply

    rate = staticmethod(rate_hint)

    def _chat(self, request: Request) -> Call:
        limit = self._limit
        body = self._body(request, limit)
        known = not (self._settings.extra or self.learned.reasoning.form)  # these have further names for the limit
        output = (body[limit], request.choices) if known else None
        learned = limit, self.learned.places
        return Call(self._chat_url, json_body(body), self._headers[request.tier], None, False, output, learned)

    def call(self, path: str, body: Mapping[str, Any], tier: str = "") -> Call:
        """A POST of `body` to `path` below the base URL, or below its root where `path` is "/tokenize"."""
        base = self.base_url.removesuffix("/v1") if path == "/tokenize" else self.base_url
        return Call(url=f"{base}{path}{self._settings.url_query}", body=json_body(body), headers=self._headers[tier])

    def completion_body(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """A body for /completions; here `fields` win over `extra`, because the measurement depends on them."""
        kept = {name: value for name, value in (self._settings.extra or {}).items() if name not in _LIMITS}
        return {"model": self.name, **kept, **fields}

    def read(self, reply: Reply, path: str = "/chat/completions") -> Completion:
        """The completion in a reply. Raises: RowError, TransientError, SetupError."""
        if reply.status == 200 and (plain := read_plain(reply.body)) is not None:
            return plain
        choice, value = self.choice(reply, path)
        return self._completion(choice, value, reply.body, path)

    def _read_several(self, reply: Reply, wanted: int) -> Completion:
        """As `read`, with all the choices; one that was refused is an error, one that cannot be read is missing."""
        path = "/chat/completions"
        try:
            _, value = self.choice(reply, path)
        except SetupError as error:
            if reply.status in (400, 422):
                raise Rejected(str(error)) from None
            raise
        read: list[Completion | RowError] = []
        rest = {name: part for name, part in value.items() if name != "usage"}  # the bill is of all of them
        for choice in value["choices"][:wanted]:
            if not isinstance(choice, dict) or (choice.get("error") and not read_text(choice)[0]):
                continue
            alone = (rest if read else value) | {"choices": [choice]}
            try:
                read.append(replace(self._completion(choice, alone, orjson.dumps(alone), path), usage=None))
            except Refused as error:
                read.append(Refused(error.detail))
            except ServerFault:
                continue
        if not read:
            with billed(value):
                raise ServerFault(f"{self.base_url}{path} answered with no choice that can be read", garbled=True)
        refused = Completion("", "content_filter", read_model(value))
        first = next((one for one in read if isinstance(one, Completion)), refused)
        said = any(isinstance(one, Completion) and one.text for one in read)
        return replace(first, usage=read_bill(value, said=said), body=reply.body, choices=tuple(read))

    def _completion(self, choice: dict[str, Any], value: dict[str, Any], body: bytes, path: str) -> Completion:
        text, refusal = read_text(choice)
        finish_reason = choice.get("finish_reason")
        usage = read_bill(value, said=bool(text))
        if refusal:
            raise Refused(self._place.quote(refusal), usage=usage, billed=True)
        if text is None:
            with billed(value):
                raise ServerFault(
                    f"{self.base_url}{path} answered with a choice that has no readable content", garbled=True
                )
        if finish_reason == "content_filter" and not text:
            raise Refused("The provider's content filter stopped the reply.", usage=usage, billed=True)
        return Completion(
            text=text,
            finish_reason=finish_reason if isinstance(finish_reason, str) else "",
            model=read_model(value),
            usage=usage,
            logprobs=read_logprobs(choice.get("logprobs")),
            body=body,
            system_fingerprint=read_fingerprint(value),
        )

    def choice(self, reply: Reply, path: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """The first choice of a reply and the whole value around it. Raises: RowError, TransientError, SetupError."""
        value = parse(reply.body)
        choices = value.get("choices") if isinstance(value, dict) else None
        choice = choices[0] if isinstance(choices, list) and choices else None
        if reply.status != 200 or not isinstance(choice, dict) or complaint(value) is not None:
            raise self.fault(reply, path)
        if choice.get("error") and not read_text(choice)[0]:  # OpenRouter: the upstream model failed half-way
            error = self.fault(Reply(reply.status, reply.headers, orjson.dumps({"error": choice["error"]})), path)
            if read_bill(value) is None:
                raise error
            with billed(value):
                raise error
        return choice, value

    def fault(self, reply: Reply, path: str) -> Exception:
        found = fault(reply, self._place, f"{self.base_url}{path}")
        if self._tiers.sheds and reply.status == 503 and isinstance(found, ServerFault):
            return NoCapacity(found.detail, retry_after_s=found.retry_after_s)
        return found

    def _body(self, request: Request, limit: str) -> dict[str, Any]:
        settings, learned = self._settings, self.learned
        extra = settings.extra or {}
        body: dict[str, Any] = {
            "model": self.name,
            "messages": [{"role": message.role, "content": message.content} for message in request.messages],
        }
        temperature = settings.temperature if request.temperature is None else request.temperature
        if temperature is not None and learned.temperature.form:
            body["temperature"] = temperature
        if not (extra and extra.keys() & set(_LIMITS)):
            asked = request.max_output_tokens
            body[limit] = (settings.max_output_tokens if asked is None else asked) + settings.room
        if request.choices > 1:
            body["n"] = request.choices
        if request.seed is not None:
            body["seed"] = request.seed
        if request.top_logprobs > 0:
            body["logprobs"] = True
            body["top_logprobs"] = request.top_logprobs
        if fields := learned.reasoning.form:
            merged(body, fields)
        if request.schema is not None:
            merged(body, learned.schema.form(request.schema))
        if request.prefixes and learned.caching.form and (key := cache_key(request.prefixes)) is not None:
            body["prompt_cache_key"] = key
        body.update(self._tiers.fields[request.tier])
        return body | extra if extra else body


def _other_limit(reply: Reply, limit: str) -> str | None:
    """The other name of the output limit, where the reply says that this one is not taken."""
    if reply.status not in (400, 422):
        return None
    said = complaint(parse(reply.body))
    if said is None or not _NOT_TAKEN.search(said.message):
        return None
    named = _EITHER_LIMIT.search(said.param) or _EITHER_LIMIT.search(said.message)
    if named is None or named[0] != limit:  # the first one named is the one complained of
        return None
    return _OLD_LIMIT if limit == _NEW_LIMIT else _NEW_LIMIT
