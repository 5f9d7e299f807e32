"""Named figures with intervals and their meaning, as a table that is a chart."""

from __future__ import annotations

from collections.abc import Sequence

from scorer.report.html.downloads import csv_link, svg_link
from scorer.report.html.elements import Html, join, tag
from scorer.report.html.figures import bracket, count, number
from scorer.report.html.marks import Marks
from scorer.report.html.scale import Axis, axis, ends
from scorer.report.html.svg import across, drawing, file, forest, grid, labels, rule
from scorer.report.html.tables import cell, head, table
from scorer.report.page.data import Statistic

HEIGHT = 28


def statistics(title: str, listed: Sequence[Statistic], marks: Marks) -> Html:
    """The figures under a heading. A broken line marks the value of each that means no effect."""
    shared = axis(ends(one.value for one in listed), around=[one.none for one in listed if one.none is not None])
    headings = [
        head("Measure"),
        head("", style="plot", more=join([tag("span", "Drawn", class_="sr"), drawing(labels(shared, 14), 18)])),
        head("Value", style="n"),
        head("95 % interval", style="n"),
        head("Rows", style="n"),
    ]
    body = [
        tag(
            "tr",
            tag("th", tag("span", one.name, class_="term"), tag("small", one.meaning), scope="row"),
            tag(
                "td",
                drawing(join([_none(shared, one), across(shared, one.value, HEIGHT / 2)]), HEIGHT),
                class_="plot",
            ),
            cell(number(one.value.value)),
            cell(bracket(one.value)),
            cell(marks.link(_size(one), one.name, one.rows)),
        )
        for one in listed
    ]
    drawn, height = forest([(one.name, one.value) for one in listed], shared, 2, [one.none for one in listed])
    slug = title.lower().replace(" ", "-")
    saves = [
        csv_link(
            slug,
            ["name", "value", "low", "high", "n", "of", "meaning"],
            (
                (one.name, one.value.value, one.value.low, one.value.high, one.value.n, f"{one.of}s", one.meaning)
                for one in listed
            ),
        ),
        svg_link(slug, file(drawn, height, title)),
    ]
    return join(
        [tag("h3", title), table(title, headings, body, "stats", grid(shared)), tag("div", *saves, class_="tools")]
    )


def _none(shared: Axis, one: Statistic) -> Html | None:
    """The value that means no effect."""
    return None if one.none is None else rule(shared, one.none, HEIGHT)


def _size(one: Statistic) -> str:
    """How many rows a figure rests on; or items, or systems, which are named."""
    size = count(one.value.n)
    return size if one.of == "row" else f"{size} {one.of}{'' if one.value.n == 1 else 's'}"
