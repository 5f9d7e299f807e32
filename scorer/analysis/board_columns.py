"""Further columns of a table of systems: the share of acceptable rows, averages with intervals, facts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import polars as pl

from scorer.analysis.board import Board
from scorer.analysis.columns import listed, require
from scorer.analysis.correlation import Floats
from scorer.analysis.rank_table import interval_columns, nullable, share_columns
from scorer.analysis.reading import collected
from scorer.analysis.score_range import Bounds
from scorer.analysis.system_means import mean_over_tasks
from scorer.errors import SpecError


def refuse_taken(names: Sequence[str], taken: Iterable[str]) -> None:
    """Raises SpecError where a column to show beside the systems has the name of one of the table's own."""
    if both := [name for name in dict.fromkeys(names) if name in set(taken)]:
        raise SpecError(
            [f"Column {name} has the name of a column of the result; give it another name." for name in both]
        )


def acceptable_columns(rows: Board, bar: float, weights: Floats) -> dict[str, pl.Series]:
    """The share of read rows with a score of at least `bar` by system, with its interval (`share_columns`)."""

    def reached(values: Floats) -> Floats:
        return np.where(np.isnan(values), np.nan, (values >= bar).astype(np.float64))

    parts = rows.by_task(reached, ends=Bounds(0.0, 1.0, is_scale=True), adjusted=False)
    ends = share_columns(parts, weights, rows.drawn)
    means = nullable(mean_over_tasks(parts, weights).means)
    return {"acceptable": means, "acceptable_low": ends["low"], "acceptable_high": ends["high"]}


def average_columns(rows: Board, name: str, weights: Floats | None) -> dict[str, pl.Series]:
    """The mean of a column of numbers by system, with its interval: over all rows, or the weighted mean of tasks."""
    if weights is None:
        means = rows.pooled(name)
    else:
        means = mean_over_tasks(rows.by_task(column=name, ends=rows.bounds(name), adjusted=False), weights)
    ends = interval_columns(means.means, means.draws, means.items, rows.drawn, is_share=False)
    return {name: nullable(means.means), f"{name}_low": ends["low"], f"{name}_high": ends["high"]}


def weights_note(tasks: Sequence[str], weights: Floats) -> list[str]:
    """A sentence on the weights of tasks."""
    named = [f"{task} {weight:.3g}" for task, weight in zip(tasks, weights.tolist(), strict=True)]
    return [f"Tasks are weighted: {listed(named, 10)}."]


def facts_of(frame: pl.LazyFrame, system: str, facts: Sequence[str]) -> pl.DataFrame:
    """Columns that have one value for each system, by system. Raises SpecError where one has more."""
    require(frame.collect_schema(), [system, *facts])
    fact_table = collected(
        frame.group_by(pl.col(system).cast(pl.String).alias("system")).agg(
            pl.col(name).drop_nulls().unique() for name in facts
        )
    )
    problems = []
    for name in facts:
        ambiguous = [
            (str(row["system"]), len(row[name])) for row in fact_table.sort("system").to_dicts() if len(row[name]) > 1
        ]
        if ambiguous:
            (of, count), others = ambiguous[0], len(ambiguous) - 1
            also = f", and several of {others} other systems" if others else ""
            problems.append(f"Column {name} has {count} values for {of}{also}; a fact must be one for each system.")
    if problems:
        raise SpecError(problems)
    return fact_table.with_columns(pl.col(name).list.first() for name in facts)
