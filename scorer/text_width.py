"""Width of a text on a terminal in columns, and texts cropped and wrapped to a width."""

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


def wrapped(line: str, width: int) -> list[str]:
    """The line in lines of at most `width` columns, broken at spaces where it has some; a wide character never splits.

    Spaces at a break are dropped, those that the line begins with stay.
    """
    lines: list[str] = []
    while cells(line) > width:
        fits = _fitting(line, width)
        broken = fits if line[fits : fits + 1] == " " else line.rfind(" ", 0, fits)
        if broken <= 0 or not line[:broken].strip():
            broken = fits
        lines.append(line[:broken].rstrip())
        line = line[broken:].lstrip(" ")
    return [*lines, line]


def _fitting(line: str, width: int) -> int:
    """How many characters from the start fit into `width` columns, at least one."""
    used = 0
    for place, character in enumerate(line):
        used += _cells_of(character)
        if used > width:
            return max(1, place)
    return len(line)


def _cells_of(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
