"""Panel 3: mean scores by system and task."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from scorer.report.page.data import Cell, Interval, Where
from scorer.report.page.groups import Group, RowsOf, crossed
from scorer.report.page.population import Population
from scorer.report.page.systems import Ranking, named_group, shown_systems

MOST_TASKS = 30


def _tasks(of: Population) -> list[str]:
    """The tasks in the page: those with the most rows, in the order of their names."""
    task = of.columns.task
    if task is None:
        return []
    counts = of.lazy.group_by(pl.col(task).cast(pl.String)).len().collect(engine="streaming")
    kept = set(counts.sort(pl.col("len"), pl.col(task), descending=[True, False])[task].head(MOST_TASKS))
    return [name for name in of.names(task) if name in kept]


def groups(of: Population, board: Ranking | None, systems: Group | None) -> dict[str, Group]:
    """The rows of a task, and of a system in a task."""
    tasks = _tasks(of)
    if board is None or systems is None or of.columns.task is None or len(tasks) < 2:
        return {}
    of_task = named_group(of, of.columns.task, tasks, weight=2.0)
    return {"task": of_task, "cell": crossed(systems, of_task, weight=1.0)}


def panel(of: Population, board: Ranking | None, rows: RowsOf) -> Where | None:
    """The panel; None without a ranking, and with fewer than two tasks."""
    if board is None or board.tasks is None or "cell" not in rows.groups:
        return None
    systems, tasks = shown_systems(board), _tasks(of)
    at = {name: number for number, name in enumerate(systems)}
    of_task = {name: number for number, name in enumerate(tasks)}
    cells: Sequence[Cell] = [
        Cell(
            one["system"],
            one["task"],
            Interval(one["mean"], one["low"], one["high"], one["rows"]),
            rows("cell", at[one["system"]] * len(tasks) + of_task[one["task"]]),
        )
        for one in board.tasks.iter_rows(named=True)
        if one["system"] in at and one["task"] in of_task and one["rows"] + one["unread"]
    ]
    hidden = board.systems.height - len(systems) + len(of.names(of.columns.task)) - len(tasks)
    return Where(systems, tasks, cells, hidden)
