"""Commands that a person copies from the page into a shell: quoted, and only such as can be typed as they stand."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from scorer.escapes import printable_line
from scorer.report.page.data import Page


def typed(words: Sequence[str]) -> str | None:
    """The words as one line for a POSIX shell; None where one holds a control or invisible character."""
    return None if any(printable_line(word) != word for word in words) else " ".join(map(_quoted, words))


def agree(page: Page) -> str | None:
    """The command that reads the labels saved in the page."""
    score = page.systems.score if page.systems else "score"
    keys = ["--labels", "labels.csv", "--on", "shard", "--on", "row"]
    return typed(["scorer", "agree", *page.folders, "--score", score, "--human", "human_label", *keys])


def _quoted(word: str) -> str:
    """The word; in double quotes where that reads better and means the same."""
    single = shlex.quote(word)
    return single if "'" not in word or any(sign in word for sign in '"$`\\!') else f'"{word}"'
