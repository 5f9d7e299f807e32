"""The calibration of a cascade: which rows a cheap judge may keep, so that what it keeps agrees with people.

A cascade asks a cheap judge first and keeps its verdict where its confidence reaches a threshold; the other rows go to
a stronger judge. The threshold is learned on human labels, with a guarantee, or it is refused.

The promise: with probability 1 - delta over the labels, the agreement on kept rows is at least 1 - alpha. By default it
is about rows to come (`future`): the labelled rows are a random sample of them. Thresholds are tested from strict to
loose, each by the exact binomial p-value P(Binomial(kept, alpha) <= errors). The first that
exceeds delta ends the test, and the threshold before it is taken. Proof: let t be the first threshold whose true risk
exceeds alpha. To take it or a looser one the test has to pass t. At t the errors are stochastically larger than
Binomial(kept, alpha), so that p <= delta has probability delta at most. No correction for the number of thresholds is
needed. It holds for thresholds and an order that do not depend on the labels, and labelled rows that are independent.
With m judges tested on the same labels each has delta / m.

The same rows may be all that will ever be judged: of `these`, the rows of the table without a label, each p-value is
that of `errors_left_p`. The agreement of a few hundred rows differs by chance from that of rows to come, in the
opposite direction from that of the labels where both make up a small table; so this is the stricter test there, and the
same for large tables. Each threshold has an exact test. Which of them is true of the rest is chance here, so the proof
for the sequence does not carry over; it is measured (`benchmarks/cascade.py`).

Source: fixed sequence testing, Bauer (1991), "Multiple testing in clinical trials", Statistics in Medicine 10(6);
Angelopoulos, Bates, Candes, Jordan and Lei (2021), "Learn then Test", arXiv 2110.01052, section 2; for judges: Jung,
Brahman and Choi (2025), "Trust or Escalate", ICLR, arXiv 2407.18370, section 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from scorer.analysis.cascade_tests import errors_left_p, errors_p, labels_needed
from scorer.analysis.correlation import Floats

SHARES = 20
"""The thresholds keep a twentieth of all rows, two twentieths and so on, as far as confidences differ."""

Bools = NDArray[np.bool_]
Population = Literal["future", "these"]


@dataclass(frozen=True, slots=True)
class Step:
    """One tested threshold: the labelled rows and the others that it keeps, the errors of the labelled, the p-value."""

    threshold: float
    kept: int
    kept_rest: int
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


def calibrate(
    labelled: Floats, right: Bools, rest: Floats, *, alpha: float, delta: float, population: Population = "future"
) -> Calibrated:
    """The loosest threshold that fixed sequence testing passes.

    `labelled` are the confidences of the labelled rows, a random sample, and `right` whether each agrees with people;
    `rest` are the confidences of the other rows of the table, by which thresholds are chosen, too. NaN is no verdict,
    which is never kept. The sequence begins at the first threshold that keeps labels enough to pass with two errors,
    where there are twice as many labels, else without an error: from fewer it could only fail.
    """
    spare = 2 if len(labelled) >= 2 * labels_needed(alpha, delta, 2) else 0

    def p_value(errors: int, kept: int, kept_rest: int) -> float:
        return (
            errors_p(errors, kept, alpha) if population == "future" else errors_left_p(errors, kept, kept_rest, alpha)
        )

    every = np.concatenate([labelled, rest])
    steps: list[Step] = []
    threshold: float | None = None
    for value in thresholds_of(every).tolist():
        keeps = labelled >= value
        kept, kept_rest = int(keeps.sum()), int((rest >= value).sum())
        if p_value(spare, kept, kept_rest) > delta or (population == "these" and not kept_rest):
            continue
        errors = int((keeps & ~right).sum())
        steps.append(Step(value, kept, kept_rest, errors, p_value(errors, kept, kept_rest)))
        if steps[-1].p > delta:
            break
        threshold = value
    share = 0.0 if threshold is None else float((every >= threshold).mean())
    return Calibrated(threshold, share, len(labelled), steps)
