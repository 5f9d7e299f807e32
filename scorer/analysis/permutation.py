"""Permutation test PERM-BOTH: whether judge A agrees with human values better than judge B."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from scorer.analysis.correlation import Codes, Floats, by_group, defined, pearson_by_group

Statistic = Literal["pearson", "spearman", "kendall", "pairwise_accuracy"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """`difference` is agreement of A less agreement of B; None, as `p`, where one of them is undefined.

    `p` is two-sided: the chance of a difference as large or larger if A and B were interchangeable.
    """

    difference: float | None
    p: float | None


def perm_both(
    a: Floats,
    b: Floats,
    human: Floats,
    *,
    item: Codes | None = None,
    system: Codes | None = None,
    statistic: Statistic = "pearson",
    permutations: int = 1000,
    seed: int = 0,
) -> Verdict:
    """Tests that two scores agree equally well with people; one row for each generation, all three numbers given.

    Both scores are standardised; then, again and again, the two scores of every row change places with probability one
    half. Over all rows as it stands; averaged within items with `item`; over means of systems with `system`, whatever
    `item`. Costs two sorts of the rows for each permutation. The observed order counts as one of them, so `p` is
    never 0.
    Source: Deutsch, Dror and Roth (2021), "A Statistical Analysis of Summarization Evaluation Metrics Using Resampling
    Methods", TACL 9, algorithm 2; counting the observed order: Phipson and Smyth (2010).
    """
    if len(a) == 0 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return Verdict(None, None)
    a, b = (s / np.abs(s).max() for s in (a, b))  # lest squares over- or underflow
    a, b = ((s - s.mean()) / s.std() for s in (a, b))
    group = np.zeros(len(a), dtype=np.int64) if item is None else item
    if system is not None:
        size = np.bincount(system)
        human, group = np.bincount(system, human) / size, np.zeros(len(size), dtype=np.int64)

    def agreement(score: Floats) -> float:
        x = score if system is None else np.bincount(system, score) / size
        if statistic == "pearson":
            values = pearson_by_group(x, human, group)
        else:
            values = getattr(by_group(x, human, group), statistic)
        known = values[np.isfinite(values)]
        return float(known.mean()) if len(known) else float("nan")

    observed = agreement(a) - agreement(b)
    if defined(observed) is None:
        return Verdict(None, None)
    rng = np.random.default_rng(seed)
    beyond = 0
    for _ in range(permutations):
        swap = rng.random(len(a)) < 0.5
        difference = agreement(np.where(swap, b, a)) - agreement(np.where(swap, a, b))
        # Rounding must not turn an equal difference into a smaller one; an undefined one counts against the finding.
        beyond += not abs(difference) < abs(observed) - 1e-12
    return Verdict(observed, (1 + beyond) / (1 + permutations))
