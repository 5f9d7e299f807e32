"""How far each system may be behind the best one: multiple comparisons with the best, by a studentised max-t bootstrap.

A system s is called "not worse than the best by more than a margin" where the upper limit of m[j] - m[s] is below the
margin for every other system j. That is false only if the limit of m[b] - m[s] fails for a best system b, so only the
k - 1 pairs with b count, and not all k (k - 1) / 2. Which system is b is not known: the critical value is the largest
of those for each system in its place.

Source: Hsu (1984), "Constrained simultaneous confidence intervals for multiple comparisons with the best", Annals of
Statistics 12(3); the critical value by resampling: Romano and Wolf (2005), Econometrica 73(4), one-sided.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from scorer.analysis.bootstrap import Resamples, student
from scorer.analysis.correlation import Codes, Floats
from scorer.analysis.ranks import Standing
from scorer.analysis.sample_size import items_for
from scorer.analysis.simultaneous import CHUNK, studentised, unknown_beyond, widening

ONE_SIDED = NormalDist().inv_cdf(0.95)


@dataclass(frozen=True, slots=True)
class Behind:
    """Systems x systems: `gap[j, s]` is m[j] - m[s], and `half[j, s]` what is added to it for its upper 95 % limit.

    Infinite where two systems cannot be compared: one has no mean, they share no items, or they rest on one item.
    `half` is 0 without resamples. The diagonal is 0 in both.
    """

    gap: Floats
    half: Floats

    def at_most(self) -> Floats:
        """By how much the best system is ahead of each at most, all limits together in 95 % of tables.

        Below 0 for a system that is surely the best, by how much; infinite where it cannot be compared with some other,
        and -infinite for a single system.
        """
        upper = self.gap + self.half
        np.fill_diagonal(upper, -np.inf)
        return np.asarray(upper.max(axis=0, initial=-np.inf), dtype=np.float64)


def behind_best(board: Standing, drawn: Resamples | None) -> Behind:
    """The gaps between the systems of a board and their one-sided limits, which hold for all pairs with a best one."""
    k = len(board.means)
    known = np.isfinite(board.means)
    alike = known[:, None] & known[None, :] & (board.part[:, None] == board.part[None, :])
    means = np.where(known, board.means, 0.0)
    gap = np.where(alike, means[:, None] - means[None, :], np.inf)
    half = np.where(alike, 0.0, np.inf)
    if drawn is not None:
        critical = critical_with_best(board, drawn)
        for j, s in zip(*np.nonzero(np.triu(alike, 1)), strict=True):
            half[j, s] = half[s, j] = _half(board, int(j), int(s), critical)
    np.fill_diagonal(gap, 0.0)
    np.fill_diagonal(half, 0.0)
    assert gap.shape == (k, k)
    return Behind(gap, half)


def _half(board: Standing, j: int, s: int, critical: float) -> float:
    m = min(int(board.items[j]), int(board.items[s]))
    if m < 2:
        return float("inf")
    influence = board.influence[:, j] - board.influence[:, s]
    error = float(np.sqrt(influence @ influence * m / (m - 1)))
    if error <= 1e-12 * max(abs(board.means[j]), abs(board.means[s])):
        return unknown_beyond(m, board.span, critical)
    return critical * float(widening(np.array([m]))[0]) * error


def critical_with_best(board: Standing, drawn: Resamples) -> float:
    """How many standard errors the one-sided limits of all pairs with a best system are wide, before `widening`.

    At least 1.645, as for a single pair.
    """
    known = np.flatnonzero(np.isfinite(board.means))
    first, second = (known[index] for index in np.triu_indices(len(known), 1))
    together = board.part[first] == board.part[second]
    first, second = first[together], second[together]
    weights = drawn.weights.astype(np.float32)
    # By system in the place of the best: the largest shortfall of a difference below its value in each resample.
    most = np.full((len(drawn.weights), len(board.means)), -np.inf)
    for start in range(0, len(first), CHUNK):
        a, b = first[start : start + CHUNK], second[start : start + CHUNK]
        items = np.minimum(board.items[a], board.items[b])
        t, usable = studentised(weights, board.influence[:, a] - board.influence[:, b], items)
        for column, (i, j) in enumerate(zip(a[usable], b[usable], strict=True)):
            np.maximum(most[:, i], -t[:, column], out=most[:, i])
            np.maximum(most[:, j], t[:, column], out=most[:, j])
    varied = most[:, np.isfinite(most).all(axis=0)]
    return max(ONE_SIDED, float(np.quantile(varied, 0.95, axis=0).max(initial=0.0)))


def items_needed(behind: Behind, items: Codes, margin: float) -> dict[int, int]:
    """How many items would show a system less than the margin behind the best in 80 % of tables, by its number.

    `items` are those that each rests on now. Systems that do not seem to be within the margin are left out.
    """
    found = {}
    for s in range(len(items)):
        others = [j for j in range(len(items)) if j != s and math.isfinite(behind.gap[j, s])]
        counts = [
            items_for(float(min(items[j], items[s])), float(behind.half[j, s]), margin - behind.gap[j, s], ONE_SIDED)
            for j in others
        ]
        known = [count for count in counts if count is not None]
        if others and len(known) == len(counts):
            found[s] = max(known)
    return found


def behind_best_of_draws(values: Floats, draws: Sequence[Floats], items: int) -> Behind:
    """`behind_best` of statistics that are no sums over items, by their draws in resamples of so many items.

    The standard error of a difference is that of its draws. Infinite where a value is undefined, or so in half of the
    resamples, or where no resamples are.
    """
    k = len(values)
    gap, half, error = (np.full((k, k), np.inf) for _ in range(3))
    moved: dict[tuple[int, int], Floats] = {}
    for j in range(k):
        for s in range(k):
            difference = draws[j] - draws[s]
            known = np.isfinite(difference)
            if not np.isfinite(values[[j, s]]).all():
                continue
            gap[j, s] = values[j] - values[s]
            if j != s and items > 1 and 2 * known.sum() > len(difference):
                error[j, s] = float(difference[known].std())
                if error[j, s] > 0:
                    short = (difference[known].mean() - difference) / error[j, s]
                    moved[j, s] = np.where(known, short, -np.inf)
    critical = ONE_SIDED
    for best in range(k):
        if mine := [short for (j, _), short in moved.items() if j == best]:
            critical = max(critical, float(np.quantile(np.max(mine, axis=0), 0.95)))
    if items > 1:
        half = critical * student(0.95, items - 1) / ONE_SIDED * math.sqrt(items / (items - 1)) * error
    np.fill_diagonal(gap, 0.0)
    np.fill_diagonal(half, 0.0)
    return Behind(gap, half)
