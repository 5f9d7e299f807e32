"""Width of a text on a terminal in columns, and texts cropped to a width."""

from __future__ import annotations

import unicodedata


def cells(text: str) -> int:
    """The columns that a text of one line takes on a terminal (UAX #11: wide characters take two, marks none)."""
    if text.isascii():
        return len(text)
    return sum(_cells_of(character) for character in text)


def cropped(text: str, width: int) -> str:
    """The text, or as much of it as fits with "…" at its end."""
    if cells(text) <= width:
        return text
    taken, used = [], 0
    for character in text:
        used += _cells_of(character)
        if used > width - 1:
            break
        taken.append(character)
    return "".join(taken) + "…" if width > 0 else ""


def _cells_of(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
