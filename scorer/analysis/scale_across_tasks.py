"""Scale of a judge across tasks: shift and spread per task, ranks of systems across tasks.

A judge that ranks well within each task and badly over all of them moves its scale from task to task. Calibration
(`scorer.analysis.calibration`) corrects that with a map per task.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl

from scorer.analysis.columns import Columns, compact, take
from scorer.analysis.correlation import STATISTICS, Codes, Floats, by_group, defined
from scorer.errors import SpecError
from scorer.html_tables import rows_html


@dataclass(frozen=True, slots=True)
class TaskScale:
    """A task's scores against human values; both sides are standardised over all tasks, so their scales may differ.

    `shift`: mean score minus mean human value, in standard deviations: 0 in every task on a coherent scale. `spread`:
    standard deviation of scores over that of people: 1 on a coherent scale; None where people are constant in the task.
    Both are None where a side is constant over all tasks. The means are on the columns' own scales.
    """

    n: int
    mean_score: float
    mean_human: float
    shift: float | None
    spread: float | None


@dataclass(frozen=True, slots=True)
class Scale:
    """The answer of `scale`.

    `pooled` holds each statistic over all rows, `within` its mean over the tasks that define it: the difference is the
    loss by an incoherent scale. `systems` has a row for each task x system: means, and ranks within the task from 1
    (best; ties share their average); None without a system column. `concordance` is Kendall's W of the systems' ranks
    across tasks, of the judge and of people: 1 where every task ranks them alike; None where it is undefined.
    """

    n: int
    unread: int
    tasks: Mapping[str, TaskScale]
    pooled: Mapping[str, float | None]
    within: Mapping[str, float | None]
    systems: pl.DataFrame | None
    concordance: Mapping[str, float | None]

    @property
    def frame(self) -> pl.DataFrame:
        """A row for each task: n, mean_score, mean_human, shift, spread."""
        rows = [{"task": task, **asdict(scale)} for task, scale in self.tasks.items()]
        return pl.DataFrame(rows, infer_schema_length=None)

    def _repr_html_(self) -> str:
        return rows_html(f"Scale by task: {self.n:,} rows, {self.unread:,} unread", self.frame.to_dicts())

    def json(self) -> dict[str, Any]:
        return {
            "n": self.n,
            "unread": self.unread,
            "tasks": {task: asdict(scale) for task, scale in self.tasks.items()},
            "pooled": dict(self.pooled),
            "within": dict(self.within),
            "systems": None if self.systems is None else self.systems.to_dicts(),
            "concordance": dict(self.concordance),
        }


def scale(frame: pl.LazyFrame, score: str, human: str, task: str, *, system: str | None = None) -> Scale:
    """The scale of one score column across tasks.

    Raises SpecError for columns that cannot serve, fewer than two tasks or two rows with both numbers, and a
    side that is constant.
    """
    columns = take(frame, [score, human], [task, *([system] if system else [])])
    x, y = columns.floats(score), columns.floats(human)
    both = ~np.isnan(x) & ~np.isnan(y)
    code, names = columns.codes(task)
    if both.sum() < 2:
        raise SpecError([f"Rows with both {score} and {human}: {both.sum()}; a comparison needs two or more."])
    for name, values in ((score, x[both]), (human, y[both])):
        if values.min() == values.max():
            raise SpecError([f"{name} is {values[0]:g} in all {len(values)} rows; a scale needs values that differ."])
    group, present = compact(code[both])
    if len(present) < 2:
        raise SpecError([f"Column {task} names one task only ({names[present[0]]}); a scale is compared across tasks."])
    within = by_group(x[both], y[both], group)
    pooled = by_group(x[both], y[both], np.zeros_like(group))
    ranked = _rank_systems(columns, score, human, task, system) if system else None
    return Scale(
        n=int(both.sum()),
        unread=int((np.isnan(x) & ~np.isnan(y)).sum()),
        tasks=dict(zip((names[old] for old in present), task_scales(x[both], y[both], group), strict=True)),
        pooled={name: defined(getattr(pooled, name)[0]) for name in STATISTICS},
        within={name: mean_defined(getattr(within, name)) for name in STATISTICS},
        systems=ranked,
        concordance={
            side: None if ranked is None else _concordance(ranked, f"rank_{side}") for side in ("score", "human")
        },
    )


def task_scales(x: Floats, y: Floats, task: Codes) -> list[TaskScale]:
    """The scale of each task; `task` numbers them from 0 without gaps."""
    if not len(x):
        return []
    n = np.bincount(task)

    def moments(values: Floats) -> tuple[Floats, Floats, Floats]:
        peak = np.abs(values).max() or 1.0  # squares of what is divided by it neither over- nor underflow
        v = values / peak
        mean = np.bincount(task, v) / n
        deviation = np.sqrt(np.bincount(task, (v - mean[task]) ** 2) / n)
        overall = float(v.std()) if np.ptp(v) > 0 else float("nan")
        return mean * peak, (mean - v.mean()) / overall, deviation / overall

    (mx, zx, sx), (my, zy, sy) = moments(x), moments(y)
    spread = sx / np.where(sy > 1e-9, sy, np.nan)
    return [
        TaskScale(int(n[t]), float(mx[t]), float(my[t]), defined(zx[t] - zy[t]), defined(spread[t]))
        for t in range(len(n))
    ]


def mean_defined(values: Floats) -> float | None:
    """The mean of the values that are defined; None where none is."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None


def _rank_systems(columns: Columns, score: str, human: str, task: str, system: str) -> pl.DataFrame:
    rows = pl.DataFrame(
        {
            "task": columns.names(task).cast(pl.String),
            "system": columns.names(system).cast(pl.String),
            "score": columns.numbers(score),
            "human": columns.numbers(human),
        }
    )
    return (
        rows.drop_nulls()
        .group_by("task", "system")
        .agg(pl.len().alias("n"), pl.mean("score").alias("mean_score"), pl.mean("human").alias("mean_human"))
        .with_columns(
            pl.col(f"mean_{side}").rank("average", descending=True).over("task").alias(f"rank_{side}")
            for side in ("score", "human")
        )
        .sort("task", "rank_human", "system")
    )


def _concordance(systems: pl.DataFrame, rank: str) -> float | None:
    """Kendall's W with correction for ties, over the tasks that have every system.

    Source: Kendall and Babington Smith (1939), "The Problem of m Rankings"; ties: Siegel and Castellan (1988), 9.16.
    """
    count = systems["system"].n_unique()
    complete = systems.filter(pl.len().over("task") == count)
    tasks = complete["task"].n_unique()
    if tasks < 2 or count < 2:
        return None
    about_mean = complete.select("system", deviation=pl.col(rank) - (count + 1) / 2)
    sums = about_mean.group_by("system").agg(pl.sum("deviation"))["deviation"].to_numpy()
    most = tasks * float(np.sum(about_mean["deviation"].to_numpy() ** 2))
    return float(np.sum(sums**2)) / most if most > 0 else None
