"""A row's value as the text that a prompt shows: text, numbers, dates, content parts, and conversations with roles."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import date, time
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from scorer.errors import BadRow


class Turn(NamedTuple):
    """One message of a conversation."""

    role: str
    text: str


_SHAREGPT = {"human": "user", "gpt": "assistant"}
"""The roles of ShareGPT's `{from, value}` that other conversations call otherwise."""


Shown = str | tuple[Turn, ...]
"""A text, or the messages of a conversation."""


def shown(column: str, value: Any) -> Shown:
    """The value as a prompt shows it.

    A list of `{role, content}`, or of ShareGPT's `{from, value}`, is a conversation. Of a list of content parts
    (`{type: "text", text: ...}`) the texts are joined by line feeds, and any other part is named in brackets:
    `[image_url]`. Bytes are read as UTF-8; dates and times are written as in ISO 8601, a UUID with its hyphens.

    Raises BadRow where the value is null, NaN, no UTF-8, or none of these.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | Decimal | UUID) or (isinstance(value, float) and not math.isnan(value)):
        return str(value)
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise BadRow(f"Column {column!r} holds bytes that are not UTF-8.") from None
    if isinstance(value, date | time):
        return value.isoformat()
    if _is_turn(value):
        value = [value]
    if isinstance(value, list | tuple) and value and all(isinstance(item, Mapping) for item in value):
        if all(map(_is_turn, value)):
            return tuple(_turn(column, number, item) for number, item in enumerate(value))
        if all("type" in item for item in value):
            return _joined(column, value)
    what = "null" if value is None else "NaN" if isinstance(value, float) else _kind(value)
    inner = f" Name a field of it: {{{column}.{next(iter(value))}}}." if isinstance(value, Mapping) and value else ""
    raise BadRow(
        f"Column {column!r} is {what}; the prompt needs a string, a number, a boolean, a date, or a list of messages."
        f"{inner}"
    )


def plain(shown: Shown) -> str:
    """A conversation as text: each message below its role in brackets."""
    if isinstance(shown, str):
        return shown
    return "\n\n".join(f"[{turn.role}]\n{turn.text}" for turn in shown)


def as_text(column: str, value: Any) -> Any:
    """Bytes, content parts and conversations as text; any other value as it is. Raises BadRow as `shown`."""
    if isinstance(value, bytes) or (isinstance(value, list | tuple | Mapping) and value):
        return plain(shown(column, value))
    return value


def _is_turn(value: Any) -> bool:
    return isinstance(value, Mapping) and ("role" in value or ("from" in value and "value" in value))


def _turn(column: str, number: int, message: Mapping[str, Any]) -> Turn:
    if "role" in message:
        role, content = message["role"], message.get("content")
    else:
        role, content = message["from"], message["value"]
        role = _SHAREGPT.get(role, role) if isinstance(role, str) else role
    calls = [f"[{name}]" for name in ("tool_calls", "function_call") if message.get(name)]
    if isinstance(content, list | tuple) and all(isinstance(part, Mapping) and "type" in part for part in content):
        content = _joined(column, content)
    if content is None and calls:
        content = ""
    if not isinstance(role, str) or not isinstance(content, str):
        lacks = "no role" if not isinstance(role, str) else f"as content {_kind(content)}"
        raise BadRow(f"Column {column!r}: message {number} has {lacks}; it needs a role and a text, or content parts.")
    return Turn(role, "\n".join(filter(None, [content, *calls])) if calls else content)


def _joined(column: str, parts: Sequence[Mapping[str, Any]]) -> str:
    texts = []
    for part in parts:
        text, kind = part.get("text"), part["type"]
        if not isinstance(text, str) and not isinstance(kind, str):
            raise BadRow(f"Column {column!r} holds a content part without a type.")
        texts.append(text if isinstance(text, str) else f"[{kind}]")
    return "\n".join(texts)


_KINDS = {dict: "an object", list: "a list", tuple: "a list", int: "a number", float: "a number", bool: "a boolean"}


def _kind(value: Any) -> str:
    if value is None or value == []:
        return "null" if value is None else "an empty list"
    return _KINDS.get(type(value), f"a {type(value).__name__}")
