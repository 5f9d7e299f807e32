"""The mean human value of all rows, from all judge scores and a few human labels, with valid intervals.

The judge's mean is precise and may be wrong; the labels' mean is right and wide. Prediction-powered inference takes
the first and corrects it by what the labels say about the judge's errors. It is valid however bad the judge is, as long
as the labelled rows are a random sample of the rows: nothing here can check that.

A row without a score belongs to the population as well. It enters through a second regressor, 1 for an unread row and 0
for a read one, so that the value that stands in for its score makes no difference.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import combinations
from statistics import NormalDist
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from scorer.analysis.bootstrap import Interval, resample, student, wilson
from scorer.analysis.correlation import Codes, Floats
from scorer.analysis.simultaneous import contrast, simultaneous
from scorer.analysis.tables import collected, listed, not_judged, require, take
from scorer.errors import SpecError

POWER = 0.8


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean and its 95 % interval; both None where there is nothing to average, the interval where one item is.

    A mean of zeros and ones alone, a share, has Wilson's interval.
    """

    value: float | None
    interval: Interval | None


@dataclass(frozen=True, slots=True)
class Estimate:
    """One system, or all rows.

    `mean` is the answer, on the human scale; `labels_only` what the labels say by themselves, `judge_only` the mean of
    the scores on the judge's scale. `weight` is the share of the judge used (PPI++'s lambda, which also translates its
    scale): near 0 it was of no help. `labels_worth` is how many labels alone would give as narrow an interval.

    The population is `rows` with a score, of which `labels` have a human value, and `unread` rows without one, of which
    `labels_unread` do; the estimate rests on both kinds of labels. `unread_weight` is the weight of the second
    regressor where unread rows stand at the mean of the read scores: what people think of an unread row beyond that. It
    is 0 where no labelled row is unread, None where no row is unread. `bad` rows ended as BadRow, had nothing to judge;
    `pending` ones are not judged yet. Neither is in the population.
    """

    rows: int
    labels: int
    unread: int
    mean: Mean
    labels_only: Mean
    judge_only: Mean
    weight: float | None
    labels_worth: int | None
    labels_unread: int = 0
    unread_weight: float | None = None
    bad: int = 0
    pending: int = 0


@dataclass(frozen=True, slots=True)
class Difference:
    """System `a` less system `b`, over the `items` of which both have a row, unread ones included.

    Each system keeps all its labels of these items, whether the other's answer is labelled or not. Without an item
    column every row counts, and the systems are independent samples; `items` is None. The intervals of all differences
    of a table hold together in 95 % of tables.
    `labels_more` is how many further labels each would need to tell them apart (95 %, power 80 %) if the difference is
    what it seems: 0 where they suffice, None where no number would, with this corpus.
    """

    a: str
    b: str
    difference: float
    interval: Interval | None
    labels_more: int | None
    items: int | None = None


@dataclass(frozen=True, slots=True)
class Estimates:
    """The answer of `estimate`: all rows together, each system, each pair of systems, and what to know beside them."""

    overall: Estimate
    systems: Mapping[str, Estimate]
    differences: Sequence[Difference]
    notes: Sequence[str] = field(default=())

    def json(self) -> dict[str, Any]:
        return {
            "overall": {**asdict(self.overall), "notes": list(self.notes)},
            "systems": {name: asdict(of_system) for name, of_system in self.systems.items()},
            "differences": [asdict(difference) for difference in self.differences],
        }


@dataclass(frozen=True, slots=True)
class _Rows:
    """The population, or a part of it: NaN in `f` is an unread score, NaN in `y` a row without a label."""

    f: Floats
    y: Floats
    cluster: Codes
    items: int

    def where(self, mask: NDArray[np.bool_]) -> _Rows:
        return _Rows(self.f[mask], self.y[mask], self.cluster[mask], self.items)

    def present(self) -> NDArray[np.bool_]:
        """Which items have a row."""
        return np.bincount(self.cluster, minlength=self.items) > 0


