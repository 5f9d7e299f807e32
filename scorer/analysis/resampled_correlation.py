"""Correlations of two columns in the resamples of the items (`scorer.analysis.bootstrap` has the sources)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scorer.analysis.bootstrap import Resamples
from scorer.analysis.correlation import Floats, Runs, count_pairs, runs
from scorer.analysis.pair_table import ROWS_AT_ONCE, PairTable

EXACT_ROWS = 1024


def correlations(x: Floats, y: Floats, of: Resamples) -> dict[str, Floats]:
    """Each statistic over all rows, for each resample; NaN where a resample does not define it."""
    table = PairTable.of(x, y) if len(x) > ROWS_AT_ONCE else None
    with np.errstate(divide="ignore", invalid="ignore"):
        if table is not None:
            return _of_table(table, x, y, of)
        whole = np.zeros(len(x), dtype=np.int64)
        x_runs, y_runs = runs(x, whole), runs(y, whole)
        exact = len(x) <= EXACT_ROWS
        tau, accuracy = _pairs_exact(x_runs, y_runs, of) if exact else _pairs_projected(x_runs, y_runs, of)
        return {
            "pearson": _pearson(x, y, of),
            "spearman": _spearman(x_runs, y_runs, of),
            "kendall": tau,
            "pairwise_accuracy": accuracy,
        }


def _of_table(table: PairTable, x: Floats, y: Floats, of: Resamples) -> dict[str, Floats]:
    """`correlations` of many rows with few values: by their cells, what a row adds is looked up."""
    n = len(x)
    pairs = table.pairs()
    kernels = [(k / n).ravel() for k in (pairs.margin, pairs.x_differs, pairs.y_differs, pairs.agree, pairs.others)]
    size_x, size_y = table.sizes
    rank_x, rank_y = (table.midranks(axis) / n - (n + 1) / (2 * n) for axis in (0, 1))
    own_x, own_y = (rank**2 + 2 * _pull(rank * size, n) for rank, size in ((rank_x, size_x), (rank_y, size_y)))
    slope = rank_x[:, None] * rank_y + _pull(table.counts @ rank_y, n)[:, None] + _pull(rank_x @ table.counts, n)
    shape = table.counts.shape
    slopes = [np.broadcast_to(own_x[:, None], shape).ravel(), np.broadcast_to(own_y, shape).ravel(), slope.ravel()]

    def columns(rows: slice) -> list[Floats]:
        cells = table.cells(x[rows], y[rows])
        return [np.ones(len(cells)), *(of_cell[cells] for of_cell in (*kernels, *slopes))]

    weight, *linear = of.sums_in_steps(n, columns)
    counts = table.counts.ravel()
    tau, accuracy = _tau_and_accuracy(linear[:5], [float(counts @ kernel) for kernel in kernels], n, weight)
    xx, yy, xy = (
        of_slope * n / weight - 2 * float(counts @ slope) / 3
        for of_slope, slope in zip(linear[5:], slopes, strict=True)
    )
    return {
        "pearson": _pearson(x, y, of),
        "spearman": ratio(xy, xx, yy, weight),
        "kendall": tau,
        "pairwise_accuracy": accuracy,
    }


def _pull(in_run: NDArray[Any], n: int) -> Floats:
    """What one more copy of a row adds through the others' ranks: values above it less those below, halved.

    `in_run` has the sum of the values in each run of equal rows, and so has the result.
    """
    upto = np.cumsum(in_run)
    above_less_below: Floats = (upto[-1] - upto) - (upto - in_run)
    return above_less_below / (2 * n)


def spearman_draws(x: Floats, y: Floats, of: Resamples) -> Floats:
    """Spearman's correlation over all rows, for each resample; NaN where a resample does not define it."""
    whole = np.zeros(len(x), dtype=np.int64)
    with np.errstate(divide="ignore", invalid="ignore"):
        return _spearman(runs(x, whole), runs(y, whole), of)


def _spearman(x: Runs, y: Runs, of: Resamples) -> Floats:
    return (_spearman_exact if len(x.code) <= EXACT_ROWS else _spearman_projected)(x, y, of)


def _pearson(x: Floats, y: Floats, of: Resamples) -> Floats:
    middle = float(x.mean()), float(y.mean())
    reach = [max(abs(float(v.min()) - m), abs(float(v.max()) - m)) or 1.0 for v, m in zip((x, y), middle, strict=True)]

    def columns(rows: slice) -> list[Floats]:
        a, b = (x[rows] - middle[0]) / reach[0], (y[rows] - middle[1]) / reach[1]
        return [np.ones(len(a)), a, b, a * a, b * b, a * b]

    n, sa, sb, aa, bb, ab = of.sums_in_steps(len(x), columns)
    return ratio(ab - sa * sb / n, aa - sa * sa / n, bb - sb * sb / n, n)


