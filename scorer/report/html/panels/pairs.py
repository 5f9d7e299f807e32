"""Differences of pairs of systems, as a table; the script opens a pair's rows side by side."""

from __future__ import annotations

from urllib.parse import quote

from scorer.report.html.downloads import csv_link
from scorer.report.html.elements import Html, join, name, tag
from scorer.report.html.figures import bracket, count, decimals, number
from scorer.report.html.panels.frame import notes
from scorer.report.html.tables import cell, head, table
from scorer.report.page.data import Pair, Systems

SHOWN = 120
"""At most so many pairs are in the page: all of 16 systems."""


def pairs(values: Systems) -> Html:
    """The table of differences, folded."""
    places = decimals(*values.scale)
    headings = [
        head("Pair", "text"),
        head("Difference", "number", "n"),
        head("95 % interval", style="n"),
        head("Items", "number", "n"),
    ]
    body = [_row(pair, places) for pair in values.pairs[:SHOWN]]
    more = len(values.pairs) - SHOWN
    return tag(
        "details",
        tag("summary", "Differences of pairs"),
        table("Difference of the mean scores of two systems over the items of both", headings, body),
        notes([f"{count(more)} more pairs are in the results, not in this page."]) if more > 0 else None,
        tag(
            "div",
            csv_link(
                "pairs",
                ["a", "b", "difference", "low", "high", "items"],
                (
                    (one.a, one.b, one.difference.value, one.difference.low, one.difference.high, one.difference.n)
                    for one in values.pairs[:SHOWN]
                ),
            ),
            class_="tools",
        ),
    )


def _row(pair: Pair, places: int) -> Html:
    href = f"#s={quote(pair.a, safe='', errors='replace')}&c={quote(pair.b, safe='', errors='replace')}"
    return tag(
        "tr",
        tag("th", tag("a", join([name(pair.a), "minus", name(pair.b)], " "), href=href), scope="row"),
        cell(number(pair.difference.value, places)),
        cell(bracket(pair.difference, places)),
        cell(count(pair.difference.n)),
    )
