"""The calibration of a cascade: which rows a cheap judge may keep, so that what it keeps agrees with people.

A cascade asks a cheap judge first and keeps its verdict where its confidence reaches a threshold; the other rows go to
a stronger judge. The threshold is learned on human labels, with a guarantee, or it is refused.

The promise: with probability 1 - delta over the labels, the agreement on kept rows is at least 1 - alpha. Thresholds
are tested from strict to loose, each by the exact binomial p-value P(Binomial(kept, alpha) <= errors). The first that
exceeds delta ends the test, and the threshold before it is taken. Proof: let t be the first threshold whose true risk
exceeds alpha. To take it or a looser one the test has to pass t. At t the errors are stochastically larger than
Binomial(kept, alpha), so that p <= delta has probability delta at most. No correction for the number of thresholds is
needed. It holds for thresholds and an order that do not depend on the labels, and labelled rows that are independent.
With m judges tested on the same labels each has delta / m.

Source: fixed sequence testing, Bauer (1991), "Multiple testing in clinical trials", Statistics in Medicine 10(6);
Angelopoulos, Bates, Candes, Jordan and Lei (2021), "Learn then Test", arXiv 2110.01052, section 2; for judges: Jung,
Brahman and Choi (2025), "Trust or Escalate", ICLR, arXiv 2407.18370, section 2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scorer.analysis.correlation import Floats

SHARES = 20
"""The thresholds keep a twentieth of all rows, two twentieths and so on, as far as confidences differ."""

Bools = NDArray[np.bool_]


def errors_p(errors: int, n: int, alpha: float) -> float:
    """P(Binomial(n, alpha) <= errors), exactly: the p-value of "the risk exceeds alpha" with so many errors of n.

    errors_p(0, 29, .1) = .9^29 = .047.
    """
    if errors >= n:
        return 1.0
    log_alpha, log_rest = math.log(alpha), math.log1p(-alpha)
    log_n = math.lgamma(n + 1)
    terms = (
        math.exp(log_n - math.lgamma(k + 1) - math.lgamma(n - k + 1) + k * log_alpha + (n - k) * log_rest)
        for k in range(errors + 1)
    )
    return min(1.0, math.fsum(terms))


def labels_needed(alpha: float, delta: float, errors: int = 0) -> int:
    """The fewest kept labels of which so many may be errors: 14, 29 and 59 without an error, for .2, .1, .05 at .05."""
    low, high = errors + 1, errors + 2
    while errors_p(errors, high, alpha) > delta:
        low, high = high, 2 * high
    while high - low > 0:
        middle = (low + high) // 2
        low, high = (low, middle) if errors_p(errors, middle, alpha) <= delta else (middle + 1, high)
    return high


def errors_allowed(labels: int, alpha: float, delta: float) -> int | None:
    """The most errors of so many kept labels; None where even none would not do: 60 labels allow 6, 1 and 0."""
    if errors_p(0, labels, alpha) > delta:
        return None
    errors = 0
    while errors + 1 < labels and errors_p(errors + 1, labels, alpha) <= delta:
        errors += 1
    return errors


@dataclass(frozen=True, slots=True)
class Step:
    """One tested threshold: the labelled rows that it keeps, the errors among them, and the p-value."""

    threshold: float
    kept: int
    errors: int
    p: float


@dataclass(frozen=True, slots=True)
class Calibrated:
    """The threshold of one judge, None where the labels do not support any; `steps` are the tests in their order.

    `share` is the share of all rows that it keeps, `labels` the number of labelled rows.
    """

    threshold: float | None
    share: float
    labels: int
    steps: Sequence[Step]

    @property
    def taken(self) -> Step | None:
        """The test of the threshold that was taken."""
        return next((step for step in self.steps if step.threshold == self.threshold), None)


def thresholds_of(confidence: Floats, shares: int = SHARES) -> Floats:
    """The thresholds, strict to loose: each keeps about a further `shares`-th of the rows. NaN is kept by none.

    They depend on confidences alone, so they are fixed before a label is read.
    """
    known = np.sort(confidence[np.isfinite(confidence)])[::-1]
    if not len(known):
        return known
    places = np.ceil(np.arange(1, shares + 1) / shares * len(known)).astype(np.int64) - 1
    return np.unique(known[places])[::-1]


def calibrate(labelled: Floats, right: Bools, rest: Floats, *, alpha: float, delta: float) -> Calibrated:
    """The loosest threshold that fixed sequence testing passes.

    `labelled` are the confidences of the labelled rows, a random sample, and `right` whether each agrees with people;
    `rest` are the confidences of the other rows of the table, by which thresholds are chosen, too. NaN is no verdict,
    which is never kept. The sequence begins at the first threshold that keeps labels enough to pass with two errors,
    where there are twice as many labels, else without an error: from fewer it could only fail.
    """
    two = labels_needed(alpha, delta, 2)
    least = two if len(labelled) >= 2 * two else labels_needed(alpha, delta)
    every = np.concatenate([labelled, rest])
    steps: list[Step] = []
    threshold: float | None = None
    for value in thresholds_of(every).tolist():
        keeps = labelled >= value
        kept = int(keeps.sum())
        if kept < least:
            continue
        errors = int((keeps & ~right).sum())
        steps.append(Step(value, kept, errors, errors_p(errors, kept, alpha)))
        if steps[-1].p > delta:
            break
        threshold = value
    share = 0.0 if threshold is None else float((every >= threshold).mean())
    return Calibrated(threshold, share, len(labelled), steps)
