"""Correlation of two columns: Pearson, Spearman, Kendall's tau-b and pairwise accuracy, for many groups at once.

Every function takes finite numbers of equal length and costs O(n log n) for all groups together. Inside, an undefined
statistic is NaN so that arrays stay arrays; `defined` makes it None at the border, and no NaN leaves the analysis.
Agreement on labels (kappa, alpha) is in `labels`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from scorer.analysis.pair_table import ROWS_AT_ONCE, Pairs, PairTable

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]

STATISTICS = ("pearson", "spearman", "kendall", "pairwise_accuracy")


@dataclass(frozen=True, slots=True)
class Runs:
    """Equal values within a group: `code` numbers them in order of (group, value), `size` and `first` are by code."""

    code: Codes
    size: Codes
    first: Codes


@dataclass(frozen=True, slots=True)
class Grouped:
    """Each statistic by group, NaN where the group does not define it, and the rows that each group has."""

    rows: Codes
    pearson: Floats
    spearman: Floats
    kendall: Floats
    pairwise_accuracy: Floats


def defined(value: float) -> float | None:
    """The statistic as a float, None where it is undefined."""
    return float(value) if math.isfinite(value) else None


def pearson(x: Floats, y: Floats) -> float | None:
    """Pearson's r; None with fewer than two rows or where a side is constant.

    pearson([1, 2, 3], [1, 2, 4]) = 3 / sqrt(2 * 14 / 3) = .982.
    """
    return defined(pearson_by_group(x, y, _whole(x))[0]) if len(x) else None


def spearman(x: Floats, y: Floats) -> float | None:
    """Pearson's r of the average ranks; None where Pearson's r would be."""
    whole = _whole(x)
    return pearson(midranks(runs(x, whole), whole), midranks(runs(y, whole), whole))


def kendall(x: Floats, y: Floats) -> float | None:
    """Kendall's tau-b = (C - D) / sqrt((pairs not tied in x) (pairs not tied in y)); None where a side is constant.

    kendall([1, 2, 2, 3], [1, 3, 2, 2]): C = 3, D = 1, 5 pairs differ in each side: (3 - 1) / sqrt(5 * 5) = .4.
    Source: Kendall (1945), "The treatment of ties in ranking problems", Biometrika 33(3).
    """
    return defined(by_group(x, y, _whole(x)).kendall[0]) if len(x) else None


def pairwise_accuracy(x: Floats, y: Floats) -> float | None:
    """Share of pairs that both sides order alike, a tie in both included; None with fewer than two rows.

    (C + T_xy) / (C + D + T_x + T_y + T_xy): the four rows above have C = 3, no common tie and 6 pairs: .5.
    Source: Deutsch, Foster and Freitag (2023), "Ties Matter", arXiv 2305.14324, section 4, acc_eq.
    """
    return defined(by_group(x, y, _whole(x)).pairwise_accuracy[0]) if len(x) else None


def by_group(x: Floats, y: Floats, group: Codes) -> Grouped:
    """Every statistic within every group; `group` numbers the groups from 0 and leaves none out."""
    if len(group) > ROWS_AT_ONCE and group.any():
        return _some_at_a_time(x, y, group)
    if len(group) > ROWS_AT_ONCE and (whole := _by_table(x, y)) is not None:
        return whole
    rows = np.bincount(group)
    x_runs, y_runs = runs(x, group), runs(y, group)
    pairs = count_pairs(x_runs, y_runs, group)

    def total(of_row: Codes) -> Floats:
        return np.bincount(group, of_row).astype(np.float64)

    with np.errstate(divide="ignore", invalid="ignore"):
        tau = total(pairs.margin) / np.sqrt(total(pairs.x_differs) * total(pairs.y_differs))
        accuracy = total(pairs.agree) / total(pairs.others)
    return Grouped(
        rows=rows,
        pearson=pearson_by_group(x, y, group),
        spearman=pearson_by_group(midranks(x_runs, group), midranks(y_runs, group), group),
        kendall=np.clip(tau, -1.0, 1.0),
        pairwise_accuracy=accuracy,
    )


def _some_at_a_time(x: Floats, y: Floats, group: Codes) -> Grouped:
    """`by_group` of many rows, some groups at a time: what a row takes meanwhile is more than a hundred bytes."""
    order = np.argsort(group, kind="stable")
    ends = np.cumsum(np.bincount(group))
    found = []
    first = done = 0
    while done < len(ends):
        last = max(done + 1, int(np.searchsorted(ends, first + ROWS_AT_ONCE, side="right")))
        rows = order[first : ends[last - 1]]
        found.append(by_group(x[rows], y[rows], group[rows] - done))
        first, done = int(ends[last - 1]), last
    return Grouped(*(np.concatenate([getattr(one, each.name) for one in found]) for each in fields(Grouped)))


def _by_table(x: Floats, y: Floats) -> Grouped | None:
    """`by_group` of many rows in one group that take few values; None where they take many."""
    table = PairTable.of(x, y)
    if table is None:
        return None
    counts = table.counts.ravel()
    pairs = table.pairs()

    def total(of_cell: Codes) -> float:
        return float(counts @ of_cell.ravel())

    with np.errstate(divide="ignore", invalid="ignore"):
        tau = np.float64(total(pairs.margin)) / np.sqrt(total(pairs.x_differs) * total(pairs.y_differs))
        accuracy = np.float64(total(pairs.agree)) / total(pairs.others)
    first, second = (table.midranks(axis) for axis in (0, 1))
    a, b = (ranks - float(ranks @ size) / len(x) for ranks, size in zip((first, second), table.sizes, strict=True))
    squares = float(a**2 @ table.sizes[0]) * float(b**2 @ table.sizes[1])
    rho = float(np.clip(a @ table.counts @ b / math.sqrt(squares), -1.0, 1.0)) if squares > 0 else math.nan
    return Grouped(
        rows=np.array([len(x)]),
        pearson=pearson_by_group(x, y, _whole(x)),
        spearman=np.array([rho]),
        kendall=np.clip(np.array([tau]), -1.0, 1.0),
        pairwise_accuracy=np.array([accuracy]),
    )


def pearson_by_group(x: Floats, y: Floats, group: Codes) -> Floats:
    """Pearson's r within every group, NaN where it is undefined: by itself much cheaper than `by_group`."""
    if len(group) and not group.any():
        return np.array([_pearson_of_all(x, y)])
    order = np.argsort(group, kind="stable")
    g = group[order]
    starts = np.flatnonzero(np.diff(g, prepend=-1))

    def standing(values: Floats) -> tuple[Floats, NDArray[np.bool_]]:
        """Values about their group's mean and within [-1, 1], lest squares over- or underflow; which are constant."""
        v = values[order]
        constant = np.minimum.reduceat(v, starts) == np.maximum.reduceat(v, starts)
        v = v / _peak(v, starts)[g]
        v = v - (np.add.reduceat(v, starts) / np.diff(starts, append=len(v)))[g]
        return v / _peak(v, starts)[g], constant

    (a, x_constant), (b, y_constant) = standing(x), standing(y)
    xx, yy, xy = (np.add.reduceat(p, starts) for p in (a * a, b * b, a * b))
    with np.errstate(divide="ignore", invalid="ignore"):
        r = np.clip(xy / np.sqrt(xx * yy), -1.0, 1.0)
    return np.where(x_constant | y_constant, np.nan, r)


