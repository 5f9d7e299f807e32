"""Agreement of one score with human values at each level: over all rows, within items, over systems."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scorer.analysis import bootstrap
from scorer.analysis.agree_result import Level, Levels
from scorer.analysis.bootstrap import Bootstrap, Resamples
from scorer.analysis.calibrated_ties import calibrate_ties
from scorer.analysis.columns import compact
from scorer.analysis.correlation import STATISTICS, Codes, Floats, by_group, defined
from scorer.analysis.resampled_correlation import correlations
from scorer.analysis.scale_across_tasks import mean_defined

MANY_SYSTEMS = 10
"""From so many systems on intervals over systems lie around their value. Ranks of fewer have few correlations."""


@dataclass(frozen=True, slots=True)
class PairedRows:
    """Rows with a score `x` (NaN where unread) and a human value `y`, and their codes of item, system and task."""

    x: Floats
    y: Floats
    item: Codes | None
    system: Codes | None
    task: Codes | None

    def where(self, mask: NDArray[np.bool_]) -> PairedRows:
        return PairedRows(
            self.x[mask], self.y[mask], *(c if c is None else c[mask] for c in (self.item, self.system, self.task))
        )


def levels_of(rows: PairedRows, bootstrap: Bootstrap) -> Levels:
    read = ~np.isnan(rows.x)
    unread = int((~read).sum())
    rows = rows.where(read)
    n = len(rows.x)
    clusters = compact(np.arange(n) if rows.item is None else rows.item)[0]
    drawn = bootstrap.draw(clusters) if n > 1 else None
    return Levels(
        n=n,
        unread=unread,
        dataset=_dataset(rows, drawn),
        item=None if rows.item is None else _within_items(rows, drawn, bootstrap.seed),
        system=None if rows.system is None else _over_systems(rows, drawn),
    )


def _dataset(rows: PairedRows, drawn: Resamples | None) -> Level:
    n = len(rows.x)
    if n < 2:
        return _undefined(f"Rows with both numbers: {n}; agreement needs two or more.")
    found = by_group(rows.x, rows.y, np.zeros(n, dtype=np.int64))
    draws = correlations(rows.x, rows.y, drawn) if drawn else {}
    note = ""
    for side, values in (("The score", rows.x), ("The human value", rows.y)):
        if values.min() == values.max():
            note = f"{side} is {values[0]:g} in all {n} rows; no correlation is defined."
    return _level({name: getattr(found, name)[0] for name in STATISTICS}, draws, drawn, {}, note)


def _within_items(rows: PairedRows, drawn: Resamples | None, seed: int) -> Level:
    assert rows.item is not None
    n = len(rows.x)
    if not n:
        return _undefined("No row has both numbers.", items=0, skipped=0, ranked_items=0)
    together = rows.item if rows.task is None else rows.item + (int(rows.item.max()) + 1) * rows.task
    group, _ = compact(together)
    found = by_group(rows.x, rows.y, group)
    usable, ranked = np.isfinite(found.pearson), found.rows > 1
    threshold, calibrated = calibrate_ties(rows.x, rows.y, group, seed=seed)
    values = {name: getattr(found, name) for name in STATISTICS} | {"pairwise_accuracy_calibrated": calibrated}
    draws = {}
    if drawn:
        # A group lies within one item, so any of its rows tells its cluster.
        of_group = np.empty(len(usable), dtype=np.int64)
        of_group[group] = drawn.cluster
        by_item = Resamples(drawn.weights, of_group, drawn.items)
        draws = {name: bootstrap.mean(of_item, by_item) for name, of_item in values.items()}
    counts: dict[str, float] = {"items": int(usable.sum()), "skipped": int((~usable).sum())}
    counts |= {"ranked_items": int(ranked.sum()), "tie_threshold": threshold}
    note = ""
    if not ranked.any():
        note = f"All {len(usable)} items have one row; agreement within items needs two or more."
    elif not usable.any():
        note = (
            f"In all {len(usable)} items a side is constant or there is one row; no correlation is defined within any."
        )
    means = {name: float("nan") if (m := mean_defined(v)) is None else m for name, v in values.items()}
    return _level(means, draws, drawn, counts, note, {name: int(np.isfinite(v).sum()) for name, v in values.items()})


def _over_systems(rows: PairedRows, drawn: Resamples | None) -> Level:
    assert rows.system is not None
    if not len(rows.x):
        return _undefined("No row has both numbers.", systems=0)
    system, present = compact(rows.system)
    count = len(present)
    size = np.bincount(system)
    x, y = np.bincount(system, rows.x) / size, np.bincount(system, rows.y) / size
    if count < 2:
        return _undefined("There is one system only; agreement over systems needs two or more.", systems=1)
    found = by_group(x, y, np.zeros(count, dtype=np.int64))
    draws = {}
    if drawn:
        weight, wx, wy = (drawn.cells(system, count, c) for c in (np.ones(len(system)), rows.x, rows.y))
        whole = (weight > 0).all(axis=1)
        owner = np.repeat(np.arange(int(whole.sum())), count)
        draws = {name: np.full(len(weight), np.nan) for name in STATISTICS}
        if whole.any():
            resampled = by_group((wx[whole] / weight[whole]).ravel(), (wy[whole] / weight[whole]).ravel(), owner)
            for name in STATISTICS:
                draws[name][whole] = getattr(resampled, name)
    note = "With two systems every correlation is 1 or -1." if count == 2 else ""
    if x.min() == x.max() or y.min() == y.max():
        note = "All systems have one mean; no correlation over them is defined."
    values = {name: float(getattr(found, name)[0]) for name in STATISTICS}
    if count >= MANY_SYSTEMS:
        draws = {name: _around(values[name], of_name) for name, of_name in draws.items()}
    return _level(values, draws, drawn, {"systems": count}, note)


def _around(value: float, draws: Floats) -> Floats:
    """The draws moved so that their median is the value, within -1 and 1.

    The mean of a system has the noise of its items. A resample adds as much once more, which draws every correlation
    towards 0: of many systems and few items all draws are below the value.
    """
    known = draws[np.isfinite(draws)]
    return draws if not len(known) else np.clip(draws + (value - float(np.median(known))), -1.0, 1.0)


def _level(
    values: Mapping[str, float],
    draws: Mapping[str, Floats],
    drawn: Resamples | None,
    counts: Mapping[str, float],
    note: str,
    items: Mapping[str, int] | None = None,
) -> Level:
    """`items` is by statistic how many items define it, where that is not all of them."""
    statistics = {name: defined(value) for name, value in values.items()}
    intervals = {
        name: drawn.interval(of_name, items=None if items is None else items[name])
        if drawn and statistics[name] is not None
        else None
        for name, of_name in draws.items()
    }
    return Level(statistics, intervals, counts, note)


def _undefined(note: str, **counts: int) -> Level:
    return Level(dict.fromkeys(STATISTICS), {}, counts, note)
