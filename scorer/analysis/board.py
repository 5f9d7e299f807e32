"""The rows of a leaderboard: scores with their system, task and item, from which means by system and task follow."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from scorer.analysis.adjusted import fit_items
from scorer.analysis.bootstrap import Bootstrap, Resamples
from scorer.analysis.columns import Columns, take
from scorer.analysis.correlation import Codes, Floats
from scorer.analysis.row_parts import ItemBlocks, RowPart, sums_by_task
from scorer.analysis.score_range import Bounds, Range, bounds_of
from scorer.analysis.system_means import SystemMeans, system_means
from scorer.errors import SpecError

Values = Callable[[Floats], Floats]
"""What is averaged of a row, by the values of its column: NaN for one that is not read."""


@dataclass(frozen=True)
class Board:
    """Columns of a table as codes that number `systems` and `tasks`; without tasks there is one, "".

    `item_column` names what was answered, each row by itself where it is None. `ends` are the bounds of the scores,
    `unread` is the number of rows without one, and `is_share` says whether the others are verdicts. `drawn` knows no
    rows. Rows are read some at a time, but for `values`, `system`, `task` and `item`, which are of all rows: the
    scores, NaN unread, and the codes.
    """

    columns: Columns
    score: str
    system_column: str
    task_column: str | None
    item_column: str | None
    systems: Sequence[str]
    tasks: Sequence[str]
    items: int
    drawn: Resamples | None
    ends: Bounds
    unread: int
    is_share: bool

    @property
    def rows(self) -> int:
        """The number of rows."""
        return self.columns.rows.height

    @cached_property
    def values(self) -> Floats:
        return self.columns.floats(self.score)

    @cached_property
    def system(self) -> Codes:
        return self.columns.coded(self.system_column)

    @cached_property
    def task(self) -> Codes:
        return np.zeros(self.rows, dtype=np.int64) if self.task_column is None else self.columns.coded(self.task_column)

    @cached_property
    def item(self) -> Codes:
        return self.columns.coded(self.item_column)

    def parts(
        self,
        of: Values = lambda values: values,
        column: str | None = None,
        *,
        by: str | None = None,
        whole: bool = False,
    ) -> Iterator[RowPart]:
        """The rows some at a time, with `of` of a column: of the scores where none is named.

        They are grouped by the systems, or by the column `by`. With `whole` they are of one task.
        """
        task = None if whole else self.task_column
        names = [by or self.system_column, self.item_column, *([task] if task is not None else [])]
        for (values,), (group, item, *tasks) in self.columns.parts([column or self.score], names):
            of_task = tasks[0] if tasks else np.zeros(len(values), dtype=np.int64)
            yield RowPart(of(values), group, of_task, item)

    def by_task(
        self,
        of: Values = lambda values: values,
        *,
        column: str | None = None,
        ends: Bounds | None = None,
        adjusted: bool = True,
    ) -> list[SystemMeans]:
        """The means in each task of what `parts` gives; without `adjusted` holes are not adjusted for.

        `ends` bound what is not read; they are those of the scores where none are given.
        """
        scale = self.ends if ends is None else ends

        def parts() -> Iterator[RowPart]:
            return self.parts(of, column)

        sums = sums_by_task(parts, len(self.systems), len(self.tasks), self.drawn)
        if self.item_column is None or not adjusted:
            return [system_means(one, None, self.drawn, scale) for one in sums]
        fits = fit_items(
            ItemBlocks(parts, len(self.systems), len(self.tasks), self.items),
            sums,
            len(self.systems),
            (scale.low, scale.high),
            self.drawn,
        )
        return [system_means(one, fit, self.drawn, scale) for one, fit in zip(sums, fits, strict=True)]

    def item_names(self, items: Sequence[int]) -> list[str]:
        """The names of items; none where no column names them."""
        if self.item_column is None or not len(items):
            return []
        return list(map(str, self.columns.values[self.item_column].gather(list(items))))

    def bounds(self, column: str) -> Bounds:
        """The lowest and the highest value of a column of numbers."""
        return _seen(self.columns, column)[0]

    def pooled(self, column: str) -> SystemMeans:
        """The plain means of a column over all rows of each system, whatever their task."""
        (sums,) = sums_by_task(lambda: self.parts(column=column, whole=True), len(self.systems), 1, self.drawn)
        return system_means(sums, None, self.drawn, self.bounds(column))


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
    ends, read, is_share = _seen(columns, score, scale)
    if not read:
        raise SpecError([f"No row has a value in {score}: there is nothing to compare."])
    items = columns.rows.height if item is None else len(columns.values[item])
    return Board(
        columns=columns,
        score=score,
        system_column=system,
        task_column=task,
        item_column=item,
        systems=columns.texts(system),
        tasks=columns.texts(task) if task else [""],
        items=items,
        drawn=bootstrap.draw_items(items),
        ends=ends,
        unread=columns.rows.height - read,
        is_share=is_share,
    )


def _seen(columns: Columns, name: str, scale: Range | None = None) -> tuple[Bounds, int, bool]:
    """The bounds of a column, how many values it has, and whether they are shares (`bootstrap.are_shares`)."""
    low, high, read, halves = np.inf, -np.inf, 0, True
    for (values,), _ in columns.parts([name], []):
        known = values[np.isfinite(values)]
        low, high = min(low, float(known.min(initial=np.inf))), max(high, float(known.max(initial=-np.inf)))
        read += len(known)
        halves = halves and bool(np.isin(known, (0.0, 0.5, 1.0)).all())
    return bounds_of(low, high, scale), read, bool(read) and halves and low < 1
