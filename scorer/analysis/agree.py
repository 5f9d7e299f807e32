"""Agreement of scores with human values: over all rows, within items, over systems, by task; intervals and ceiling."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from scorer.analysis import bootstrap
from scorer.analysis.agree_result import Agreement, Ceiling, Comparison, Level, Levels, ScoreAgreement
from scorer.analysis.bootstrap import Resamples, resample
from scorer.analysis.correlation import STATISTICS, Codes, Floats, by_group, calibrate_ties, defined
from scorer.analysis.kappa_alpha import alpha, kappa
from scorer.analysis.permutation import Statistic, perm_both
from scorer.analysis.scale import mean_defined, stances
from scorer.analysis.tables import LARGEST, compact, take
from scorer.analysis.unread import by_people
from scorer.errors import SpecError

MOST_LABELS = 20


@dataclass(frozen=True, slots=True)
class _Rows:
    """Rows to compare, with a human value each: NaN in `x` is an unread score; the codes are those of all rows."""

    x: Floats
    y: Floats
    item: Codes | None
    system: Codes | None
    task: Codes | None

    def where(self, mask: NDArray[np.bool_]) -> _Rows:
        return _Rows(
            self.x[mask], self.y[mask], *(c if c is None else c[mask] for c in (self.item, self.system, self.task))
        )


def agree(
    frame: pl.LazyFrame,
    scores: Sequence[str],
    human: Sequence[str],
    *,
    item: str | None = None,
    system: str | None = None,
    task: str | None = None,
    replicates: int = 1000,
    permutations: int = 0,
    seed: int = 0,
) -> Agreement:
    """The agreement of each score column with people.

    Several human columns: their mean is what a row is compared with, and agreement among them is the ceiling. Without
    `item` each row is an item of its own for the intervals (`replicates` of the cluster bootstrap over items, 0 for
    none). With `task` an item's rows are compared within the task only. With `permutations` each two scores are
    compared by PERM-BOTH, within items (kendall) where items are named, else over all rows (pearson).
    Raises SpecError for columns that cannot serve, and where people gave fewer than two values or all the same.
    """
    problems = [
        f"Give at least one {what} column." for what, names in (("score", scores), ("human", human)) if not names
    ]
    problems += [
        f"{k} = {v}; it must be 0 or more."
        for k, v in (("bootstrap", replicates), ("permutations", permutations))
        if v < 0
    ]
    if problems:
        raise SpecError(problems)
    groups = [name for name in (item, system, task) if name]
    columns = take(frame, [*scores, *human], groups, largest=LARGEST**2)  # whatever is squared is scaled first
    by_person = np.stack([columns.floats(name) for name in dict.fromkeys(human)], axis=1)
    given = (~np.isnan(by_person)).sum(axis=1)
    y = np.where(given > 0, np.nansum(by_person, axis=1) / np.maximum(given, 1), np.nan)
    labelled = given > 0
    _check_people(y[labelled], human)

    code = {name: columns.codes(name) for name in (item, system, task) if name}
    rows = _Rows(y, y, *(code[name][0] if name else None for name in (item, system, task)))
    tasks = code[task][1] if task else []
    read = {name: columns.floats(name) for name in dict.fromkeys(scores)}
    return Agreement(
        rows=len(y),
        unlabelled=int((~labelled).sum()),
        scores={
            name: _one(
                _Rows(x, y, rows.item, rows.system, rows.task).where(labelled),
                tasks,
                " and ".join(dict.fromkeys(human)),
                replicates,
                seed,
            )
            for name, x in read.items()
        },
        ceiling=_ceiling(by_person, list(dict.fromkeys(human)), rows) if by_person.shape[1] > 1 else None,
        comparisons=list(_compare(read, rows, permutations, seed)) if permutations else [],
    )


def _check_people(y: Floats, human: Sequence[str]) -> None:
    name = " and ".join(human)
    if len(y) < 2:
        raise SpecError([f"{len(y)} rows have a value in {name}; agreement needs two or more."])
    if y.min() == y.max():
        raise SpecError([f"{name} is {y[0]:g} in all {len(y)} rows; agreement needs people to tell rows apart."])


def _one(rows: _Rows, tasks: Sequence[str], human: str, replicates: int, seed: int) -> ScoreAgreement:
    whole = _levels(rows, replicates, seed)
    clusters = np.arange(len(rows.y)) if rows.item is None else compact(rows.item)[0]
    differs = by_people(human, rows.y, np.isnan(rows.x), clusters, rows.task, tasks)
    labels, unlike = _labels(rows)
    if rows.task is None:
        return ScoreAgreement(whole, {}, None, labels, differs, unlike)
    read = ~np.isnan(rows.x)
    group, present = compact(rows.task[read])
    stance = dict(zip(present.tolist(), stances(rows.x[read], rows.y[read], group), strict=True))
    by_task = {
        tasks[t]: (_levels(rows.where(rows.task == t), replicates, seed), stance.get(t)) for t in range(len(tasks))
    }
    within = {
        name: mean_defined(
            np.array([levels.dataset.statistics[name] for levels, _ in by_task.values()], dtype=np.float64)
        )
        for name in STATISTICS
    }
    return ScoreAgreement(whole, by_task, within, labels, differs, unlike)


def _levels(rows: _Rows, replicates: int, seed: int) -> Levels:
    read = ~np.isnan(rows.x)
    unread = int((~read).sum())
    rows = rows.where(read)
    n = len(rows.x)
    clusters = compact(np.arange(n) if rows.item is None else rows.item)[0]
    drawn = resample(clusters, replicates, seed) if replicates and n > 1 else None
    return Levels(
        n=n,
        unread=unread,
        dataset=_dataset(rows, drawn),
        item=None if rows.item is None else _within_items(rows, drawn, seed),
        system=None if rows.system is None else _over_systems(rows, drawn),
    )


def _dataset(rows: _Rows, drawn: Resamples | None) -> Level:
    n = len(rows.x)
    if n < 2:
        return _undefined(f"{n} rows have both numbers; agreement needs two or more.")
    found = by_group(rows.x, rows.y, np.zeros(n, dtype=np.int64))
    draws = bootstrap.correlations(rows.x, rows.y, drawn) if drawn else {}
    note = ""
    for side, values in (("The score", rows.x), ("The human value", rows.y)):
        if values.min() == values.max():
            note = f"{side} is {values[0]:g} in all {n} rows; no correlation is defined."
    return _level({name: getattr(found, name)[0] for name in STATISTICS}, draws, drawn, {}, note)


def _within_items(rows: _Rows, drawn: Resamples | None, seed: int) -> Level:
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
    return _level(means, draws, drawn, counts, note)


def _over_systems(rows: _Rows, drawn: Resamples | None) -> Level:
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
    return _level({name: getattr(found, name)[0] for name in STATISTICS}, draws, drawn, {"systems": count}, note)


def _labels(rows: _Rows) -> tuple[dict[str, float | None] | None, str]:
    """Kappa and alpha where both sides use the same labels; else None, and why where both look like labels."""
    read = ~np.isnan(rows.x)
    x, y = rows.x[read], rows.y[read]
    used = np.unique(np.concatenate([x, y]))
    if not 1 < len(used) <= MOST_LABELS or (used != np.round(used)).any():
        return None, ""
    if not _same_labels(x, y):
        sides = [" to ".join(f"{end:g}" for end in dict.fromkeys((v.min(), v.max()))) for v in (x, y)]
        return None, f"Scores are {sides[0]} and human values {sides[1]}: kappa and alpha need the same labels."
    both = np.stack([x, y], axis=1)
    return {
        "kappa": kappa(x, y),
        "kappa_linear": kappa(x, y, power=1),
        "kappa_quadratic": kappa(x, y, power=2),
        "alpha_nominal": alpha(both, "nominal"),
        "alpha_ordinal": alpha(both, "ordinal"),
        "alpha_interval": alpha(both, "interval"),
    }, ""


def _same_labels(x: Floats, y: Floats) -> bool:
    """Whether two columns of whole numbers can be of one scale.

    The labels in use tell it: one side's must lie within the other's, and where people's lie within the judge's, these
    may not reach twice as far (0 to 1 within 1 to 10 or 0 to 10 is another scale; 2 to 5 within 1 to 5 need not be).
    """
    if y.min() <= x.min() and x.max() <= y.max():
        return True
    inside = x.min() <= y.min() and y.max() <= x.max()
    return inside and float(np.ptp(x)) < 2 * float(np.ptp(y))


def _ceiling(by_person: Floats, people: Sequence[str], rows: _Rows) -> Ceiling:
    found: dict[str, dict[str, list[float]]] = {}
    for p in range(len(people)):
        rest = np.delete(by_person, p, axis=1)
        given = (~np.isnan(rest)).sum(axis=1)
        both = (given > 0) & ~np.isnan(by_person[:, p])
        mean = np.nansum(rest, axis=1) / np.maximum(given, 1)
        levels = _levels(_Rows(by_person[:, p], mean, rows.item, rows.system, rows.task).where(both), 0, 0)
        for name, level in levels.levels():
            for statistic in STATISTICS:
                value = level.statistics[statistic]
                found.setdefault(name, {}).setdefault(statistic, []).append(float("nan") if value is None else value)
    return Ceiling(
        people=people,
        statistics={n: {s: mean_defined(np.array(v)) for s, v in level.items()} for n, level in found.items()},
        alpha={"ordinal": alpha(by_person, "ordinal"), "interval": alpha(by_person, "interval")},
    )


def _compare(read: Mapping[str, Floats], rows: _Rows, permutations: int, seed: int) -> Iterator[Comparison]:
    for a, b in combinations(read, 2):
        both = ~np.isnan(read[a]) & ~np.isnan(read[b]) & ~np.isnan(rows.y)
        kept = rows.where(both)
        group = None
        if kept.item is not None and both.any():
            group, _ = compact(kept.item if kept.task is None else kept.item + (int(kept.item.max()) + 1) * kept.task)
        statistic: Statistic = "pearson" if group is None else "kendall"
        level = "dataset" if group is None else "item"
        verdict = perm_both(
            read[a][both], read[b][both], kept.y, item=group, statistic=statistic, permutations=permutations, seed=seed
        )
        better, than = (a, b) if (verdict.difference or 0.0) >= 0 else (b, a)
        difference = None if verdict.difference is None else abs(verdict.difference)
        yield Comparison(better, than, level, statistic, int(both.sum()), difference, verdict.p)


def _level(
    values: Mapping[str, float],
    draws: Mapping[str, Floats],
    drawn: Resamples | None,
    counts: Mapping[str, float],
    note: str,
) -> Level:
    statistics = {name: defined(value) for name, value in values.items()}
    intervals = {
        name: drawn.interval(of_name) if drawn and statistics[name] is not None else None
        for name, of_name in draws.items()
    }
    return Level(statistics, intervals, counts, note)


def _undefined(note: str, **counts: int) -> Level:
    return Level(dict.fromkeys(STATISTICS), {}, counts, note)
