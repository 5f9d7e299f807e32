"""What all panels share: a section with a heading, sentences, and commands to copy."""

from __future__ import annotations

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


def panel(key: str, *children: Child, title: str | None = None) -> Html:
    """The section of a panel."""
    heading = tag("h2", title or TITLES[key], id=f"h-{key}")
    return tag("section", heading, *children, id=key, class_="panel", aria_labelledby=f"h-{key}", tabindex="-1")


def notes(sentences: Iterable[str]) -> Html:
    """Sentences below a table or a chart, one a paragraph."""
    return join(tag("p", sentence, class_="note") for sentence in sentences)


def command(typed: str) -> Html:
    """A command to copy: the script adds a button."""
    return tag("code", typed, class_="cmd")
