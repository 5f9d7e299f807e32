"""Commands that a person copies from the page into a shell: quoted, and only such as can be typed as they stand."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from scorer.escapes import printable_line
from scorer.report.page.data import Page


def typed(words: Sequence[str]) -> str | None:
    """The words as one line for a POSIX shell; None where one holds a control or invisible character."""
    return None if any(printable_line(word) != word for word in words) else " ".join(map(_quoted, words))


def estimate(page: Page) -> str | None:
    """The command that reads the labels saved in the page: it takes those of rows that were drawn at random."""
    score = page.systems.score if page.systems else "score"
    keys = ["--human", "human_label", "--labels", "labels.csv"]
    return typed(["scorer", "estimate", *page.folders, "--score", score, *keys])


def _quoted(word: str) -> str:
    """The word; in double quotes where that reads better and means the same."""
    single = shlex.quote(word)
    return single if "'" not in word or any(sign in word for sign in '"$`\\!') else f'"{word}"'
