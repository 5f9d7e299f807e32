"""Rows as aligned text tables that fit the terminal: three decimals, a dash for null."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from scorer.escapes import printable_line
from scorer.text_width import cells as columns_of

if TYPE_CHECKING:
    import polars as pl

Rows = Sequence[Mapping[str, Any]]


def aligned(rows: Rows) -> str:
    """Mappings with equal keys as an aligned table: text columns to the left, others to the right.

    Where it is wider than the terminal, its longest texts are cut in the middle, its first text columns to half of the
    terminal at most. Where that is not enough, it is printed in parts that all begin with these columns.
    """
    if not rows:
        return "(nothing)"
    names = list(rows[0])
    cells = [[cell(row[name]) for name in names] for row in rows]
    left = [all(row[name] is None or isinstance(row[name], str) for row in rows) for name in names]
    keys = next((place for place, text in enumerate(left) if not text), len(names))
    widths = _widths(names, cells)
    if (most := width()) and sum(widths) + 2 * (len(widths) - 1) > most:
        whole = most - sum(widths[keys:]) - 2 * (len(widths) - 1)  # what the first columns have in a table of one part
        fits = whole >= sum(min(one, _LETTERS_TO_TELL) for one in widths[:keys])
        room = whole if fits else most // 2 - 2 * keys
        limits = [*_shares(widths[:keys], room), *[most // 2] * (len(names) - keys)]
        cells = [[_cut(line[i], limits[i]) if left[i] else line[i] for i in range(len(names))] for line in cells]
        widths = _widths(names, cells)
    return "\n\n".join(
        "\n".join(
            "  ".join(_padded(line[i], widths[i], left=left[i]) for i in (*range(keys), *part)).rstrip()
            for line in (names, *cells)
        )
        for part in _parts_of_width(widths, keys)
    )


_FEWEST_LETTERS, _LETTERS_TO_TELL = 12, 18
"""The shortest text that is cut, and that tells most names apart: for these a table is not printed in parts."""


def _widths(names: Sequence[str], cells: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(columns_of, column)) for column in zip(names, *cells, strict=True)]


def _shares(widths: Sequence[int], room: int) -> list[int]:
    """The columns of each text in `room` columns: narrow texts have theirs, and what they leave goes to the others."""
    shares = [0] * len(widths)
    for left, i in zip(range(len(widths), 0, -1), sorted(range(len(widths)), key=widths.__getitem__), strict=True):
        shares[i] = max(_FEWEST_LETTERS, min(widths[i], room // left))
        room -= min(shares[i], widths[i])
    return shares


def _padded(text: str, to: int, *, left: bool) -> str:
    space = " " * (to - columns_of(text))
    return text + space if left else space + text


def _cut(text: str, most: int) -> str:
    """The text cut to `most` letters: its start and its end, by which similar names differ."""
    if len(text) <= most:
        return text
    end = (most - 3) // 2
    return f"{text[: most - 3 - end]}...{text[len(text) - end :]}"


def _parts_of_width(widths: Sequence[int], keys: int) -> list[list[int]]:
    """The columns after the first `keys` ones, in parts that fit beside these into the terminal."""
    most = width()
    before = sum(widths[:keys]) + 2 * keys
    parts: list[list[int]] = [[]]
    for i in range(keys, len(widths)):
        taken = before + sum(widths[j] + 2 for j in parts[-1]) + widths[i]
        if most and parts[-1] and taken > most:
            parts.append([])
        parts[-1].append(i)
    return parts


def width() -> int:
    """The columns of the terminal that reads stdout, or of COLUMNS; 0 where neither says how many there are."""
    columns = os.environ.get("COLUMNS", "")
    if columns.isdecimal() and int(columns):
        return int(columns)
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns
    except (AttributeError, OSError, ValueError):  # stdout is closed, or no terminal
        return 0


def wrapped(text: str, indent: int = 2, most: int | None = None) -> str:
    """A sentence in lines that the terminal holds, or of `most` columns; those after the first are indented."""
    most = width() if most is None else most
    if not most:
        return text
    return textwrap.fill(
        text, max(most, 40), subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False
    )


def cell(value: Any) -> str:
    """A value as a table shows it. What rounds to zero has no sign, except as the end of an interval."""
    if value is None:
        return "-"
    if isinstance(value, tuple):
        shown, interval = value
        return cell(shown) + (f" [{interval[0]:.3f}, {interval[1]:.3f}]" if interval else "")
    if isinstance(value, float):
        return f"{value:z.3f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else printable_line(str(value))


def with_intervals(frame: pl.DataFrame) -> Rows:
    """The rows of a table with `low` and `high` merged into the column before them, `X_low` and `X_high` into X."""
    ends = {frame.columns[frame.columns.index("low") - 1]: ("low", "high")} if "low" in frame.columns else {}
    for name in frame.columns:
        if f"{name}_low" in frame.columns and f"{name}_high" in frame.columns:
            ends[name] = (f"{name}_low", f"{name}_high")
    rows = []
    for row in frame.to_dicts():
        for name, (low, high) in ends.items():
            interval = (row.pop(low), row.pop(high))
            row[name] = (row[name], None if interval[0] is None else interval)
        rows.append(row)
    return rows


def paragraphs(*parts: str) -> str:
    return "\n\n".join(part for part in parts if part)


def noted(notes: Sequence[str]) -> str:
    """Notes on a table, one sentence a line."""
    return "\n".join(map(wrapped, notes))
