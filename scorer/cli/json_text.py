"""JSON text in which no control or invisible character stands unescaped."""

from __future__ import annotations

import math
import re
import unicodedata
from typing import Any

import orjson

from scorer.escapes import HARMFUL


def json_text(value: Any, *, indent: bool = False) -> str:
    """The value as JSON in which no control or invisible character stands unescaped; the value read back is the same.

    NaN becomes null. A value without a JSON type becomes its Python repr, a lone surrogate its JSON escape.
    """
    option = orjson.OPT_INDENT_2 if indent else 0
    try:
        text = orjson.dumps(value, default=repr, option=option).decode()
    except TypeError:  # a lone surrogate: the name of a file that is not UTF-8
        import json

        return json.dumps(_finite(value), default=repr, indent=2 if indent else None)
    return re.sub(r"[^\x20-\x7e\n]", _escaped_in_json, text)


def _finite(value: Any) -> Any:
    """The value with None for each number that JSON has no form for."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _finite(inner) for name, inner in value.items()}
    return [_finite(inner) for inner in value] if isinstance(value, list | tuple) else value


def _escaped_in_json(found: re.Match[str]) -> str:
    character = found[0]
    if unicodedata.category(character) not in HARMFUL:
        return character
    units = character.encode("utf-16-be")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))
