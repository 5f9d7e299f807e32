"""Calibration of scores to the human scale: one map per task, learned from labels, tested on held-out items."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl

from scorer.analysis.columns import compact, take
from scorer.analysis.correlation import Codes, Floats, pearson
from scorer.analysis.reading import collected
from scorer.errors import SpecError

Method = Literal["shift", "linear", "isotonic"]
Map = Callable[[Floats], Floats]
FEWEST = {"shift": 1, "linear": 3, "isotonic": 5}


@dataclass(frozen=True, slots=True)
class Gain:
    """The gain of calibration on held-out rows (k-fold over whole items); None where undefined.

    `pearson_raw` and `pearson` are over all labelled rows of the calibrated tasks, before and after. `rmse` is the
    error of one map per task, `rmse_one_map` that of a single map for all tasks: the difference is the gain of one map
    per task. `skipped` names the tasks with too few labels and how many they have: their calibrated score is null.
    """

    labels: int
    pearson_raw: float | None
    pearson: float | None
    rmse_one_map: float | None
    rmse: float | None
    skipped: Mapping[str, int]


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
    """The frame with a column `<score>_calibrated` on the human scale, and the gain on held-out rows.

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
