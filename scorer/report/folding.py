"""Long texts folded to their head and their tail."""

from __future__ import annotations

from collections.abc import Callable

from scorer.report.page.row_list import Text

Fold = Callable[[str], Text]
"""Makes a `Text` of a whole text."""


def whole(text: str) -> Text:
    """All of a text."""
    return Text(text)


def fold_characters(most: int) -> Fold:
    """Folds texts of more than `most` characters: two thirds of them from the head, the others from the tail."""
    head = most - most // 3

    def fold(text: str) -> Text:
        cut = len(text) - most
        return Text(text) if cut <= 0 else Text(text[:head], text[len(text) - (most - head) :], cut)

    return fold


def fold_bytes(most: int) -> Fold:
    """Folds texts of more than `most` bytes of UTF-8 likewise; no character is cut into pieces."""
    head = most - most // 3

    def fold(text: str) -> Text:
        if len(text) <= most and len(text.encode("utf-8", "replace")) <= most:
            return Text(text)
        first = _first(text[:head], head)
        last = _first(text[: -(most - head) - 1 : -1], most - head)[::-1]
        return Text(first, last, len(text) - len(first) - len(last))

    return fold


def _first(text: str, most: int) -> str:
    """As many characters from the start as fit into `most` bytes; a character of n bytes takes n, read in any order."""
    used = 0
    for place, character in enumerate(text):
        used += len(character.encode("utf-8", "replace"))
        if used > most:
            return text[:place]
    return text
