"""Reads the fields of a provider's JSON, whatever stands in them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from scorer.errors import ServerFault


def text(value: Any) -> str:
    """The string, "" where it is none."""
    return value if isinstance(value, str) else ""


def count(value: Any, name: str) -> int:
    """A count in a JSON object; 0 where there is none."""
    found = value.get(name) if isinstance(value, Mapping) else None
    return found if isinstance(found, int) and not isinstance(found, bool) and found > 0 else 0


def seconds(value: Any) -> float:
    """A time in seconds since 1970 from a number or an RFC 3339 text; 0 where it is neither."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    try:
        found = datetime.fromisoformat(text(value))
    except ValueError:
        return 0.0
    return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).timestamp()


def id_of(value: Mapping[str, Any], what: str) -> str:
    """The id. Raises ServerFault where there is none, for the caller has to look again."""
    if not (found := text(value.get("id"))):
        raise ServerFault(f"the provider answered with a {what} that has no id", garbled=True)
    return found
