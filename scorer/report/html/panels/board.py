"""The systems as a table that is a chart: means with their intervals, also of other judges, ranks, ties in brackets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from scorer.report.html.downloads import Cell, csv_link, svg_link
from scorer.report.html.elements import Html, join, name, tag
from scorer.report.html.figures import NONE, bracket, count, decimals, number, percent, usd
from scorer.report.html.marks import Marks
from scorer.report.html.panels.frame import notes
from scorer.report.html.scale import Axis, axis, ends
from scorer.report.html.svg import across, drawing, file, forest, grid, labels
from scorer.report.html.tables import cell, head, table
from scorer.report.html.ties import brackets, lanes
from scorer.report.page.data import Interval, System, Systems

HEIGHT, STEP = 28, 12
"""Pixels of a row's drawing, and of each further judge in it."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the table after the system's name: its heading, and the cell of a system."""

    heading: Html
    cell: Callable[[System], Html]


def board(values: Systems, first: str, marks: Marks) -> Html:
    """The table with what it saves and what its numbers are. `first` is the run whose judge gave the scores."""
    listed = values.systems
    columns = _columns(values, marks)
    tied = lanes([{at for at, other in enumerate(listed) if other.name in one.tied} for one in listed])
    width = f"--lanes:{len(tied)}" if tied else None
    body = [
        tag(
            "tr",
            tag("th", brackets(tied, at), _link(one), _ties(one), scope="row", style=width),
            *(column.cell(one) for column in columns),
            data_s=at,
        )
        for at, one in enumerate(listed)
    ]
    headings = [head("System", "text"), *(column.heading for column in columns)]
    more = (
        [f"{count(values.hidden)} more systems are in the results, not in this page: `scorer leaderboard` lists all."]
        if values.hidden
        else []
    )
    shared = _axis(listed)
    drawn, height = forest([(one.name, one.score) for one in listed], shared, decimals(*values.scale))
    title = f"Mean {values.score}"
    return join(
        [
            _key([first, *_others(listed)]),
            table(f"Systems by mean {values.score}, with 95 % intervals", headings, body, "board", grid(shared)),
            tag("div", _csv(listed), svg_link("systems", file(drawn, height, title)), class_="tools"),
            notes([values.interval, *values.notes, *more]),
        ]
    )


def _columns(values: Systems, marks: Marks) -> list[Column]:
    """The columns that the systems have values for."""
    listed, places, shared = values.systems, decimals(*values.scale), _axis(values.systems)
    plot = join([tag("span", "Drawn", class_="sr"), drawing(labels(shared, 14), 18)])
    columns = [
        Column(head("", style="plot", more=plot), lambda one: tag("td", _plot(shared, one), class_="plot")),
        Column(head(f"Mean {values.score}", "number", "n"), lambda one: cell(number(one.score.value, places))),
    ]
    if any(one.score.low is not None for one in listed):
        columns.append(Column(head("95 % interval", style="n"), lambda one: cell(bracket(one.score, places))))
    columns += (_other(other, places) for other in _others(listed))
    if any(one.rank for one in listed):
        columns.append(Column(head("Rank", "number", "n"), lambda one: cell(_rank(one.rank))))
    if any(one.acceptable for one in listed):
        columns.append(Column(head("Acceptable", "number", "n"), lambda one: _share(one.acceptable)))
    columns += [
        Column(head("No score", "number", "n"), lambda one: cell(count(one.unscored))),
        Column(head("Rows", "number", "n"), lambda one: cell(marks.link(count(one.score.n), one.name, one.rows))),
    ]
    if any(one.mean_cost_usd for one in listed):
        columns.append(Column(head("USD a row", "number", "n"), lambda one: cell(usd(one.mean_cost_usd))))
    return columns


def _other(judge: str, places: int) -> Column:
    """The mean by another judge."""

    def mean(one: System) -> Html:
        found = one.others.get(judge)
        return cell(
            NONE if found is None else join([number(found.value, places), tag("small", bracket(found, places))], " ")
        )

    return Column(head(f"By {judge}", "number", "n other"), mean)


def _others(listed: Iterable[System]) -> list[str]:
    """The names of the other judges, in their order."""
    return list(dict.fromkeys(judge for one in listed for judge in one.others))


def _axis(listed: Sequence[System]) -> Axis:
    return axis(ends(one for system in listed for one in (system.score, *system.others.values())))


def _plot(shared: Axis, one: System) -> Html:
    """The mean of each judge, one below another."""
    others = (across(shared, other, HEIGHT / 2 + STEP * at, at) for at, other in enumerate(one.others.values(), 1))
    return drawing(join([across(shared, one.score, HEIGHT / 2), *others]), HEIGHT + STEP * len(one.others))


def _key(judges: Sequence[str]) -> Html | None:
    """Which mark is which judge; nothing where there is one."""
    if len(judges) < 2:
        return None
    named = (tag("span", tag("i", class_=f"k{at}" if at else "main"), name(judge)) for at, judge in enumerate(judges))
    return tag("p", "Judges: ", *named, class_="key squares")


def _link(one: System) -> Html:
    return tag("a", name(one.name), href=f"#s={quote(one.name, safe='', errors='replace')}", class_="system")


def _rank(rank: tuple[int, int] | None) -> str:
    if rank is None:
        return NONE
    return str(rank[0]) if rank[0] == rank[1] else f"{rank[0]}–{rank[1]}"


def _ties(one: System) -> Html | None:
    """Ties in words, for those who do not see the brackets."""
    if not one.tied:
        return None
    named = ", ".join(one.tied[:5]) + (f" and {len(one.tied) - 5} more" if len(one.tied) > 5 else "")
    return tag("span", f"not told apart from {named}", class_="sr")


def _share(share: Interval | None) -> Html:
    if share is None:
        return cell(NONE)
    known = share.low is not None and share.high is not None
    return cell(percent(share.value), title=f"{percent(share.low)} to {percent(share.high)}" if known else None)


def _csv(listed: Sequence[System]) -> Html:
    others = _others(listed)
    header = ["system", "mean", "low", "high", "rank_best", "rank_worst", "acceptable", "unscored", "n", "usd_a_row"]
    header += [f"{part}_{judge}" for judge in others for part in ("mean", "low", "high", "n")]
    return csv_link("systems", header, (_csv_row(one, others) for one in listed))


def _csv_row(one: System, others: Sequence[str]) -> list[Cell]:
    share = None if one.acceptable is None else one.acceptable.value
    row = [
        one.name,
        *_ends(one.score),
        *(one.rank or (None, None)),
        share,
        one.unscored,
        one.score.n,
        one.mean_cost_usd,
    ]
    for judge in others:
        found = one.others.get(judge)
        row += [None] * 4 if found is None else [*_ends(found), found.n]
    return row


def _ends(one: Interval) -> tuple[float | None, float | None, float | None]:
    return one.value, one.low, one.high