def _pearson_of_all(x: Floats, y: Floats) -> float:
    """`pearson_by_group` of a single group, which needs no order of the rows."""

    def standing(values: Floats) -> Floats:
        v = values / (np.abs(values).max() or 1.0)
        v -= v.mean()
        v /= np.abs(v).max() or 1.0
        return v

    if (x == x[0]).all() or (y == y[0]).all():
        return math.nan
    a, b = standing(x), standing(y)
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.clip((a @ b) / np.sqrt((a @ a) * (b @ b)), -1.0, 1.0))


def runs(values: Floats, group: Codes) -> Runs:
    """The runs of equal values within each group."""
    several = bool(group.any())
    order = np.lexsort((values, group)) if several else np.argsort(values, kind="stable")
    new = np.ones(len(values), dtype=bool)
    new[1:] = np.diff(values[order]) != 0
    if several:
        new[1:] |= np.diff(group[order]) != 0
    number = np.cumsum(new)
    number -= 1
    code = np.empty(len(values), dtype=np.int64)
    code[order] = number
    first = np.flatnonzero(new)
    return Runs(code, np.diff(first, append=len(values)), first)


def midranks(of: Runs, group: Codes) -> Floats:
    """The average rank of each row among its group, from 1."""
    rows = np.bincount(group)
    ranks: Floats = (of.first + (of.size + 1) / 2)[of.code] - (np.cumsum(rows) - rows)[group]
    return ranks


def count_pairs(x: Runs, y: Runs, group: Codes) -> Pairs:
    """The pairs that each row makes with the others of its group.

    Concordance is counted by descending the bits of y's code, as in a wavelet tree: rows are kept in the order of x
    (ties: the larger y first, so that they never count), and at each bit a 1 is concordant with the 0s before it and
    a 0 with the 1s after it that share the bits above. One pass serves all groups: log2 (distinct y) steps.
    """
    n = len(group)
    rows = np.bincount(group)
    lowest = np.full(len(rows), n, dtype=np.int64)
    np.minimum.at(lowest, group, y.code)
    order = np.lexsort((-y.code, x.code))
    code = (y.code - lowest[group])[order]

    same = np.ones(n, dtype=bool)
    same[1:] = np.diff(x.code[order]) != 0
    same[1:] |= np.diff(y.code[order]) != 0
    cell = np.cumsum(same) - 1
    both = np.empty(n, dtype=np.int64)
    both[order] = np.bincount(cell)[cell]

    concordant = np.zeros(n, dtype=np.int64)
    row = order
    size = rows[group[order]]
    start = (np.cumsum(rows) - rows)[group[order]]
    place = np.arange(n)
    for bit in reversed(range(int(code.max(initial=0)).bit_length())):
        one = (code >> bit) & 1
        before = np.cumsum(one) - one
        ones_before = before - before[start]
        last = start + size - 1
        ones = before[last] + one[last] - before[start]
        zeros_before = place - start - ones_before
        is_one = one.astype(bool)
        concordant[row] += np.where(is_one, zeros_before, ones - ones_before)
        start = np.where(is_one, start + size - ones, start)
        size = np.where(is_one, ones, size - ones)
        to = start + np.where(is_one, ones_before, zeros_before)
        back = np.empty_like(to)
        back[to] = place
        code, row, start, size = code[back], row[back], start[back], size[back]

    n_group = rows[group]
    x_tied, y_tied = x.size[x.code], y.size[y.code]
    neither_tied = n_group - x_tied - y_tied + both
    return Pairs(
        margin=2 * concordant - neither_tied,
        agree=concordant + both - 1,
        x_differs=n_group - x_tied,
        y_differs=n_group - y_tied,
        others=n_group - 1,
    )


def _whole(x: Floats) -> Codes:
    return np.zeros(len(x), dtype=np.int64)


def _peak(values: Floats, starts: NDArray[np.intp]) -> Floats:
    peak = np.maximum.reduceat(np.abs(values), starts)
    return np.where(peak > 0, peak, 1.0)
