"""What people would say of the whole corpus, from all judge scores and a few human labels, with valid intervals.

The judge's mean is precise and may be wrong; the labels' mean is right and wide. Prediction-powered inference takes
the first and corrects it by what the labels say about the judge's errors. It is valid however bad the judge is, as long
as the labelled rows are a random sample of the rows: nothing here can check that.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from statistics import NormalDist
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from scorer.analysis.bootstrap import Interval, student, wilson
from scorer.analysis.correlation import Codes, Floats
from scorer.analysis.tables import take
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
    scale): near 0 it was of no help. `labels_worth` is how many labels alone would give as narrow an interval. `rows`
    have a score, `labels` of them a human value too; `unread` have none.
    """

    rows: int
    labels: int
    unread: int
    mean: Mean
    labels_only: Mean
    judge_only: Mean
    weight: float | None
    labels_worth: int | None


@dataclass(frozen=True, slots=True)
class Difference:
    """System `a` less system `b`, paired over the items they share.

    `labels_more` is how many further labels each would need to tell them apart (95 %, power 80 %) if the difference is
    what it seems: 0 where they suffice, None where no number would, with this corpus.
    """

    a: str
    b: str
    difference: float
    interval: Interval | None
    labels_more: int | None


@dataclass(frozen=True, slots=True)
class Estimates:
    """The answer of `estimate`: all rows together, each system, each pair of systems."""

    overall: Estimate
    systems: Mapping[str, Estimate]
    differences: Sequence[Difference]

    def json(self) -> dict[str, Any]:
        return {
            "overall": asdict(self.overall),
            "systems": {name: asdict(of_system) for name, of_system in self.systems.items()},
            "differences": [asdict(difference) for difference in self.differences],
        }


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
class _System:
    """What a difference needs to know: the estimate, its error, the labels, and what one label's variance is."""

    value: float
    error: _Error
    labels: int
    label_variance: float


def estimate(
    frame: pl.LazyFrame, score: str, human: str, *, system: str | None = None, item: str | None = None
) -> Estimates:
    """The mean human value of all rows that have a score.

    With `item` the rows of an item count as one observation in every interval. Rows with a label and without a score
    take no part. Raises SpecError for columns that cannot serve and where fewer than two rows have both numbers.
    Source: Angelopoulos, Bates, Fannjiang, Jordan and Zrnic (2023), "Prediction-powered inference", Science 382; the
    weight: Angelopoulos, Duchi and Zrnic (2023), "PPI++", arXiv 2311.01453, section 6; here over items, not rows, which
    is the same where each row is an item.
    """
    columns = take(frame, [score, human], [name for name in (system, item) if name])
    f, y = columns.floats(score), columns.floats(human)
    cluster = columns.codes(item)[0] if item else np.arange(len(f), dtype=np.int64)
    both = int((~np.isnan(f) & ~np.isnan(y)).sum())
    if both < 2:
        raise SpecError([f"{both} rows have both {score} and {human}; an estimate needs two labels or more."])
    everything, _ = _estimate(f, y, cluster, np.ones(len(f), dtype=bool))
    systems: dict[str, Estimate] = {}
    known: dict[str, _System] = {}
    code, names = columns.codes(system) if system else (cluster, [])
    for s, name in enumerate(names):
        systems[name], details = _estimate(f, y, cluster, code == s)
        if details is not None:
            known[name] = details
    differences = [_difference(a, b, known[a], known[b]) for a, b in combinations(known, 2)]
    return Estimates(everything, systems, differences)


def _estimate(f: Floats, y: Floats, cluster: Codes, mine: NDArray[np.bool_]) -> tuple[Estimate, _System | None]:
    read = mine & ~np.isnan(f)
    labelled, rest = read & ~np.isnan(y), read & np.isnan(y)
    n, unread = int(labelled.sum()), int((mine & ~read).sum())
    judge = _mean(f, cluster, read)
    human = _mean(y, cluster, labelled)
    if n < 2:
        return Estimate(int(read.sum()), n, unread, human, human, judge, None, None), None
    people, here = _error(y, cluster, labelled), _error(f, cluster, labelled)
    value, weight, error = float(y[labelled].mean()), None, people
    if rest.any():
        gap = here.of_item - _error(f, cluster, rest).of_item
        # The weight that makes the variance, the sum of (people - weight gap)^2 over items, least.
        weight = float(np.dot(people.of_item, gap) / np.dot(gap, gap)) if np.any(gap) else 0.0
        value += weight * float(f[rest].mean() - f[labelled].mean())
        error = _Error(people.of_item - weight * gap, people.present)
    found = Estimate(
        rows=int(read.sum()),
        labels=n,
        unread=unread,
        mean=Mean(value, error.interval(value)),
        labels_only=human,
        judge_only=judge,
        weight=weight,
        labels_worth=round(n * people.variance / error.variance) if error.variance > 0 else None,
    )
    corrected = _Error(people.of_item - (weight or 0.0) * here.of_item, people.present)
    return found, _System(value, error, n, n * corrected.variance)


def _difference(name_a: str, name_b: str, a: _System, b: _System) -> Difference:
    difference = a.value - b.value
    error = _Error(a.error.of_item - b.error.of_item, a.error.present | b.error.present)
    standard = NormalDist()
    aimed = (difference / (standard.inv_cdf(0.975) + standard.inv_cdf(POWER))) ** 2
    # What stays however many labels there are: the judge's own mean over a finite corpus.
    kept = max(error.variance - a.label_variance / a.labels - b.label_variance / b.labels, 0.0)
    more = None
    if aimed > kept:
        needed = math.ceil((a.label_variance + b.label_variance) / (aimed - kept))
        more = max(0, needed - min(a.labels, b.labels))
    return Difference(name_a, name_b, difference, error.interval(difference), more)


def _error(values: Floats, cluster: Codes, rows: NDArray[np.bool_]) -> _Error:
    items = int(cluster.max()) + 1
    count = np.bincount(cluster[rows], minlength=items)
    total = np.bincount(cluster[rows], values[rows] - values[rows].mean(), minlength=items)
    return _Error(total / rows.sum(), count > 0)


def _mean(values: Floats, cluster: Codes, rows: NDArray[np.bool_]) -> Mean:
    if not rows.any():
        return Mean(None, None)
    value, error = float(values[rows].mean()), _error(values, cluster, rows)
    items = int(error.present.sum())
    if items > 1 and ((values[rows] == 0) | (values[rows] == 1)).all():
        return Mean(value, wilson(value, error.variance, items))
    return Mean(value, error.interval(value))
