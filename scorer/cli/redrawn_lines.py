"""Lines at the bottom of a terminal that are drawn anew in place, and the size of the terminal."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from typing import TextIO

from scorer.cli.stdio import raw_to_stderr
from scorer.text_width import cells

NARROWEST = 20


class Block:
    """Lines at the bottom of stderr. `draw` replaces them, `above` writes a text that stays before them."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def draw(self, lines: Sequence[str]) -> None:
        """Shows these lines in place of those drawn before; each has to be narrower than the terminal."""
        erased = self._erased()
        self._lines = list(lines)
        raw_to_stderr(erased + "".join(f"{line}\n" for line in lines))

    def above(self, text: str) -> None:
        """Writes an escaped text, and the lines again below it."""
        raw_to_stderr(self._erased() + text + "\n" + "".join(f"{line}\n" for line in self._lines))

    def _erased(self) -> str:
        """What moves the cursor to the first line drawn and clears from there on.

        A terminal that became narrower has wrapped the lines since.
        """
        width, height = size()
        rows = sum(max(1, -(-cells(line) // width)) for line in self._lines)
        rows = min(rows, height - 1)
        return f"\x1b[{rows}A\r\x1b[J" if rows else "\r\x1b[K"


def size(stream: TextIO | None = None) -> tuple[int, int]:
    """Columns and lines of the terminal on a stream, stderr by default; 80 and 24 where it does not say."""
    try:
        columns, lines = os.get_terminal_size((stream or sys.stderr).fileno())
    except (AttributeError, OSError, ValueError):
        columns, lines = 0, 0
    fallback = shutil.get_terminal_size()
    return max(NARROWEST, columns or fallback.columns), max(2, lines or fallback.lines)
