"""Scale of a judge across tasks: shift and spread per task, ranks of systems across tasks, calibration.

A judge that ranks well within each task and badly over all of them moves its scale from task to task; a map per task,
learned from a few human labels, puts that right. The calibrated score is a further column, the raw one stays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import polars as pl

from scorer.analysis.correlation import STATISTICS, Codes, Floats, by_group, defined, pearson
from scorer.analysis.tables import Columns, collected, compact, take
from scorer.errors import SpecError

Method = Literal["shift", "linear", "isotonic"]
Map = Callable[[Floats], Floats]
FEWEST = {"shift": 1, "linear": 3, "isotonic": 5}


@dataclass(frozen=True, slots=True)
class Stance:
    """Where a task's scores stand against people; both sides standardised over all tasks, so their scales may differ.

    `shift`: mean score less mean human, in standard deviations: 0 in every task on a coherent scale. `spread`: standard
    deviation of scores over that of people: 1 on a coherent scale; None where people are constant in the task. Both are
    None where a side is constant over all tasks. The means are on the columns' own scales.
    """

    n: int
    mean_score: float
    mean_human: float
    shift: float | None
    spread: float | None


@dataclass(frozen=True, slots=True)
class Scale:
    """The answer of `scale`.

    `pooled` holds each statistic over all rows, `within` its mean over the tasks that define it: the difference is what
    an incoherent scale costs. `systems` has a row for each task x system: means, and ranks within the task from 1
    (best; ties share their average); None without a system column. `concordance` is Kendall's W of the systems' ranks
    across tasks, of the judge and of people: 1 where every task ranks them alike; None where it is undefined.
    """

    n: int
    unread: int
    tasks: Mapping[str, Stance]
    pooled: Mapping[str, float | None]
    within: Mapping[str, float | None]
    systems: pl.DataFrame | None
    concordance: Mapping[str, float | None]

    def json(self) -> dict[str, Any]:
        return {
            "n": self.n,
            "unread": self.unread,
            "tasks": {task: asdict(stance) for task, stance in self.tasks.items()},
            "pooled": dict(self.pooled),
            "within": dict(self.within),
            "systems": None if self.systems is None else self.systems.to_dicts(),
            "concordance": dict(self.concordance),
        }


@dataclass(frozen=True, slots=True)
class Gain:
    """What calibration brings on rows it has not seen (k-fold, whole items held out); None where undefined.

    `pearson_raw` and `pearson` are over all labelled rows of the calibrated tasks, before and after. `rmse` is the
    error of one map per task, `rmse_one_map` that of a single map for all tasks: the difference is what knowing the
    task is worth. `skipped` names the tasks with too few labels and how many they have: their calibrated score is null.
    """

    labels: int
    pearson_raw: float | None
    pearson: float | None
    rmse_one_map: float | None
    rmse: float | None
    skipped: Mapping[str, int]


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
        raise SpecError([f"{both.sum()} rows have both {score} and {human}; a comparison needs two or more."])
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
        tasks=dict(zip((names[old] for old in present), stances(x[both], y[both], group), strict=True)),
        pooled={name: defined(getattr(pooled, name)[0]) for name in STATISTICS},
        within={name: mean_defined(getattr(within, name)) for name in STATISTICS},
        systems=ranked,
        concordance={
            side: None if ranked is None else _concordance(ranked, f"rank_{side}") for side in ("score", "human")
        },
    )


def stances(x: Floats, y: Floats, task: Codes) -> list[Stance]:
    """The stance of each task; `task` numbers them from 0 without gaps."""
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
        Stance(int(n[t]), float(mx[t]), float(my[t]), defined(zx[t] - zy[t]), defined(spread[t])) for t in range(len(n))
    ]


def calibrate(
    frame: pl.LazyFrame,
    score: str,
    human: str,
    task: str,
    *,
    method: Method = "linear",
    item: str | None = None,
    folds: int = 5,
    seed: int = 0,
) -> tuple[pl.DataFrame, Gain]:
    """The frame with a column `<score>_calibrated`, on the human scale, and what that is worth on unseen rows.

    One map per task, learned from the rows of it that have a human value. A null score stays null; a task with too few
    labels (shift 1, linear 3, isotonic 5, and a constant score where a slope is wanted) gets null and is named.
    Raises SpecError for columns that cannot serve, a frame that has the new column, no task with enough labels.
    """
    whole = collected(frame)
    new = f"{score}_calibrated"
    if new in whole.columns:
        raise SpecError([f"Column {new} is in the table already; rename it or drop it."])
    if folds < 2:
        raise SpecError([f"folds = {folds}: cross-validation needs 2 folds or more."])
    columns = take(whole.lazy(), [score, human], [task, *([item] if item else [])])
    x, y = columns.floats(score), columns.floats(human)
    code, names = columns.codes(task)
    cluster = columns.codes(item)[0] if item else np.arange(len(x))
    labelled = ~np.isnan(x) & ~np.isnan(y)
    calibrated = np.full(len(x), np.nan)
    enough = np.zeros(len(x), dtype=bool)
    skipped = {}
    for t, name in enumerate(names):
        train = labelled & (code == t)
        if fitted := learn(x[train], y[train], method):
            calibrated[code == t] = fitted(x[code == t])
            enough |= train
        else:
            skipped[name] = int(train.sum())
    if not enough.any():
        raise SpecError([f"No task has the {FEWEST[method]} labels in {human} that {method} calibration learns from."])
    gain = _cross_validate(x[enough], y[enough], code[enough], cluster[enough], method, folds, seed)
    column = pl.Series(new, calibrated, dtype=pl.Float64).fill_nan(None)
    return whole.with_columns(column), Gain(int(enough.sum()), *gain, skipped)


def learn(x: Floats, y: Floats, method: Method) -> Map | None:
    """A map from scores to the human scale, fitted by least squares; None where the rows do not determine one.

    `shift` adds a constant; `linear` is a straight line; `isotonic` never falls, is linear between the scores seen and
    constant beyond them.
    """
    if len(x) < FEWEST[method] or (method != "shift" and np.ptp(x) == 0):
        return None
    mean_x, mean_y = float(x.mean()), float(y.mean())
    if method == "shift":
        return lambda s: s + (mean_y - mean_x)
    if method == "linear":
        slope = float(np.dot(x - mean_x, y - mean_y) / np.dot(x - mean_x, x - mean_x))
        return lambda s: mean_y + slope * (s - mean_x)
    knots, code = np.unique(x, return_inverse=True)
    weights = np.bincount(code).astype(np.float64)
    levels = isotonic(np.bincount(code, y) / weights, weights)
    return lambda s: np.interp(s, knots, levels)


def isotonic(values: Floats, weights: Floats) -> Floats:
    """The nearest sequence that never falls, by weighted least squares.

    isotonic([1, 3, 2, 4], [1, 1, 1, 1]) = [1, 2.5, 2.5, 4].
    Source: pool adjacent violators, Ayer et al. (1955), "An empirical distribution function for sampling with
    incomplete information", Annals of Mathematical Statistics 26(4).
    """
    blocks: list[tuple[float, float, int]] = []
    for value, weight in zip(values.tolist(), weights.tolist(), strict=True):
        level, mass, size = value, weight, 1
        while blocks and blocks[-1][0] >= level:
            before, its_mass, its_size = blocks.pop()
            level = (before * its_mass + level * mass) / (its_mass + mass)
            mass, size = mass + its_mass, size + its_size
        blocks.append((level, mass, size))
    return np.repeat([level for level, _, _ in blocks], [size for _, _, size in blocks])


def mean_defined(values: Floats) -> float | None:
    """The mean of the values that are defined; None where none is."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None


