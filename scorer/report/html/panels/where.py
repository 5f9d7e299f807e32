"""Panel 3: system by task, a table whose cells are coloured by their mean score."""

from __future__ import annotations

from collections.abc import Mapping

from scorer.report.html.downloads import csv_link
from scorer.report.html.elements import Html, name, tag
from scorer.report.html.figures import count, decimals, number
from scorer.report.html.heat_svg import HeatCell, heat_link
from scorer.report.html.marks import Marks
from scorer.report.html.panels.frame import notes, panel
from scorer.report.html.tables import head, table
from scorer.report.page.data import Cell, Where


def where(values: Where, systems: list[str], marks: Marks) -> Html:
    """The panel. `systems` are the names by which the script filters the page."""
    cells = {(cell.system, cell.task): cell for cell in values.cells}
    known = [cell.score.value for cell in values.cells if cell.score.value is not None]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    at = {system: number_ for number_, system in enumerate(systems)}
    headings = [head("System", "text"), *(head("", "number", "n", name(task)) for task in values.tasks)]
    body = [
        tag(
            "tr",
            tag("th", name(system), scope="row"),
            *(_cell(cells.get((system, task)), low, high, marks) for task in values.tasks),
            data_s=at.get(system),
        )
        for system in values.systems
    ]
    more = (
        [f"{count(values.hidden)} more systems or tasks are in the results, not in this page."] if values.hidden else []
    )
    return panel(
        "where",
        table("Mean score and number of rows by system and task", headings, body, "heat"),
        tag(
            "div",
            csv_link(
                "systems-by-task",
                ["system", "task", "mean", "low", "high", "n"],
                (
                    (one.system, one.task, one.score.value, one.score.low, one.score.high, one.score.n)
                    for one in values.cells
                ),
            ),
            _saved(values, cells, low, high),
            class_="tools",
        ),
        notes(
            [
                "Mean score, and the number of rows below it. The stronger the colour of a cell, the higher its mean.",
                *more,
            ]
        ),
    )


def _saved(values: Where, cells: Mapping[tuple[str, str], Cell], low: float, high: float) -> Html | None:
    """The map as a drawing."""
    rows = [
        [_drawn(cells[system, task], low, high) if (system, task) in cells else None for task in values.tasks]
        for system in values.systems
    ]
    return heat_link("systems-by-task", "Mean score, and number of rows", values.systems, values.tasks, rows)


def _drawn(cell: Cell, low: float, high: float) -> HeatCell:
    return HeatCell(_shown(cell, low, high), count(cell.score.n), _share(cell.score.value, low, high))


def _shown(cell: Cell, low: float, high: float) -> str:
    return number(cell.score.value, decimals(low, high))


def _share(value: float | None, low: float, high: float) -> float | None:
    """Where the value stands between the lowest and the highest of the map."""
    return None if value is None else (value - low) / (high - low) if high > low else 0.0


def _cell(cell: Cell | None, low: float, high: float, marks: Marks) -> Html:
    if cell is None:
        return tag("td", tag("span", "no rows", class_="sr"))
    share = _share(cell.score.value, low, high)
    shown = marks.link(_shown(cell, low, high), None, cell.rows)
    shade = None if share is None else f"--v:{share:.2g}"
    return tag("td", shown, tag("small", count(cell.score.n)), style=shade)
