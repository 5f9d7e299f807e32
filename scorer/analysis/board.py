"""The rows of a leaderboard: scores with their system, task and item, from which means by system and task follow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from scorer.analysis.bootstrap import Bootstrap, Resamples
from scorer.analysis.columns import Columns, codes_or_rows, take
from scorer.analysis.correlation import Codes, Floats
from scorer.analysis.score_range import Bounds, Range, bounds
from scorer.analysis.system_means import SystemMeans, system_means
from scorer.errors import SpecError


@dataclass(frozen=True, slots=True)
class Board:
    """Columns of a table as codes: `system` and `task` number `systems` and `tasks`; without tasks there is one, "".

    `item` numbers what was answered by the column `item_column`, each row by itself where that is None. `values` are
    the scores, NaN unread.
    """

    columns: Columns
    values: Floats
    system: Codes
    systems: Sequence[str]
    task: Codes
    tasks: Sequence[str]
    item: Codes
    item_column: str | None
    drawn: Resamples | None
    ends: Bounds

    def by_task(self, values: Floats, ends: Bounds, *, adjusted: bool = True) -> list[SystemMeans]:
        """The means of further values of the rows in each task; without `adjusted` holes are not adjusted for."""
        boards = []
        for t in range(len(self.tasks)):
            mine = self.task == t
            drawn = None
            if self.drawn is not None:
                drawn = Resamples(self.drawn.weights, self.drawn.cluster[mine], self.drawn.items)
            item = self.item[mine] if self.item_column is not None and adjusted else None
            boards.append(system_means(values[mine], self.system[mine], len(self.systems), item, drawn, ends))
        return boards

    def item_names(self, items: Sequence[int]) -> list[str]:
        """The names of items; none where no column names them."""
        if self.item_column is None or not len(items):
            return []
        _, names = self.columns.codes(self.item_column)
        return [names[item] for item in items]

    def pooled(self, values: Floats) -> SystemMeans:
        """The plain means of further values over all rows of each system, whatever their task."""
        return system_means(values, self.system, len(self.systems), None, self.drawn, bounds(values))


def board_of(
    frame: pl.LazyFrame,
    score: str,
    system: str,
    *,
    task: str | None = None,
    item: str | None = None,
    numbers: Sequence[str] = (),
    scale: Range | None = None,
    bootstrap: Bootstrap,
) -> Board:
    """The rows of the table; `numbers` are further columns of numbers, found in `columns`.

    Raises SpecError for columns that cannot serve, and where no row has a score.
    """
    columns = take(frame, [score, *numbers], [name for name in (system, task, item) if name])
    values = columns.floats(score)
    if np.isnan(values).all():
        raise SpecError([f"No row has a value in {score}: there is nothing to compare."])
    of_system, systems = columns.codes(system)
    of_task, tasks = columns.codes(task) if task else (np.zeros(len(values), dtype=np.int64), [""])
    of_item = codes_or_rows(columns, item)
    return Board(
        columns=columns,
        values=values,
        system=of_system,
        systems=systems,
        task=of_task,
        tasks=tasks,
        item=of_item,
        item_column=item,
        drawn=bootstrap.draw(of_item),
        ends=bounds(values, scale),
    )
