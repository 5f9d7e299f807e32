"""Anthropic's Messages API in the simulated judge: reads its requests, words its replies, errors and rate headers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson

from scorer.rehearsal.request_body import InvalidRequest, Question, contents, row_of, whole_number

if TYPE_CHECKING:
    from scorer.rehearsal.answers import Prepared
    from scorer.rehearsal.prefix_cache import CacheUse

_STOPS = {"stop": "end_turn", "length": "max_tokens", "content_filter": "refusal"}
_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_GAUGE = re.compile(r"x-ratelimit-(limit|remaining|reset)-(requests|tokens)")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m)")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0}


def read(body: Any, row_pattern: re.Pattern[str]) -> Question:
    """The request in a JSON body. Raises: InvalidRequest."""
    if not isinstance(body, dict):
        raise InvalidRequest("We could not parse the JSON body of your request.")
    if not isinstance(body.get("model"), str):
        raise InvalidRequest("model: Field required", "model")
    limit = whole_number(body, "max_tokens", 1, 1 << 31)
    if limit is None:
        raise InvalidRequest("max_tokens: Field required", "max_tokens")
    system = body.get("system")
    said = [{"content": system}] if isinstance(system, str | list) else []
    text = contents([*said, *_list(body.get("messages"))] if body.get("messages") else None)
    schema, tool = _schema(body)
    marked, lasting = _marked([*said, *_list(body.get("messages"))])
    row = row_of(text, row_pattern)
    return Question("messages", text, row, limit, schema=schema, tool=tool, marked=marked, lasting=lasting)


def _marked(said: list[Any]) -> tuple[int, bool]:
    """How many characters of the contents, joined by line feeds, end with the last mark; whether it is for an hour."""
    done = marked = 0
    lasting = False
    for message in said:
        content = message.get("content")
        for block in content if isinstance(content, list) else [{"text": content}]:
            if isinstance(block, dict) and isinstance(block.get("text"), str):
                done += len(block["text"])
                if isinstance(mark := block.get("cache_control"), dict):
                    marked, lasting = done, mark.get("ttl") == "1h"
                done += 1
    return marked, lasting


def message(prepared: Prepared, text: str | None, model: str, number: int, cached: CacheUse | None) -> dict[str, Any]:
    """The body of a reply; without a `text` its content is empty."""
    tool, stop = prepared.question.tool, _STOPS[prepared.finish]
    content: list[dict[str, Any]] = [] if text is None else [{"type": "text", "text": text}]
    if tool is not None and text is not None:
        content = [{"type": "tool_use", "id": f"toolu_{number}", "name": tool, "input": _object(text)}]
        stop = "tool_use" if stop == "end_turn" else stop
    usage: dict[str, Any] = {
        "input_tokens": prepared.prompt_tokens - (0 if cached is None else cached.read + cached.written),
        "output_tokens": prepared.completion_tokens,
    }
    if cached is not None:
        hour = cached.written if cached.lasting else 0
        usage |= {
            "cache_creation_input_tokens": cached.written,
            "cache_read_input_tokens": cached.read,
            "cache_creation": {
                "ephemeral_5m_input_tokens": cached.written - hour,
                "ephemeral_1h_input_tokens": hour,
            },
        }
    if prepared.question.tier is not None:
        usage["service_tier"] = prepared.question.tier
    return {
        "id": f"msg_{number}",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": content,
        "stop_reason": stop,
        "stop_sequence": None,
        "usage": usage,
    }


def error(status: int, body: bytes) -> bytes:
    """An error of `replies` as Anthropic words it; any other body as it is."""
    try:
        said = orjson.loads(body)["error"]
        text = said["message"]
    except (orjson.JSONDecodeError, TypeError, KeyError):
        return body
    if said.get("code") == "context_length_exceeded":
        text = f"prompt is too long: {text}"
    kind = _TYPES.get(status, "overloaded_error" if said.get("code") == "overloaded" else "api_error")
    return orjson.dumps({"type": "error", "error": {"type": kind, "message": text}, "request_id": None})


def headers(given: Mapping[str, str], now: float) -> dict[str, str]:
    """OpenAI's rate headers as Anthropic names them. `now` is in seconds since 1970: a reset is a date."""
    found = {}
    for name, value in given.items():
        if (gauge := _GAUGE.fullmatch(name)) is None:
            found[name] = value
            continue
        what, of = gauge.groups()
        found[f"anthropic-ratelimit-{of}-{what}"] = _date(now + _seconds(value)) if what == "reset" else value
    return found


def _schema(body: Mapping[str, Any]) -> tuple[Mapping[str, Any] | None, str | None]:
    """The schema that the reply has to follow, and the tool that takes it; None where there is none."""
    tools, config = _list(body.get("tools")), body.get("output_config")
    if tools and isinstance(tools[0], dict):
        schema = tools[0].get("input_schema")
        if not isinstance(schema, dict) or not isinstance(tools[0].get("name"), str):
            raise InvalidRequest("tools.0: name and input_schema are required", "tools")
        return schema, tools[0]["name"]
    wanted = config.get("format") if isinstance(config, dict) else None
    if wanted is None:
        return None, None
    schema = wanted.get("schema") if isinstance(wanted, dict) else None
    if not isinstance(schema, dict):
        raise InvalidRequest("output_config.format.schema: Field required", "output_config")
    return schema, None


def _object(text: str) -> dict[str, Any]:
    """The arguments of a tool call; none where the reply ended within them."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _seconds(duration: str) -> float:
    return sum(float(number) * _UNITS[unit] for number, unit in _DURATION.findall(duration))


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
