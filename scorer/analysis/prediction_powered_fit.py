"""One prediction-powered mean: the weights of the judge's scores, and the error as a sum over items."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scorer.analysis.bootstrap import Interval, student, wilson
from scorer.analysis.correlation import Codes, Floats
from scorer.analysis.prediction_powered_result import Mean


@dataclass(frozen=True, slots=True)
class LabelledRows:
    """The population, or a part of it: NaN in `f` is an unread score, NaN in `y` a row without a label.

    `weight` is the number of rows that a label stands for and `stratum` the code of its stratum; both None where the
    labels are a simple random sample.
    """

    f: Floats
    y: Floats
    cluster: Codes
    items: int
    weight: Floats | None = None
    stratum: Codes | None = None

    def where(self, mask: NDArray[np.bool_]) -> LabelledRows:
        weight = None if self.weight is None else self.weight[mask]
        stratum = None if self.stratum is None else self.stratum[mask]
        return LabelledRows(self.f[mask], self.y[mask], self.cluster[mask], self.items, weight, stratum)

    def label_mean(self, values: Floats) -> float:
        """The mean over labelled rows, each as many times as it stands for rows."""
        labelled = ~np.isnan(self.y)
        return float(np.average(values[labelled], weights=None if self.weight is None else self.weight[labelled]))

    def label_error(self, values: Floats) -> MeanError:
        """The error of `label_mean`: within strata, where the labels were drawn within strata.

        Source: Cochran (1977), "Sampling Techniques", section 5.4 (stratified mean) and 12.2 (the strata's sizes as
        those of a sample of the population).
        """
        labelled = ~np.isnan(self.y)
        if self.weight is None or self.stratum is None:
            return error_of(values, self, labelled)
        x, cluster = values[labelled], self.cluster[labelled]
        code, w = np.unique(self.stratum[labelled], return_inverse=True)[1], self.weight[labelled]
        share, count = w / w.sum(), np.bincount(code)
        middle = np.bincount(code, share * x) / np.bincount(code, share)
        alone = count[code] == 1  # a system has one label of the stratum: its error is taken about the whole mean
        within = x - np.where(alone, float(share @ x), middle[code])
        free = np.where(alone, 1.0, np.sqrt(count[code] / np.maximum(count[code] - 1, 1)))
        between = np.sqrt(share / len(self.f)) * np.where(alone, 0.0, middle[code] - float(share @ x))
        total = np.bincount(cluster, share * within * free + between, minlength=self.items)
        return MeanError(total.astype(np.float64), np.bincount(cluster, minlength=self.items) > 0)

    def present(self) -> NDArray[np.bool_]:
        """Which items have a row."""
        return np.bincount(self.cluster, minlength=self.items) > 0


@dataclass(frozen=True, slots=True)
class MeanError:
    """The error of a mean as a sum over items: what each adds, and which take part."""

    of_item: Floats
    present: NDArray[np.bool_]

    @property
    def variance(self) -> float:
        """The sum of squares over items, as of m - 1 of m free ones; 0 for a single item."""
        m = int(self.present.sum())
        return float(np.dot(self.of_item, self.of_item)) * m / (m - 1) if m > 1 else 0.0

    def interval(self, value: float) -> Interval | None:
        """None where the items do not vary: equal labels give no estimate of the error."""
        half = student(0.975, max(int(self.present.sum()) - 1, 1)) * math.sqrt(self.variance)
        return (value - half, value + half) if half > 0 else None


@dataclass(frozen=True, slots=True)
class Fit:
    """An estimate and its error; `weights` of the score and of 1{unread}; `label_variance` is that of one label."""

    value: float
    error: MeanError
    people: MeanError
    weights: tuple[float | None, float | None]
    labels: int
    label_variance: float


def fit_mean(rows: LabelledRows, filler: float | None = None) -> Fit | None:
    """The estimate; None where fewer than two rows are labelled. `filler` stands for unread scores: their mean.

    Where a labelled row is unread the result is the same for every filler: another one adds a multiple of the second
    regressor to the first. Where none is, the second weight is 0, and the filler is the mean of the read scores.
    """
    unread, labelled = np.isnan(rows.f), ~np.isnan(rows.y)
    # Of a simple random sample the other rows are a second sample; else all rows are what the weights stand for.
    n, rest = int(labelled.sum()), ~labelled if rows.weight is None else np.ones(len(labelled), dtype=bool)
    if n < 2:
        return None
    people = rows.label_error(rows.y)
    value = rows.label_mean(rows.y)
    if not rest.any() or unread.all():
        return Fit(value, people, people, (None, None), n, n * people.variance)
    center = float(rows.f[~unread].mean())
    scores = np.where(unread, center if filler is None else filler, rows.f)
    regressors = [scores]
    if (unread & labelled).any() and not unread[labelled].all():
        regressors.append(unread.astype(np.float64))
    here = np.stack([rows.label_error(x).of_item for x in regressors], axis=1)
    gap = here - np.stack([error_of(x, rows, rest).of_item for x in regressors], axis=1)
    # The weights that make the variance, the sum of (people - gap @ weights)^2 over items, least.
    scale = np.abs(gap).max(axis=0)
    scaled = gap / np.where(scale > 0, scale, 1.0)
    weights = np.linalg.lstsq(scaled, people.of_item, rcond=None)[0] / np.where(scale > 0, scale, 1.0)
    away = np.array([x[rest].mean() - rows.label_mean(x) for x in regressors])
    error = people.of_item - gap @ weights
    if len(regressors) > 1:
        # Few labelled rows are unread, and the weight follows each of them: the error is that of an item left out.
        error /= np.maximum(1 - _leverage(scaled), 0.02)
    second: float | None = None
    if unread.any():
        shift = 0.0 if filler is None else float(weights[0]) * (filler - center)
        second = float(weights[1]) + shift if len(regressors) > 1 else 0.0
    corrected = MeanError(people.of_item - here @ weights, people.present)
    return Fit(
        value=value + float(weights @ away),
        error=MeanError(error, people.present),
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


def error_of(values: Floats, of: LabelledRows, rows: NDArray[np.bool_]) -> MeanError:
    count = np.bincount(of.cluster[rows], minlength=of.items)
    total = np.bincount(of.cluster[rows], values[rows] - values[rows].mean(), minlength=of.items)
    return MeanError(total / rows.sum(), count > 0)


def label_mean(rows: LabelledRows) -> Mean:
    """The mean human value by the labels alone."""
    if rows.weight is None:
        return plain_mean(rows.y, rows, ~np.isnan(rows.y))
    if np.isnan(rows.y).all():
        return Mean(None, None)
    value = rows.label_mean(rows.y)
    return Mean(value, rows.label_error(rows.y).interval(value))


def plain_mean(values: Floats, of: LabelledRows, rows: NDArray[np.bool_]) -> Mean:
    if not rows.any():
        return Mean(None, None)
    value, error = float(values[rows].mean()), error_of(values, of, rows)
    items = int(error.present.sum())
    if items > 1 and ((values[rows] == 0) | (values[rows] == 1)).all():
        return Mean(value, wilson(value, error.variance, items))
    return Mean(value, error.interval(value))