@dataclass(frozen=True, slots=True)
class _Error:
    """The error of a mean as a sum over items: what each adds, and which take part."""

    of_item: Floats
    present: NDArray[np.bool_]

    @property
    def variance(self) -> float:
        """The sum of squares over items, as of m - 1 of m free ones; 0 for a single item."""
        m = int(self.present.sum())
        return float(np.dot(self.of_item, self.of_item)) * m / (m - 1) if m > 1 else 0.0

    def interval(self, value: float) -> Interval | None:
        """None where the items do not vary: as many labels that happen to agree prove nothing."""
        half = student(0.975, max(int(self.present.sum()) - 1, 1)) * math.sqrt(self.variance)
        return (value - half, value + half) if half > 0 else None


@dataclass(frozen=True, slots=True)
class _Fit:
    """An estimate and its error; `weights` of the score and of 1{unread}; `label_variance` is that of one label."""

    value: float
    error: _Error
    people: _Error
    weights: tuple[float | None, float | None]
    labels: int
    label_variance: float


def estimate(
    frame: pl.LazyFrame,
    score: str,
    human: str,
    *,
    system: str | None = None,
    item: str | None = None,
    replicates: int = 1000,
    seed: int = 0,
) -> Estimates:
    """The mean human value of all rows that were judged, read or not.

    With `item` the rows of an item count as one observation in every interval, and two systems are compared over the
    items of which both have a row. A labelled row without a score counts as the others do. Rows that ended as BadRow
    had nothing to judge; they and rows that are pending are counted and take no part. `replicates` resamples of the
    items make the intervals of several differences hold together; 0: each by itself.
    Raises SpecError for columns that cannot serve and where fewer than two rows have a label.
    Source: Angelopoulos, Bates, Fannjiang, Jordan and Zrnic (2023), "Prediction-powered inference", Science 382; the
    weights: Angelopoulos, Duchi and Zrnic (2023), "PPI++", arXiv 2311.01453, section 6, here by least squares over
    items, which is the same where each row is an item.
    """
    asked = [score, human, *(name for name in (system, item) if name)]
    schema = frame.collect_schema()
    require(schema, asked)
    told_by = [name for name in ("error", "finished_at") if name in schema]
    frame = collected(frame.select(list(dict.fromkeys([*asked, *told_by])))).lazy()
    columns = take(frame, [score, human], [name for name in (system, item) if name])
    f, y = columns.floats(score), columns.floats(human)
    cluster = columns.codes(item)[0] if item else np.arange(len(f), dtype=np.int64)
    bad, pending = not_judged(frame, score)
    judged = ~bad & ~pending
    rows = _Rows(f, y, cluster, int(cluster.max(initial=-1)) + 1)
    if (labels := int((~np.isnan(y) & judged).sum())) < 2:
        both = int((~np.isnan(y) & ~np.isnan(f) & judged).sum())
        apart = f" of the {judged.sum():,} that are judged" if not judged.all() else ""
        more = f" and {labels - both} more a {human} alone" if labels > both else ""
        raise SpecError(
            [f"{both} rows{apart} have both {score} and {human}{more}; an estimate needs two labels or more."]
        )

    def told(mine: NDArray[np.bool_]) -> Estimate:
        return _told(rows.where(mine & judged), int((mine & bad).sum()), int((mine & pending).sum()))

    overall = told(np.ones(len(f), dtype=bool))
    code, names = columns.codes(system) if system else (np.zeros(len(f), dtype=np.int64), [])
    systems = {name: told(code == s) for s, name in enumerate(names)}
    parts = {name: rows.where(judged & (code == s)) for s, name in enumerate(names)}
    differences, unlike = _differences(parts, paired=item is not None, replicates=replicates, seed=seed)
    return Estimates(overall, systems, differences, [*_notes(overall, systems), *unlike])


def _told(rows: _Rows, bad: int, pending: int) -> Estimate:
    read, labelled = ~np.isnan(rows.f), ~np.isnan(rows.y)
    found = _fit(rows)
    human, judge = _mean(rows.y, rows, labelled), _mean(rows.f, rows, read)
    weight, unread_weight = (None, None) if found is None else found.weights
    worth = None
    if found is not None and found.error.variance > 0:
        worth = round(found.labels * found.people.variance / found.error.variance)
    return Estimate(
        rows=int(read.sum()),
        labels=int((labelled & read).sum()),
        unread=int((~read).sum()),
        mean=human if found is None else Mean(found.value, found.error.interval(found.value)),
        labels_only=human,
        judge_only=judge,
        weight=weight,
        labels_worth=worth,
        labels_unread=int((labelled & ~read).sum()),
        unread_weight=unread_weight,
        bad=bad,
        pending=pending,
    )


