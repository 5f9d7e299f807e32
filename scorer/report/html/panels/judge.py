"""Panel 4: how far the judge can be trusted: agreement, confusion, calibration, biases, length."""

from __future__ import annotations

from scorer.report.html.downloads import csv_link, svg_link
from scorer.report.html.elements import Html, join, tag
from scorer.report.html.figures import bracket, count, number
from scorer.report.html.heat_svg import HeatCell, heat_link
from scorer.report.html.marks import Marks
from scorer.report.html.panels.frame import notes, panel
from scorer.report.html.panels.statistics import statistics
from scorer.report.html.scale import axis, beside, ends
from scorer.report.html.svg import Plot, drawing, file
from scorer.report.html.tables import figure, head, plain_table, table
from scorer.report.page.data import Confusion, Judge, Scatter
from scorer.report.page.row_list import Rows


def judge(values: Judge, first: str, marks: Marks) -> Html:
    """The panel; each part only where it has values. `first` is the run whose judge the page is about."""
    agreement = [*values.agreement, *([values.ceiling] if values.ceiling else [])]
    return panel(
        "judge",
        statistics(_title(values), agreement, marks) if agreement else None,
        _confusion(values.confusion, ("People", first if values.between else "the judge"), marks)
        if values.confusion
        else None,
        *(_confusion(one, (one.human, first), marks) for one in values.between),
        _calibration(values, marks) if values.calibration else None,
        statistics("Biases", values.bias, marks) if values.bias else None,
        _length(values.length) if values.length and values.length.length else None,
        notes(values.notes),
    )


def _title(values: Judge) -> str:
    """What the first table is about: people where one of its figures is."""
    with_people = values.ceiling or any(not one.name.startswith("Retest") for one in values.agreement)
    return "Agreement with people" if with_people and not values.between else "Agreement"


def _confusion(values: Confusion, sides: tuple[str, str], marks: Marks) -> Html:
    """A table of the values of two sides, whose names are `sides`: down, across."""
    down, across = sides
    most = max((cell.count for row in values.cells for cell in row), default=0) or 1
    headings = [head(f"{values.human} \\ {across}"), *(head(label, style="n") for label in values.judge)]
    body = [
        tag(
            "tr",
            tag("th", person, scope="row"),
            *(
                _cell(cell, most, f"{down} {person}, {across} {verdict}", marks, agree=person == verdict)
                for verdict, cell in zip(values.judge, row, strict=True)
            ),
        )
        for person, row in zip(values.people, values.cells, strict=True)
    ]
    save = csv_link(
        "confusion",
        [values.human, *values.judge],
        ([person, *(cell.count for cell in row)] for person, row in zip(values.people, values.cells, strict=True)),
    )
    drawn = heat_link(
        "confusion",
        f"Rows by the values of {down} (down) and {across} (across)",
        values.people,
        values.judge,
        [
            [HeatCell(count(cell.count), "", cell.count / most if cell.count else None) for cell in row]
            for row in values.cells
        ],
    )
    return join(
        [
            tag("h3", f"{down} and {across}"),
            table(f"Rows by the values of {down} and {across}", headings, body, "heat confusion"),
            tag("div", save, drawn, class_="tools"),
            notes([f"{down} down, {across} across. A cell opens its rows."]),
        ]
    )


def _cell(cell: Rows, most: int, title: str, marks: Marks, agree: bool) -> Html:
    shown = marks.link(count(cell.count), title, cell)
    return tag(
        "td", shown, class_="n agree" if agree else "n", style=f"--v:{cell.count / most:.2f}" if cell.count else None
    )


def _calibration(values: Judge, marks: Marks) -> Html:
    bins = values.calibration
    scores = [one.score for one in bins]
    up = axis(ends(one.human for one in bins))
    plot = Plot(beside(axis(scores), up), up)
    low, high = max(plot.x.low, plot.y.low), min(plot.x.high, plot.y.high)
    even = plot.line([(low, low), (high, high)], "z") if high > low else Html()
    note = "On the broken line the judge's score is the mean value of people." if high > low else ""
    frame = plot.frame("Score of the judge", "Mean value of people")
    points = [plot.point(one.score, one.human) for one in bins]
    linked = [
        marks.link(plot.point(one.score, one.human, space=True), f"Scores about {number(one.score)}", one.rows)
        for one in bins
    ]
    shown = drawing(join([frame, even, *linked]), plot.height, "Calibration", linked=True)
    twin = plain_table(
        "Calibration",
        ["Score", "Mean value of people", "95 % interval", "Rows"],
        (
            (
                number(one.score),
                number(one.human.value),
                bracket(one.human),
                marks.link(count(one.human.n), f"Scores about {number(one.score)}", one.rows),
            )
            for one in bins
        ),
    )
    saves = [
        csv_link(
            "calibration",
            ["score", "human", "low", "high", "n"],
            ((one.score, one.human.value, one.human.low, one.human.high, one.human.n) for one in bins),
        ),
        svg_link("calibration", file(join([frame, even, *points]), plot.height, "Calibration")),
    ]
    return figure("Calibration", shown, twin, saves, note)


def _length(values: Scatter) -> Html:
    up = axis(ends(values.score))
    plot = Plot(beside(axis(values.length), up), up)
    known = [(x, one.value) for x, one in zip(values.length, values.score, strict=True) if one.value is not None]
    drawn = join(
        [
            plot.frame("Length of the generation, characters", "Mean score"),
            plot.line(known, "c0"),
            *(plot.point(x, one) for x, one in zip(values.length, values.score, strict=True)),
        ]
    )
    pairs = list(zip(values.length, values.score, strict=True))
    twin = plain_table(
        "Score by length",
        ["Characters", "Mean score", "95 % interval", "Rows"],
        ((number(x, 0), number(one.value), bracket(one), count(one.n)) for x, one in pairs),
    )
    saves = [
        csv_link(
            "length",
            ["characters", "mean", "low", "high", "n"],
            ((x, one.value, one.low, one.high, one.n) for x, one in pairs),
        ),
        svg_link("length", file(drawn, plot.height, "Score by length")),
    ]
    return figure(
        "Score by length", drawing(drawn, plot.height, "Score by length; the table below has its numbers"), twin, saves
    )
