"""Chance-corrected agreement on labels: Cohen's weighted kappa, Krippendorff's alpha."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from scorer.analysis.correlation import Floats, defined, midranks, runs

Measure = Literal["nominal", "ordinal", "interval"]


def kappa(x: Floats, y: Floats, *, power: int = 0) -> float | None:
    """Cohen's kappa of two raters; `power` 0 counts any difference alike, 1 weighs it linearly, 2 quadratically.

    The distance of two labels is the number of steps between them among the labels in use, in order. None where both
    use one and the same label only, or there are no rows.
    kappa([1, 1, 2, 2], [1, 1, 2, 1]): observed disagreement 1/4, expected 1/2: 1 - .25 / .5 = .5.
    Source: Cohen (1968), "Weighted kappa", Psychological Bulletin 70(4).
    """
    if not len(x):
        return None
    labels, code = np.unique(np.concatenate([x, y]), return_inverse=True)
    a, b = code[: len(x)], code[len(x) :]
    table = np.bincount(a * len(labels) + b, minlength=len(labels) ** 2).reshape(len(labels), -1) / len(x)
    steps = np.abs(np.subtract.outer(np.arange(len(labels)), np.arange(len(labels)))).astype(np.float64)
    weights = steps**power if power else (steps > 0).astype(np.float64)
    expected = float(np.sum(weights * np.outer(table.sum(axis=1), table.sum(axis=0))))
    return defined(1.0 - float(np.sum(weights * table)) / expected) if expected > 0 else None


def alpha(ratings: NDArray[np.float64], measure: Measure) -> float | None:
    """Krippendorff's alpha of a matrix units x raters, NaN where a rater gave nothing; None where it is undefined.

    Units with one rating say nothing and are left out. The ordinal distance of two values is the difference of their
    mid-ranks among all ratings, so ordinal alpha is interval alpha of the mid-ranks. Undefined where all are equal.
    alpha([[1, 1], [1, 2]]): D_o = 1/2, D_e = 1/2: 0.
    Source: Krippendorff (2011), "Computing Krippendorff's Alpha-Reliability", section D; ordinal metric: section C.
    """
    given = ~np.isnan(ratings)
    usable = given.sum(axis=1) >= 2
    unit = np.nonzero(given[usable])[0].astype(np.int64)
    values = ratings[usable][given[usable]]
    n = len(values)
    if n < 2 or values.min() == values.max():
        return None
    whole = np.zeros(n, dtype=np.int64)
    raters = np.bincount(unit)
    if measure == "nominal":
        alike = runs(values, unit)
        # `unit` is ascending, so the runs' first places index it as it stands.
        # Ordered pairs of a unit that differ: m^2 less the squared count of each label.
        observed = float(np.sum((raters**2 - np.bincount(unit[alike.first], alike.size**2)) / (raters - 1)))
        expected = float(n**2 - np.sum(runs(values, whole).size ** 2)) / (n - 1)
    else:
        v = midranks(runs(values, whole), whole) if measure == "ordinal" else values
        v = (v - v.mean()) / np.abs(v - v.mean()).max()
        about_mean = v - (np.bincount(unit, v) / raters)[unit]
        # Squared differences over ordered pairs: 2 m times the squares about the unit's mean.
        observed = float(np.sum(2 * raters * np.bincount(unit, about_mean**2) / (raters - 1)))
        expected = float(2 * n * np.sum(v**2)) / (n - 1)
    return defined(1.0 - observed / expected)
