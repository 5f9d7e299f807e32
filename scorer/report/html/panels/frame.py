"""What all panels share: a section with a heading, sentences, and commands to copy."""

from __future__ import annotations

import re
from collections.abc import Iterable

from scorer.report.html.elements import Child, Html, join, tag

TITLES = {
    "answer": "Answer",
    "systems": "Systems",
    "where": "Where",
    "judge": "Judge",
    "rows": "Rows",
    "training": "Training",
    "run": "Run",
    "how": "How",
}
"""The panels in their order: the id of each, which links name, and its title."""

SCORES = "Scores"
"""The title of the systems' panel where rows are of no system."""


_OPTION = re.compile(r"(?<!\S)(--[a-z]+(?: COL\b)?)")


def panel(key: str, *children: Child, title: str | None = None) -> Html:
    """The section of a panel."""
    heading = tag("h2", title or TITLES[key], id=f"h-{key}")
    return tag("section", heading, *children, id=key, class_="panel", aria_labelledby=f"h-{key}", tabindex="-1")


def unbroken(sentence: str) -> Html:
    """A sentence whose options, as `--human COL`, are not broken across lines."""
    parts = _OPTION.split(sentence)
    return join(tag("span", part, class_="option") if at % 2 else part for at, part in enumerate(parts))


def notes(sentences: Iterable[str]) -> Html:
    """Sentences below a table or a chart, one a paragraph."""
    return join(tag("p", unbroken(sentence), class_="note") for sentence in sentences)


def command(typed: str) -> Html:
    """A command to copy: the script adds a button."""
    return tag("code", typed, class_="cmd")