def _spearman_exact(x: Runs, y: Runs, of: Resamples) -> Floats:
    weight = of.weights[:, of.cluster]

    def ranks(by: Runs) -> Floats:
        """Mid-ranks of each resample about their mean: weight below less weight above, halved."""
        in_run = np.add.reduceat(weight[:, np.argsort(by.code, kind="stable")], by.first, axis=1)
        upto = np.cumsum(in_run, axis=1)
        centred: Floats = (upto - (in_run + upto[:, -1:]) / 2)[:, by.code]
        return centred

    rx, ry = ranks(x), ranks(y)
    n = weight.sum(axis=1)
    xy, xx, yy = (np.einsum("bi,bi,bi->b", weight, p, q) / n**2 for p, q in ((rx, ry), (rx, rx), (ry, ry)))
    return ratio(xy, xx, yy, n)


def _spearman_projected(x: Runs, y: Runs, of: Resamples) -> Floats:
    n = len(x.code)
    rank_x, rank_y = ((by.first + (by.size + 1) / 2) / n - (n + 1) / (2 * n) for by in (x, y))

    def pull(in_run: NDArray[Any]) -> Floats:
        return _pull(in_run, n)

    (weight,) = of.sums(np.ones(n))

    def centred(slope: Floats) -> Floats:
        """A covariance of ranks is a sum over triples of rows, so its derivatives sum to three times itself."""
        (linear,) = of.sums(slope)
        return linear * n / weight - 2 * float(slope.sum()) / 3

    xx = centred((rank_x**2 + 2 * pull(rank_x * x.size))[x.code])
    yy = centred((rank_y**2 + 2 * pull(rank_y * y.size))[y.code])
    slope = rank_x[x.code]
    by_y = pull(np.bincount(y.code, slope))
    other = rank_y[y.code]
    slope *= other
    slope += pull(np.bincount(x.code, other))[x.code]
    del other
    slope += by_y[y.code]
    return ratio(centred(slope), xx, yy, weight)


def _pairs_exact(x: Runs, y: Runs, of: Resamples) -> tuple[Floats, Floats]:
    order = np.argsort(of.cluster, kind="stable")
    present, starts = np.unique(of.cluster[order], return_index=True)
    weights = of.weights[:, present].astype(np.float32)

    def sign(by: Runs) -> NDArray[np.int8]:
        code = by.code[order]
        return np.sign(np.subtract.outer(code, code)).astype(np.int8)

    def form(kernel: NDArray[np.int8]) -> Floats:
        """Sum over ordered pairs of rows, for each resample; exact in float32 below 2^24."""
        rows = np.add.reduceat(kernel, starts, axis=0, dtype=np.int32)
        between = np.add.reduceat(rows, starts, axis=1).astype(np.float32)
        total: Floats = np.einsum("bi,bi->b", weights @ between, weights, dtype=np.float64)
        return total

    sx, sy = sign(x), sign(y)
    alike = (sx == sy).astype(np.int8)
    # Copies of one row are no pair: they would always agree.
    np.fill_diagonal(alike, 0)
    others = np.ones_like(alike)
    np.fill_diagonal(others, 0)
    return form(sx * sy) / np.sqrt(form(sx * sx)) / np.sqrt(form(sy * sy)), form(alike) / form(others)


def _pairs_projected(x: Runs, y: Runs, of: Resamples) -> tuple[Floats, Floats]:
    n = len(x.code)
    pairs = count_pairs(x, y, np.zeros(n, dtype=np.int64))
    kernels = [k / n for k in (pairs.margin, pairs.x_differs, pairs.y_differs, pairs.agree, pairs.others)]
    weight, *linear = of.sums(np.ones(n), *kernels)
    return _tau_and_accuracy(linear, [float(kernel.sum()) for kernel in kernels], n, weight)


def _tau_and_accuracy(
    linear: Sequence[Floats], totals: Sequence[float], n: int, weight: Floats
) -> tuple[Floats, Floats]:
    """Kendall's tau and the pairwise accuracy of each resample, by the linear parts of their sums over pairs."""
    margin, x_differs, y_differs, agree, others = (
        2 * drawn * n / weight - total for drawn, total in zip(linear, totals, strict=True)
    )
    tau = margin / np.sqrt(np.where(x_differs > 0, x_differs, np.nan) * np.where(y_differs > 0, y_differs, np.nan))
    return np.clip(tau, -1.0, 1.0), np.clip(agree / others, 0.0, 1.0)


def ratio(xy: Floats, xx: Floats, yy: Floats, n: Floats) -> Floats:
    """xy / sqrt(xx yy); NaN where a variance is no more than rounding error (the columns are scaled to 1)."""
    floor = 1e-12 * n
    r: Floats = np.where((xx > floor) & (yy > floor), np.clip(xy / np.sqrt(xx * yy), -1.0, 1.0), np.nan)
    return r
