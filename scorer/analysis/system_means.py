"""Mean scores of systems in one task or over tasks: adjusted for missing items, resampled, bounded by unread rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scorer.analysis.adjusted import ItemFit
from scorer.analysis.bootstrap import Resamples
from scorer.analysis.correlation import Codes, Floats
from scorer.analysis.ranks import Standing
from scorer.analysis.row_parts import Sums
from scorer.analysis.score_range import Bounds
from scorer.analysis.simultaneous import Contrast, unit


@dataclass(frozen=True, slots=True)
class SystemMeans:
    """Means of systems in one task or over all; `draws` are resampled means, `adjusted`: `means` are not raw."""

    means: Floats
    raw: Floats
    draws: Floats
    influence: Floats
    items: Codes
    part: Codes
    ends: tuple[Floats, Floats]
    rows: Codes
    unread: Codes
    span: float
    adjusted: bool

    def standing(self) -> Standing:
        return Standing(self.means, self.influence, self.items, self.part, self.span, self.ends)

    def difference(self, a: int, b: int) -> Contrast:
        """The mean of system `a` less that of `b`; both have one."""
        m = int(min(self.items[a], self.items[b]))
        influence = self.influence[:, a] - self.influence[:, b]
        error = math.sqrt(float(influence @ influence) * m / (m - 1)) if m > 1 else math.nan
        return Contrast(float(self.means[a] - self.means[b]), error, m, unit(influence))


def system_means(sums: Sums, fit: ItemFit | None, drawn: Resamples | None, scale: Bounds) -> SystemMeans:
    """The means in one task; of unread rows `scale` has the ends. Without `fit` nothing is adjusted for items."""
    total, count = sums.total.sum(axis=0), sums.count.sum(axis=0)
    systems = len(total)
    low, high = scale.low, scale.high
    with np.errstate(divide="ignore", invalid="ignore"):
        raw = total / count
        draws = np.empty((0, systems)) if drawn is None else (drawn.weights @ sums.total) / (drawn.weights @ sums.count)
        at = [(total + end * sums.unread) / (count + sums.unread) for end in (low, high)]
    span = high - low or (1.0 if high in (0.0, 1.0) else 0.0)  # ones alone may be shares
    part = np.where(np.isfinite(raw), 0, -1)
    means, influence = raw, np.empty((0, systems))
    if drawn is not None:
        influence = (sums.total - np.where(count > 0, raw, 0.0) * sums.count) / np.maximum(count, 1)
    if fit is not None and fit.adjusted is not None:
        means, part, influence = fit.adjusted.means, fit.adjusted.part, fit.adjusted.influence
        if drawn is not None:
            draws = means + drawn.weights @ influence
    if fit is not None and fit.ends is not None:
        at = list(fit.ends)
    ends = (np.where(np.isfinite(means), at[0], np.nan), np.where(np.isfinite(means), at[1], np.nan))
    items = np.zeros(systems, dtype=np.int64)
    if drawn is not None:
        items = np.minimum(np.count_nonzero(sums.count, axis=0), drawn.items)
    return SystemMeans(
        means=means,
        raw=raw,
        draws=draws,
        influence=influence,
        items=items,
        part=part,
        ends=ends,
        rows=count.astype(np.int64),
        unread=sums.unread,
        span=span,
        adjusted=fit is not None and fit.adjusted is not None,
    )


def mean_over_tasks(boards: Sequence[SystemMeans], weights: Floats | None = None) -> SystemMeans:
    """The mean over tasks, by these weights, which add up to 1; without them each task counts alike.

    A task of weight 0 takes no part. Systems are of one part where they are so in every task. The number of items is
    that of equal items on which a mean of this error would rest: few, where one task of few items weighs much.
    """
    given = np.full(len(boards), 1 / len(boards)) if weights is None else weights
    kept, w = [board for board, weight in zip(boards, given, strict=True) if weight > 0], given[given > 0]
    parts = np.stack([board.part for board in kept], axis=1)

    def mean(values: Sequence[Floats]) -> Floats:
        return np.asarray(np.tensordot(w, np.stack(values), axes=1), dtype=np.float64)

    items = np.stack([board.items for board in kept])
    with np.errstate(divide="ignore"):
        equal = 1 / (w[:, None] ** 2 / items).sum(axis=0)
    equal = np.where(
        (items < 2).any(axis=0), np.minimum(equal, 1.0), equal
    )  # one item says nothing of its task's error
    clusters = kept[0].influence.shape[0]
    return SystemMeans(
        means=mean([board.means for board in kept]),
        raw=mean([board.raw for board in kept]),
        draws=mean([board.draws for board in kept]),
        influence=mean([board.influence for board in kept]),
        items=np.minimum(np.round(equal), clusters).astype(np.int64),
        part=np.unique(parts, axis=0, return_inverse=True)[1].reshape(-1),
        ends=(mean([board.ends[0] for board in kept]), mean([board.ends[1] for board in kept])),
        rows=np.sum([board.rows for board in boards], axis=0),
        unread=np.sum([board.unread for board in boards], axis=0),
        span=max(board.span for board in kept),
        adjusted=any(board.adjusted for board in kept),
    )
