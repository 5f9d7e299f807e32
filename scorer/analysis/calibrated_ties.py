"""Ties of a score by a threshold: rows whose scores differ by no more count as tied."""

from __future__ import annotations

import math

import numpy as np

from scorer.analysis.correlation import Codes, Floats

CALIBRATION_PAIRS = 4_000_000


def calibrate_ties(x: Floats, y: Floats, group: Codes, *, seed: int = 0) -> tuple[float, Floats]:
    """The smallest threshold of x that maximises the mean accuracy over groups, and each group's accuracy with it.

    Two rows whose x differs by the threshold or less count as tied. The threshold is fitted on the rows it is used on,
    so the accuracy is slightly optimistic, as in the source. Beyond 4,000,000 pairs a seeded sample of each group's
    rows is compared. Groups of one row are NaN.
    Source: Deutsch, Foster and Freitag (2023), arXiv 2305.14324, section 5.
    """
    groups = int(group.max(initial=-1)) + 1
    most = max(2, math.isqrt(2 * CALIBRATION_PAIRS // max(groups, 1)))
    shuffled = np.random.default_rng(seed).permutation(len(x))
    order = shuffled[np.argsort(group[shuffled], kind="stable")]
    rows = np.bincount(group, minlength=groups)
    order = order[np.arange(len(x)) - (np.cumsum(rows) - rows)[group[order]] < most]
    gx, gy, g = x[order], y[order], group[order]
    gaps, gains, owners, agrees = [], [], [], []
    for step in range(1, min(int(rows.max(initial=1)), most)):
        pair = np.flatnonzero(g[step:] == g[:-step])
        dx, dy = gx[pair + step] - gx[pair], gy[pair + step] - gy[pair]
        agree = np.sign(dx) == np.sign(dy)
        gaps.append(np.abs(dx))
        agrees.append(agree)
        gains.append((dy == 0).astype(np.float64) - agree)
        owners.append(g[pair])
    if not gaps:
        return 0.0, np.full(groups, np.nan)
    gap, gain, owner, agree = map(np.concatenate, (gaps, gains, owners, agrees))
    pairs = np.bincount(owner, minlength=groups)
    by_gap = np.argsort(gap, kind="stable")
    so_far = np.cumsum((gain / pairs[owner])[by_gap])
    ends = np.flatnonzero(np.diff(gap[by_gap], append=np.inf) > 0)
    # A hair's breadth of rounding must not buy a wider threshold.
    best = np.flatnonzero(so_far[ends] >= max(so_far[ends].max(), 0.0) - 1e-9)
    threshold = 0.0 if so_far[ends].max() <= 1e-9 else float(gap[by_gap][ends[best[0]]])
    right = agree + np.where(gap <= threshold, gain, 0.0)
    with np.errstate(invalid="ignore"):
        return threshold, np.bincount(owner, right, minlength=groups) / pairs
