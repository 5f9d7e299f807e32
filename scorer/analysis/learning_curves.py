"""What training teaches: scores by step for one or several mixes, what each step gains, where it ends, what it costs.

A model first learns the format and then the task, so the share of well-formed answers comes first. What it gains on one
task it may lose on another: the change of each task is a table of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import polars as pl

from scorer.analysis.bootstrap import BOOTSTRAP, Bootstrap, Resamples, are_shares, share_interval
from scorer.analysis.columns import Columns, listed, take
from scorer.analysis.correlation import Codes, Floats, defined
from scorer.analysis.curve_distance import Saved, levels_of, rising, saved
from scorer.analysis.learning_curves_result import CHANGES, GAINS, LEVELS, LearningCurves
from scorer.analysis.score_range import Range, bounds
from scorer.analysis.simultaneous import simultaneous_of_draws
from scorer.analysis.training_draws import Points, points_of
from scorer.errors import SpecError

MARGIN = 0.05
"""The share of the scale that counts as no gain, where no margin is given."""


@dataclass(frozen=True, slots=True)
class CurveColumns:
    """The columns of learning curves: `step` holds numbers, the others name things; `seed` is that of the training."""

    step: str
    mix: str | None = None
    item: str | None = None
    task: str | None = None
    well_formed: str | None = None
    seed: str | None = None


@dataclass(frozen=True, slots=True)
class _Curves:
    """The rows of a table as points of curves: point = mix * steps + step."""

    point: Codes
    steps: Floats
    mixes: Sequence[str]
    item: Codes | None
    training: Codes | None
    drawn: Resamples | None

    @property
    def count(self) -> int:
        return len(self.steps) * len(self.mixes)

    def of(self, values: Floats, scale: tuple[float, float], mask: np.ndarray[Any, np.dtype[np.bool_]]) -> Points:
        """The points over some rows; NaN for those without any."""
        item = None if self.item is None else self.item[mask]
        training = None if self.training is None else self.training[mask]
        drawn = self.drawn
        if drawn is not None:
            drawn = Resamples(drawn.weights, drawn.cluster[mask], drawn.items, drawn.bundle)
        return points_of(values[mask], self.point[mask], self.count, item, training, drawn, scale)

    def trained(self, mix: int, points: Points) -> list[int]:
        """The points of a mix that have a read row, by step."""
        own = range(mix * len(self.steps), (mix + 1) * len(self.steps))
        return [point for point in own if np.isfinite(points.means[point])]

    def step_of(self, point: int) -> float:
        return float(self.steps[point % len(self.steps)])


def learning_curves(
    frame: pl.LazyFrame,
    score: str,
    by: CurveColumns,
    *,
    margin: float | None = None,
    levels: Sequence[float] = (),
    scale: Range | None = None,
    bootstrap: Bootstrap = BOOTSTRAP,
) -> LearningCurves:
    """The curves of every mix, in one table over the same items.

    Items that a step lacks are adjusted for, by two-way least squares over points and items. Intervals are from the
    bootstrap over items, and with a column of seeds over trainings, too; without one they say nothing of what another
    training would give, and a note says so. `margin` is by default 5 % of the scale. Distances are at `levels` of the
    score, by default at 50 and 80 % of the range that both curves cover.
    Raises SpecError for columns that cannot serve, fewer than two steps, a margin that is not positive, and where no
    row has a score.
    """
    names = [name for name in (by.mix, by.item, by.task, by.seed) if name]
    numbers = [score, by.step, *([by.well_formed] if by.well_formed else [])]
    columns = take(frame, numbers, names)
    values, curves = columns.floats(score), _curves(columns, by, bootstrap)
    if np.isnan(values).all():
        raise SpecError([f"No row has a value in {score}; learning curves need scores."])
    ends = bounds(values, scale)
    width = ends.high - ends.low or 1.0
    if margin is not None and not margin > 0:
        raise SpecError([f"--margin {margin:g} is not allowed; it must be more than 0."])
    enough = MARGIN * width if margin is None else margin
    everywhere = np.isfinite(columns.floats(by.step))
    of_task, tasks = columns.codes(by.task) if by.task else (np.zeros(len(values), dtype=np.int64), [])
    parts = [(None, everywhere), *((task, everywhere & (of_task == k)) for k, task in enumerate(tasks))]
    rows: list[tuple[Any, ...]] = []
    gains: list[tuple[Any, ...]] = []
    whole: Points | None = None
    last: list[tuple[str, str | None, Points]] = []
    for measure, (of, low, high) in _measures(columns, by, values, (ends.low, ends.high)).items():
        for task, mask in parts:
            wanted = mask & np.isfinite(columns.floats(by.well_formed)) if by.well_formed else mask
            if measure == "score_well_formed" and by.well_formed:
                wanted = wanted & (columns.floats(by.well_formed) != 0)
            found = curves.of(of, (low, high), mask if measure == "score" else wanted)
            shares = measure == "well_formed" or (measure == "score" and are_shares(values))
            rows += [(measure, task, *row) for row in _levels(curves, found, shares)]
            gains += [(measure, task, *row) for row in _gains(curves, found)]
            if measure != "well_formed" and (task is not None or not tasks):
                last.append((measure, task, found))
            if measure == "score" and task is None:
                whole = found
    assert whole is not None
    return LearningCurves(
        levels=pl.DataFrame(rows, schema=LEVELS, orient="row"),
        gains=pl.DataFrame(gains, schema=GAINS, orient="row"),
        flat=_flat(curves, whole, enough),
        margin=enough,
        saved=_saved(curves, whole, levels),
        changes=pl.DataFrame(list(_changes(curves, last)), schema=CHANGES, orient="row"),
        notes=[
            *_notes(columns, by, curves),
            *_unreached(levels, whole),
            *([ends.note(score)] if np.isnan(values).any() else []),
        ],
    )


def _curves(columns: Columns, by: CurveColumns, bootstrap: Bootstrap) -> _Curves:
    step = columns.floats(by.step)
    steps = np.unique(step[np.isfinite(step)])
    if len(steps) < 2:
        raise SpecError([f"Column {by.step} holds {len(steps)} step; a learning curve needs two or more."])
    mix, mixes = columns.codes(by.mix) if by.mix else (np.zeros(len(step), dtype=np.int64), ["all rows"])
    place = np.where(np.isfinite(step), np.searchsorted(steps, step), 0).astype(np.int64)
    training = None
    if by.seed:
        training = columns.codes(*([by.mix] if by.mix else []), by.seed)[0]
    return _Curves(
        point=mix * len(steps) + place,
        steps=steps,
        mixes=mixes,
        item=columns.codes(by.item)[0] if by.item else None,
        training=training,
        drawn=bootstrap.draw(columns.coded(by.item)),
    )


def _measures(
    columns: Columns, by: CurveColumns, values: Floats, ends: tuple[float, float]
) -> dict[str, tuple[Floats, float, float]]:
    """The measures with the ends of their scales: the format first."""
    found: dict[str, tuple[Floats, float, float]] = {}
    if by.well_formed:
        formed = columns.floats(by.well_formed)
        found["well_formed"] = np.where(np.isnan(formed), np.nan, (formed != 0).astype(np.float64)), 0.0, 1.0
        found["score_well_formed"] = np.where(formed == 0, np.nan, values), *ends
    found["score"] = values, *ends
    return found


def _levels(curves: _Curves, of: Points, shares: bool) -> Iterator[tuple[Any, ...]]:
    for mix, name in enumerate(curves.mixes):
        for point in curves.trained(mix, of):
            interval = None
            if curves.drawn is not None:
                draws, items = of.draws[:, point], min(int(of.rows[point]), curves.drawn.items)
                value = float(of.means[point])
                interval = share_interval(value, draws, items) if shares else curves.drawn.interval(draws, items=items)
            yield (
                *(name, curves.step_of(point), defined(of.means[point]), *(interval or (None, None))),
                *(int(of.rows[point]), int(of.unread[point])),
            )


def _differences(
    curves: _Curves, of: Points, pairs: Sequence[tuple[int, int]]
) -> list[tuple[float, tuple[float, float] | None]]:
    """Second less first of each pair of points, with intervals that hold together."""
    values = [float(of.means[b] - of.means[a]) for a, b in pairs]
    if curves.drawn is None:
        return [(value, None) for value in values]
    draws = [of.draws[:, b] - of.draws[:, a] for a, b in pairs]
    return list(zip(values, simultaneous_of_draws(values, draws, curves.drawn.items), strict=True))


def _gains(curves: _Curves, of: Points) -> Iterator[tuple[Any, ...]]:
    """Each step of each mix less its first one."""
    own = [(name, curves.trained(mix, of)) for mix, name in enumerate(curves.mixes)]
    pairs = [(name, points[0], point) for name, points in own for point in points[1:]]
    differences = _differences(curves, of, [(a, b) for _, a, b in pairs])
    for (name, a, b), (value, interval) in zip(pairs, differences, strict=True):
        at = [float(end[b] - end[a]) for end in of.ends]
        better = None
        if interval is not None and (interval[0] > 0 or interval[1] < 0):
            better = value > 0 if len({np.sign(one) for one in (value, *at)}) == 1 else None
        yield (
            *(name, curves.step_of(b), curves.step_of(a), value, *(interval or (None, None))),
            *(at[0], at[1], better),
        )


def _flat(curves: _Curves, of: Points, margin: float) -> dict[str, float | None]:
    """By mix the first step from which no later one gains `margin` or more; of the last step nothing is known."""
    own = [curves.trained(mix, of) for mix in range(len(curves.mixes))]
    pairs = [pair for points in own for pair in combinations(points, 2)]
    upper = {
        pair: interval[1]
        for pair, (_, interval) in zip(pairs, _differences(curves, of, pairs), strict=True)
        if interval is not None
    }
    found: dict[str, float | None] = {}
    for name, points in zip(curves.mixes, own, strict=True):
        known = (
            point
            for k, point in enumerate(points[:-1])
            if all(upper.get((point, later), np.inf) < margin for later in points[k + 1 :])
        )
        first = next(known, None)
        found[name] = None if first is None else curves.step_of(first)
    return found


def _saved(curves: _Curves, of: Points, levels: Sequence[float]) -> list[Saved]:
    own = [curves.trained(mix, of) for mix in range(len(curves.mixes))]
    found: list[Saved] = []
    for a, b in combinations(range(len(own)), 2):
        if min(len(own[a]), len(own[b])) < 2:
            continue
        steps = tuple(np.array([curves.step_of(point) for point in own[k]]) for k in (a, b))
        fits = tuple(rising(of.means[own[k]][None], of.rows[own[k]].astype(np.float64))[0] for k in (a, b))
        drawn = tuple(
            rising(of.draws[:, own[k]], of.rows[own[k]].astype(np.float64)) if len(of.draws) else of.draws[:, :0]
            for k in (a, b)
        )
        at = list(levels) or levels_of(fits[0], fits[1])
        names = (curves.mixes[a], curves.mixes[b])
        found += saved(names, (steps[0], steps[1]), (fits[0], fits[1]), (drawn[0], drawn[1]), at)
    return found


def _changes(curves: _Curves, parts: Sequence[tuple[str, str | None, Points]]) -> Iterator[tuple[Any, ...]]:
    """Last step less first of each mix in each task, all together."""
    keys, values, draws = [], [], []
    for measure, task, of in parts:
        for mix, name in enumerate(curves.mixes):
            if len(points := curves.trained(mix, of)) > 1:
                keys.append((measure, task, name, curves.step_of(points[-1])))
                values.append(float(of.means[points[-1]] - of.means[points[0]]))
                draws.append(of.draws[:, points[-1]] - of.draws[:, points[0]] if len(of.draws) else of.draws)
    intervals: Sequence[tuple[float, float] | None] = [None] * len(values)
    if curves.drawn is not None:
        intervals = simultaneous_of_draws(values, draws, curves.drawn.items)
    for key, value, interval in zip(keys, values, intervals, strict=True):
        yield *key, value, *(interval or (None, None)), bool(interval is not None and interval[1] < 0)


def _unreached(levels: Sequence[float], of: Points) -> Iterator[str]:
    highest = float(np.nanmax(of.means))
    for level in levels:
        if level > highest:
            yield f"No curve reaches {level:g}: the highest mean is {highest:.3f}."


def _notes(columns: Columns, by: CurveColumns, curves: _Curves) -> Iterator[str]:
    if by.seed is None:
        yield (
            "Intervals are over items: they know nothing of the training seed, and another training may differ by "
            "more. Train with several seeds and give --seed."
        )
    else:
        names = columns.codes(by.seed)[1]
        if len(names) < 2:
            yield f"Column {by.seed} holds one seed: what another training would give is not known."
        elif len(names) < 5:
            yield f"{len(names)} seeds say little about how much trainings differ: five or more do."
    if by.item is None:
        yield "No --item is given: each row is an item by itself, and steps are not compared on the same items."
    mix = curves.point // len(curves.steps)
    lacking = [name for k, name in enumerate(curves.mixes) if len(np.unique(curves.point[mix == k])) < 2]
    if lacking:
        yield f"{listed(lacking)} has one step alone: no gain is known."