def _fit(rows: _Rows, filler: float | None = None) -> _Fit | None:
    """The estimate; None where fewer than two rows are labelled. `filler` stands for unread scores: their mean.

    Where a labelled row is unread the result is the same for every filler: another one adds a multiple of the second
    regressor to the first. Where none is, the second weight is 0, and the filler is the mean of the read scores.
    """
    unread, labelled = np.isnan(rows.f), ~np.isnan(rows.y)
    n, rest = int(labelled.sum()), ~labelled
    if n < 2:
        return None
    people = _error(rows.y, rows, labelled)
    value = float(rows.y[labelled].mean())
    if not rest.any() or unread.all():
        return _Fit(value, people, people, (None, None), n, n * people.variance)
    center = float(rows.f[~unread].mean())
    scores = np.where(unread, center if filler is None else filler, rows.f)
    regressors = [scores]
    if (unread & labelled).any() and not unread[labelled].all():
        regressors.append(unread.astype(np.float64))
    here = np.stack([_error(x, rows, labelled).of_item for x in regressors], axis=1)
    gap = here - np.stack([_error(x, rows, rest).of_item for x in regressors], axis=1)
    # The weights that make the variance, the sum of (people - gap @ weights)^2 over items, least.
    scale = np.abs(gap).max(axis=0)
    scaled = gap / np.where(scale > 0, scale, 1.0)
    weights = np.linalg.lstsq(scaled, people.of_item, rcond=None)[0] / np.where(scale > 0, scale, 1.0)
    away = np.array([x[rest].mean() - x[labelled].mean() for x in regressors])
    error = people.of_item - gap @ weights
    if len(regressors) > 1:
        # Few labelled rows are unread, and the weight follows each of them: the error is that of an item left out.
        error /= np.maximum(1 - _leverage(scaled), 0.02)
    second: float | None = None
    if unread.any():
        shift = 0.0 if filler is None else float(weights[0]) * (filler - center)
        second = float(weights[1]) + shift if len(regressors) > 1 else 0.0
    corrected = _Error(people.of_item - here @ weights, people.present)
    return _Fit(
        value=value + float(weights @ away),
        error=_Error(error, people.present),
        people=people,
        weights=(float(weights[0]), second),
        labels=n,
        label_variance=n * corrected.variance,
    )


def _leverage(design: Floats) -> Floats:
    """What each row of a design has in its own fit, from 0 to 1.

    Source: MacKinnon and White (1985), "Some heteroskedasticity-consistent covariance matrix estimators with improved
    finite sample properties", Journal of Econometrics 29(3): the residual divided by 1 less it (HC3).
    """
    orthogonal, singular, _ = np.linalg.svd(design, full_matrices=False)
    kept = orthogonal[:, singular > singular[0] * len(design) * np.finfo(np.float64).eps]
    leverage: Floats = (kept**2).sum(axis=1)
    return leverage


