"""Panel 2: the systems as a table that is a chart, ties bracketed; histograms of scores; differences of pairs."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

from scorer.report.html import histograms
from scorer.report.html.downloads import csv_link, svg_link
from scorer.report.html.elements import Html, join, name, tag
from scorer.report.html.figures import NONE, bracket, count, decimals, number, percent, usd
from scorer.report.html.marks import Marks
from scorer.report.html.panels.frame import notes, panel
from scorer.report.html.panels.pairs import pairs
from scorer.report.html.scale import Axis, axis, ends
from scorer.report.html.svg import across, drawing, file, forest, grid, labels
from scorer.report.html.tables import cell, head, table
from scorer.report.html.ties import Lane, brackets, lanes
from scorer.report.page.data import System, Systems

HEIGHT = 28


def systems(values: Systems, marks: Marks) -> Html:
    """The panel."""
    return panel(
        "systems",
        tag("p", values.withheld, class_="notice") if values.withheld else None,
        _board(values, marks) if values.systems else None,
        histograms.figures(values, marks),
        pairs(values) if values.pairs else None,
        title="Systems" if values.systems else "Scores",
    )


def _board(values: Systems, marks: Marks) -> Html:
    listed = values.systems
    places = decimals(*values.scale)
    shared = axis(ends(one.score for one in listed))
    headings = [
        head("System", "text"),
        head("", style="plot", more=join([tag("span", "Drawn", class_="sr"), drawing(labels(shared, 14), 18)])),
        head(f"Mean {values.score}", "number", "n"),
        head("95 % interval", style="n"),
        *([head("Rank", "number", "n")] if any(one.rank for one in listed) else []),
        *([head("Acceptable", "number", "n")] if any(one.acceptable for one in listed) else []),
        head("No score", "number", "n"),
        head("Rows", "number", "n"),
        *([head("USD a row", "number", "n")] if any(one.mean_cost_usd is not None for one in listed) else []),
    ]
    shared_lanes = lanes([{at for at, other in enumerate(listed) if other.name in one.tied} for one in listed])
    body = [_row(values, at, shared, places, shared_lanes, marks) for at in range(len(listed))]
    drawn, height = forest([(one.name, one.score) for one in listed], shared, places)
    more = [f"{count(values.hidden)} more systems are in the results, not in this page."] if values.hidden else []
    return join(
        [
            table(f"Systems by mean {values.score}, with 95 % intervals", headings, body, "board", grid(shared)),
            tag("div", _csv(listed), svg_link("systems", file(drawn, height, f"Mean {values.score}")), class_="tools"),
            notes([values.interval, *values.notes, *more]),
        ]
    )


def _row(values: Systems, at: int, shared: Axis, places: int, tied: Sequence[Lane], marks: Marks) -> Html:
    one = values.systems[at]
    listed = values.systems
    link = tag("a", name(one.name), href=f"#s={quote(one.name, safe='', errors='replace')}", class_="system")
    plot = drawing(across(shared, one.score, HEIGHT / 2), HEIGHT)
    cells = [
        tag("th", brackets(tied, at), link, _tied(one), scope="row", style=f"--lanes:{len(tied)}" if tied else None),
        tag("td", plot, class_="plot"),
        cell(number(one.score.value, places)),
        cell(bracket(one.score, places)),
    ]
    if any(other.rank for other in listed):
        cells.append(cell(_rank(one.rank)))
    if any(other.acceptable for other in listed):
        share = one.acceptable.value if one.acceptable else None
        cells.append(cell(percent(share), title=_shares(one)))
    cells += [
        cell(count(one.unscored)),
        cell(marks.link(count(one.score.n), one.name, one.rows)),
    ]
    if any(other.mean_cost_usd is not None for other in listed):
        cells.append(cell(usd(one.mean_cost_usd)))
    return tag("tr", *cells, data_s=at)


def _rank(rank: tuple[int, int] | None) -> str:
    if rank is None:
        return NONE
    return str(rank[0]) if rank[0] == rank[1] else f"{rank[0]}–{rank[1]}"


def _tied(one: System) -> Html | None:
    """Ties in words, for those who do not see the brackets."""
    if not one.tied:
        return None
    named = ", ".join(one.tied[:5]) + (f" and {len(one.tied) - 5} more" if len(one.tied) > 5 else "")
    return tag("span", f"not told apart from {named}", class_="sr")


def _shares(one: System) -> str | None:
    if one.acceptable is None or one.acceptable.low is None or one.acceptable.high is None:
        return None
    return f"{percent(one.acceptable.low)} to {percent(one.acceptable.high)}"


def _csv(systems: Sequence[System]) -> Html:
    header = ["system", "mean", "low", "high", "rank_best", "rank_worst", "acceptable", "unscored", "n", "usd_a_row"]
    return csv_link(
        "systems",
        header,
        (
            (
                one.name,
                one.score.value,
                one.score.low,
                one.score.high,
                *(one.rank or (None, None)),
                one.acceptable.value if one.acceptable else None,
                one.unscored,
                one.score.n,
                one.mean_cost_usd,
            )
            for one in systems
        ),
    )
