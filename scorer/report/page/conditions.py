"""SQL conditions for `scorer show OUT --where`, which name the rows behind a number of the page."""

from __future__ import annotations

import math
from collections.abc import Iterable


def column(name: str) -> str:
    """A column's name, quoted."""
    return '"' + name.replace('"', '""') + '"'


def literal(value: object) -> str | None:
    """A value of a column; None where a condition cannot hold it exactly."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else None
    if isinstance(value, str) and "\0" not in value:
        return "'" + value.replace("'", "''") + "'"
    return None


def equals(name: str, value: object) -> str | None:
    """The rows that have this value; None where the column is none of the table's."""
    said = literal(value)
    return None if said is None or "\0" in name else f"{column(name)} = {said}"


def between(name: str, low: float, high: float, *, closed: bool) -> str | None:
    """The rows with values from `low` to `high`, which belongs to them where the range is `closed`."""
    first, last = literal(float(low)), literal(float(high))
    if first is None or last is None or "\0" in name:
        return None
    return f"{column(name)} >= {first} AND {column(name)} {'<=' if closed else '<'} {last}"


def together(conditions: Iterable[str | None]) -> str | None:
    """The rows for which all of the conditions hold; None where one of them is unknown. "" holds for every row."""
    parts = list(conditions)
    if any(part is None for part in parts):
        return None
    said = [part for part in parts if part]
    return " AND ".join(said) if said else None