def _differences(
    parts: Mapping[str, _Rows], *, paired: bool, replicates: int, seed: int
) -> tuple[list[Difference], list[str]]:
    """Every pair of systems that has labels enough, and a sentence where systems share no item."""
    whole = {name: fit for name, part in parts.items() if (fit := _fit(part)) is not None}
    present = {name: parts[name].present() for name in whole}
    known: dict[tuple[str, bytes], _Fit | None] = {}

    def over(name: str, shared: NDArray[np.bool_]) -> _Fit | None:
        """The estimate of a system over the rows of these items; worked out once for each set of items."""
        if not paired or np.array_equal(shared, present[name]):
            return whole[name]
        key = (name, np.packbits(shared).tobytes())
        if key not in known:
            part = parts[name]
            known[key] = _fit(part.where(shared[part.cluster]))
        return known[key]

    pairs: list[tuple[str, str, _Fit, _Fit, int | None]] = []
    apart: list[str] = []
    for a, b in combinations(whole, 2):
        shared = present[a] & present[b]
        if paired and not shared.any():
            apart.append(f"{a} and {b}")
            continue
        of_a, of_b = over(a, shared), over(b, shared)
        if of_a is not None and of_b is not None:
            pairs.append((a, b, of_a, of_b, int(shared.sum()) if paired else None))
    items = next(iter(parts.values())).items if parts else 0
    drawn = resample(np.arange(items), replicates, seed) if replicates and len(pairs) > 1 else None
    contrasts = [
        contrast(a.value - b.value, a.error.of_item - b.error.of_item, _labelled_items(a, b), drawn)
        for _, _, a, b, _ in pairs
    ]
    intervals = simultaneous(contrasts, drawn)
    notes = []
    if apart:
        notes.append(f"{listed(apart)} share no item: no difference is taken. Without --item they are independent.")
    if len(pairs) > 1:
        notes.append(f"The {len(pairs):,} intervals of differences hold together in 95 % of tables (max-t).")
    return [
        Difference(a, b, one.value, interval, _labels_more(one.value, of_a, of_b), shared_items)
        for (a, b, of_a, of_b, shared_items), one, interval in zip(pairs, contrasts, intervals, strict=True)
    ], notes


def _labelled_items(a: _Fit, b: _Fit) -> int:
    """The number of labelled items that a difference rests on."""
    return int((a.error.present | b.error.present).sum())


def _labels_more(difference: float, a: _Fit, b: _Fit) -> int | None:
    error = _Error(a.error.of_item - b.error.of_item, a.error.present | b.error.present)
    standard = NormalDist()
    aimed = (difference / (standard.inv_cdf(0.975) + standard.inv_cdf(POWER))) ** 2
    # What stays however many labels there are: the judge's own mean over a finite corpus.
    kept = max(error.variance - a.label_variance / a.labels - b.label_variance / b.labels, 0.0)
    if aimed <= kept:
        return None
    needed = math.ceil((a.label_variance + b.label_variance) / (aimed - kept))
    return max(0, needed - min(a.labels, b.labels))


def _notes(overall: Estimate, systems: Mapping[str, Estimate]) -> list[str]:
    notes = []
    if overall.bad:
        notes.append(f"{overall.bad:,} rows ended as BadRow: they had nothing to judge and are not in the population.")
    if overall.pending:
        notes.append(f"{overall.pending:,} rows are not judged yet: this is the mean of the rows judged so far.")
    if overall.unread and not overall.labels_unread:
        notes.append(
            f"{overall.unread:,} rows have no verdict and none of them has a label: their weight is 0, and their human "
            "values are not known. Label some of them."
        )
    elif dark := [name for name, one in systems.items() if one.unread and not one.labels_unread and one.labels > 1]:
        notes.append(
            f"{listed(dark)}: no row with no verdict has a label. Their weight is 0, and their human values are not "
            "known. Label some of them."
        )
    labelled = [name for name, one in systems.items() if one.labels + one.labels_unread]
    if len(systems) > 1 and len(labelled) == 1:
        notes.append(
            f"All {overall.labels + overall.labels_unread:,} labels are of {labelled[0]}: they say nothing of the "
            f"other {len(systems) - 1} systems, and the mean of all rows is right only if the judge errs alike on "
            "them. Label rows of each."
        )
    elif without := [name for name in systems if name not in labelled]:
        notes.append(f"No label is of {listed(without)}: the labels are no random sample of all rows.")
    return notes


def _error(values: Floats, of: _Rows, rows: NDArray[np.bool_]) -> _Error:
    count = np.bincount(of.cluster[rows], minlength=of.items)
    total = np.bincount(of.cluster[rows], values[rows] - values[rows].mean(), minlength=of.items)
    return _Error(total / rows.sum(), count > 0)


def _mean(values: Floats, of: _Rows, rows: NDArray[np.bool_]) -> Mean:
    if not rows.any():
        return Mean(None, None)
    value, error = float(values[rows].mean()), _error(values, of, rows)
    items = int(error.present.sum())
    if items > 1 and ((values[rows] == 0) | (values[rows] == 1)).all():
        return Mean(value, wilson(value, error.variance, items))
    return Mean(value, error.interval(value))
