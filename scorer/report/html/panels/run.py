"""Panel 7: errors with an example each, rows without a score by system, totals, and the course of the run."""

from __future__ import annotations

from scorer.counted import counted
from scorer.report.html.commands import typed
from scorer.report.html.downloads import csv_link, svg_link
from scorer.report.html.elements import Html, join, name, tag, text
from scorer.report.html.figures import count, number, percent
from scorer.report.html.marks import Marks
from scorer.report.html.panels.frame import panel
from scorer.report.html.scale import axis, beside
from scorer.report.html.svg import Plot, drawing, file
from scorer.report.html.tables import cell, figure, head, plain_table, table
from scorer.report.page.data import RunFacts, Series, Suspect


def run(values: RunFacts, marks: Marks) -> Html:
    """The panel."""
    return panel(
        "run",
        *(_suspect(one, marks) for one in values.suspects),
        _errors(values, marks) if values.errors else tag("p", "No errors."),
        _unread(values) if values.unread else None,
        tag(
            "dl",
            *(tag("div", tag("dt", key), tag("dd", value)) for key, value in values.totals.items()),
            class_="totals",
        )
        if values.totals
        else None,
        tag("div", *map(_series, values.series), class_="series") if values.series else None,
    )


def _suspect(one: Suspect, marks: Marks) -> Html:
    """The rows of a drifted judge, and the command that scores them again, where it can be typed as it stands."""
    again = typed(["scorer", "retry", one.folder, "--suspect"])
    return tag(
        "p",
        f"{one.run}: " if one.run else None,
        marks.link(counted(one.rows.count, "row"), "Suspect rows", one.rows),
        f" finished from {one.since} to {one.until} UTC are suspect: known rows showed that the judge had drifted. ",
        join([tag("code", again), text(" scores them again.")]) if again is not None else None,
    )


def _errors(values: RunFacts, marks: Marks) -> Html:
    body = [
        tag(
            "tr",
            tag("th", marks.link(one.name, one.name, one.rows), scope="row"),
            cell(count(one.rows.count)),
            tag("td", one.example, dir="auto", class_="example"),
        )
        for one in values.errors
    ]
    return table(
        "Rows that failed, by error",
        [head("Error", "text"), head("Rows", "number", "n"), head("An example", style="example")],
        body,
    )


def _unread(values: RunFacts) -> Html:
    body = [
        tag(
            "tr",
            tag("th", name(system), scope="row"),
            cell(percent(share.value)),
            cell(_range(share.low, share.high)),
            cell(count(share.n)),
        )
        for system, share in values.unread
    ]
    headings = [
        head("System", "text"),
        head("No score", "number", "n"),
        head("95 % interval", style="n"),
        head("Rows", "number", "n"),
    ]
    return join(
        [
            tag("h3", "Rows without a score"),
            table("Share of rows without a score, by system", headings, body, "narrow"),
        ]
    )


def _range(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"[{percent(low)}, {percent(high)}]"


def _series(one: Series) -> Html:
    hours = max(one.at, default=0) >= 7200
    unit, divisor = ("hours", 3600) if hours else ("minutes", 60)
    at = [second / divisor for second in one.at]
    up = axis([*one.values, 0.0], ticks=3)
    plot = Plot(beside(axis(at, ticks=4), up), up, 150)
    drawn = join([plot.frame(unit, one.unit), plot.line(list(zip(at, one.values, strict=True)), "c0")])
    twin = plain_table(
        one.name, [f"After {unit}", one.unit], ((number(x), number(y)) for x, y in zip(at, one.values, strict=True))
    )
    slug = "".join(letter if letter.isalnum() else "-" for letter in one.name.lower())
    saves = [
        csv_link(slug, ["seconds", one.unit], zip(one.at, one.values, strict=True)),
        svg_link(slug, file(drawn, plot.height, one.name)),
    ]
    return figure(
        one.name, drawing(drawn, plot.height, f"{one.name} over time; the table below has its numbers"), twin, saves
    )
