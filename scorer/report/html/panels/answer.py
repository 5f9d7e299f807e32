"""Panel 1: the answer in a sentence, what would change it, and how far the judge can be trusted."""

from __future__ import annotations

from collections.abc import Sequence

from scorer.report.html.elements import Html, tag
from scorer.report.html.panels.frame import command, unbroken
from scorer.report.page.data import Answer

LONG = 120
"""A longer answer is set smaller."""


def answer(values: Answer, counted: Sequence[str]) -> Html:
    """The panel. Its heading is the answer itself; `counted` says which rows the page counts and which it does not."""
    why = tag("ul", *(tag("li", unbroken(sentence)) for sentence in values.assumes)) if values.assumes else None
    return tag(
        "section",
        tag("h1", values.systems, id="h-answer", dir="auto", class_="long" if len(values.systems) > LONG else None),
        tag("p", unbroken(values.tipping), class_="tipping", dir="auto") if values.tipping else None,
        tag("p", unbroken(values.judge), class_="trust", dir="auto"),
        command(values.command) if values.command else None,
        tag("details", tag("summary", "What this assumes"), why, class_="why") if why else None,
        tag("p", " ".join(counted), class_="note counted"),
        id="answer",
        class_="panel",
        aria_labelledby="h-answer",
        tabindex="-1",
    )
