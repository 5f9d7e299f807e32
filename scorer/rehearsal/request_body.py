"""Parses the JSON body of a request as an OpenAI-compatible server does, with its error messages."""

from __future__ import annotations

import re
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, Literal

from scorer.frozen import dataclass
from scorer.rehearsal.vocabulary import forced_ids

Endpoint = Literal["chat", "text", "messages", "classify", "score", "pooling", "predict"]


class InvalidRequest(ValueError):
    """The body is no request that this server could answer; `param` names the key at fault."""

    def __init__(self, message: str, param: str | None = None) -> None:
        self.param = param
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Question:
    """One parsed request.

    `text` is all of its contents, joined by line feeds. `max_tokens` is None where it sets none. `top` is None where no
    log-probabilities are asked. `schema` is that of response_format, {} for any JSON, None for free text. `forced` are
    the token ids of a token-level grammar, in order. With `activation` a classifier's values are probabilities. `tier`
    is the service tier that it names, `tool` the tool whose arguments are the reply. `marked` are the first characters
    of the text that a mark asks to cache, for an hour where `lasting`; None where the server caches unasked.
    """

    endpoint: Endpoint
    text: str
    row: str
    max_tokens: int | None = None
    choices: int = 1
    top: int | None = None
    schema: Mapping[str, Any] | None = None
    forced: tuple[int, ...] = ()
    activation: bool = True
    tier: str | None = None
    tool: str | None = None
    marked: int | None = None
    lasting: bool = False

    @property
    def classifies(self) -> bool:
        """Whether the values of classes are asked for, and no text."""
        return self.endpoint not in ("chat", "text", "messages")


def read(endpoint: Endpoint, body: Any, row_pattern: re.Pattern[str]) -> Question:
    """Raises: InvalidRequest."""
    if not isinstance(body, dict):
        raise InvalidRequest("We could not parse the JSON body of your request.")
    if body.get("stream"):
        raise InvalidRequest("This server does not stream.", "stream")
    text = _text(endpoint, body)
    limit = "max_completion_tokens" if body.get("max_completion_tokens") is not None else "max_tokens"
    grammar = body.get("grammar")
    return Question(
        endpoint=endpoint,
        text=text,
        row=row_of(text, row_pattern),
        max_tokens=whole_number(body, limit, 1, 1 << 31),
        choices=whole_number(body, "n", 1, 128) or 1,
        top=_top(endpoint, body),
        schema=_schema(body.get("response_format")),
        forced=_forced(grammar) if grammar else (),
        tier=_tier(body.get("service_tier")),
        activation=not body.get("raw_scores") if endpoint == "predict" else body.get("use_activation") is not False,
    )


def row_of(text: str, row_pattern: re.Pattern[str]) -> str:
    """The row that a prompt names; else a hash of the prompt."""
    found = row_pattern.search(text)
    return found[1] if found and found[1] else blake2b(text.encode("utf-8", "replace"), digest_size=8).hexdigest()


TIERS = ("auto", "default", "flex", "priority")


def _tier(named: Any) -> str | None:
    if named is not None and named not in TIERS:
        allowed = ", ".join(f"'{tier}'" for tier in TIERS)
        raise InvalidRequest(f"Invalid value for 'service_tier': supported values are {allowed}.", "service_tier")
    return "default" if named == "auto" else named


def _text(endpoint: Endpoint, body: Mapping[str, Any]) -> str:
    if endpoint == "text":
        return _string(body, "prompt")
    if endpoint == "score":
        return "\n".join(_string(body, name) for name in ("text_1", "text_2"))
    if endpoint == "predict":
        pair = body.get("inputs")
        if isinstance(pair, list) and len(pair) == 2 and all(isinstance(one, str) for one in pair):
            return "\n".join(pair)
        return _string(body, "inputs")
    return contents(body.get("messages")) if endpoint == "chat" or "messages" in body else _string(body, "input")


def _string(body: Mapping[str, Any], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str):
        raise InvalidRequest(f"Missing required parameter: '{name}' (one string).", name)
    return value


def contents(messages: Any) -> str:
    """The texts of messages, joined by line feeds. Raises: InvalidRequest."""
    if not isinstance(messages, list) or not messages:
        raise InvalidRequest("Missing required parameter: 'messages'.", "messages")
    texts = []
    for message in messages:
        content = message.get("content") if isinstance(message, dict) else None
        if isinstance(content, str):
            texts.append(content)
        elif isinstance(content, list):
            texts += [part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str)]
        else:
            raise InvalidRequest("Invalid type for 'messages': expected objects with a content.", "messages")
    return "\n".join(texts)


def whole_number(body: Mapping[str, Any], name: str, low: int, high: int) -> int | None:
    """A number of a body; None where there is none. Raises: InvalidRequest."""
    value = body.get(name)
    if value is None:
        return None
    if type(value) is not int or not low <= value <= high:
        raise InvalidRequest(f"Invalid value for '{name}': expected an integer from {low} to {high}.", name)
    return value


def _top(endpoint: Endpoint, body: Mapping[str, Any]) -> int | None:
    """Chat asks with logprobs true and top_logprobs n; text with logprobs n (llama.cpp: or true)."""
    asked = body.get("logprobs")
    if endpoint == "text" and type(asked) is int:
        return whole_number(body, "logprobs", 0, 200)
    if not asked:
        return None
    return whole_number(body, "top_logprobs", 0, 200) or 0


def _schema(response_format: Any) -> Mapping[str, Any] | None:
    if not isinstance(response_format, dict) or response_format.get("type") not in ("json_schema", "json_object"):
        return None
    if response_format["type"] == "json_object":
        return {}
    described = response_format.get("json_schema")
    schema = described.get("schema") if isinstance(described, dict) else None
    if not isinstance(schema, dict):
        raise InvalidRequest("Missing required parameter: 'response_format.json_schema.schema'.", "response_format")
    return schema


def _forced(grammar: Any) -> tuple[int, ...]:
    ids = forced_ids(grammar) if isinstance(grammar, str) else None
    if ids is None:
        raise InvalidRequest("failed to parse grammar: this server knows only `root ::= <[id]> <[id]> ...`", "grammar")
    return ids
