"""The alternative annotator test: whether a judge may stand in for one of several people who label the same rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from scorer.analysis.correlation import Codes, Floats

EPSILON = 0.2
"""How much worse than a person a judge may be and still be worth its lower cost, as the paper proposes: .2 for experts,
.15 for skilled people, .1 for crowd workers."""
FEWEST_ITEMS = 30
FALSE_DISCOVERIES = 0.05


@dataclass(frozen=True, slots=True)
class AlternativeAnnotator:
    """The judge against each person.

    `winning_rate` is the share of people whom it may replace (the null hypothesis that it does worse than the person by
    `epsilon` or more is rejected); it `passes` at one half. `advantage` is the chance that it is as close to the others
    as the person is, averaged over people. `wins` are the people it may replace, `items` the fewest that a person has.
    """

    winning_rate: float
    passes: bool
    advantage: float
    wins: Sequence[str]
    people: Sequence[str]
    items: int
    epsilon: float


def alternative_annotator(
    judge: Floats, people: Floats, names: Sequence[str], cluster: Codes, epsilon: float = EPSILON
) -> AlternativeAnnotator | None:
    """The test of a judge by three people or more: `people` is rows x people on the judge's scale, NaN without a label.

    For each person in turn, each row that this person, the judge and someone else labelled: who is closer to the
    others, by the root of the mean squared distance? A tie counts for both. A paired t test, with errors clustered by
    item, compares the shares; p values are adjusted for false discoveries under any dependence. None where a person has
    fewer than 30 items. By hand: a judge that copies one of three people ties with that one in every row.
    Source: Calderon, Reichart and Dror (2025), "The Alternative Annotator Test for LLM-as-a-Judge", arXiv 2501.10970,
    section 3; adjustment: Benjamini and Yekutieli (2001), "The control of the false discovery rate in multiple testing
    under dependency", Annals of Statistics 29(4).
    """
    p_values, advantages, fewest = [], [], len(judge)
    for j in range(people.shape[1]):
        rest = np.delete(people, j, axis=1)
        used = np.isfinite(judge) & np.isfinite(people[:, j]) & np.isfinite(rest).any(axis=1)
        items = len(np.unique(cluster[used]))
        if items < FEWEST_ITEMS:
            return None
        by_judge, by_person = (_distance(x[used], rest[used]) for x in (judge, people[:, j]))
        near = 1e-12 * np.maximum(by_judge, by_person)  # equal distances may differ by rounding
        judge_wins, person_wins = by_judge <= by_person + near, by_person <= by_judge + near
        p_values.append(_worse_by(person_wins.astype(np.float64) - judge_wins, epsilon, cluster[used]))
        advantages.append(float(judge_wins.mean()))
        fewest = min(fewest, items)
    rejected = _discoveries(p_values)
    rate = len(rejected) / len(p_values)
    return AlternativeAnnotator(
        rate, rate >= 0.5, float(np.mean(advantages)), [names[j] for j in rejected], list(names), fewest, epsilon
    )


def _distance(x: Floats, rest: Floats) -> Floats:
    """The root of the mean squared distance to those of the rest who labelled the row."""
    return np.asarray(np.sqrt(np.nanmean((rest - x[:, None]) ** 2, axis=1)), dtype=np.float64)


def _worse_by(difference: Floats, epsilon: float, cluster: Codes) -> float:
    """The p value of the null hypothesis that the mean difference is `epsilon` or more, by t with clustered errors."""
    mean = float(difference.mean())
    sums = np.bincount(cluster, difference - mean)
    items = len(np.unique(cluster))
    error = math.sqrt(float(sums @ sums) * items / (items - 1)) / len(difference)
    if error == 0:
        return 0.0 if mean < epsilon else 1.0
    return _student_below((mean - epsilon) / error, items - 1)


def _student_below(t: float, freedom: int) -> float:
    """P(T < t) of Student's t. Source: Abramowitz and Stegun (1964), equation 26.7.8."""
    z = t * (1 - 1 / (4 * freedom)) / math.sqrt(1 + t * t / (2 * freedom))
    return NormalDist().cdf(z)


def _discoveries(p_values: Sequence[float]) -> list[int]:
    """The hypotheses that are rejected, by their place."""
    m = len(p_values)
    limit = FALSE_DISCOVERIES / (m * sum(1 / k for k in range(1, m + 1)))
    order = sorted(range(m), key=lambda j: p_values[j])
    last = max((rank for rank, j in enumerate(order, start=1) if p_values[j] <= rank * limit), default=0)
    return sorted(order[:last])