def _cross_validate(
    x: Floats, y: Floats, task: Codes, cluster: Codes, method: Method, folds: int, seed: int
) -> tuple[float | None, float | None, float | None, float | None]:
    """Pearson raw and calibrated, error of one map and of a map per task, on held-out rows that both could predict."""
    clusters, _ = compact(cluster)
    fold = (np.random.default_rng(seed).permutation(int(clusters.max()) + 1) % folds)[clusters]
    per_task, one_map = np.full(len(x), np.nan), np.full(len(x), np.nan)
    for k in range(folds):
        held, rest = fold == k, fold != k
        if common := learn(x[rest], y[rest], method):
            one_map[held] = common(x[held])
        for t in np.unique(task[held]):
            if own := learn(x[rest & (task == t)], y[rest & (task == t)], method):
                per_task[held & (task == t)] = own(x[held & (task == t)])
    seen = ~np.isnan(per_task) & ~np.isnan(one_map)
    if not seen.any():
        return None, None, None, None
    one, own_error = (float(np.sqrt(np.mean((p[seen] - y[seen]) ** 2))) for p in (one_map, per_task))
    return pearson(x[seen], y[seen]), pearson(per_task[seen], y[seen]), one, own_error


def _rank_systems(columns: Columns, score: str, human: str, task: str, system: str) -> pl.DataFrame:
    rows = pl.DataFrame(
        {
            "task": columns.names[task].cast(pl.String),
            "system": columns.names[system].cast(pl.String),
            "score": columns.numbers[score],
            "human": columns.numbers[human],
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
