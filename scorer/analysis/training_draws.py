"""Mean scores of the points of learning curves, and their resamples over items and training seeds."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scorer.analysis.adjusted import adjust, has_holes
from scorer.analysis.bootstrap import Resamples, means_by_group, student
from scorer.analysis.correlation import Codes, Floats
from scorer.analysis.simultaneous import Z


@dataclass(frozen=True, slots=True)
class Points:
    """The mean of each point (a mix at a step), NaN without a read row, and resamples x points; empty without any.

    `rows` are those read, `unread` the others. `ends` are the means with every unread row at the lowest and the highest
    score.
    """

    means: Floats
    draws: Floats
    rows: Codes
    unread: Codes
    ends: tuple[Floats, Floats]


def points_of(
    values: Floats,
    point: Codes,
    points: int,
    item: Codes | None,
    training: Codes | None,
    drawn: Resamples | None,
    scale: tuple[float, float],
    seed: int = 0,
) -> Points:
    """The means, adjusted for items where some point lacks some, with the error over items and over trainings.

    `training` numbers what was trained by itself, a mix with a seed: trainings of a mix are drawn with replacement, and
    what each adds to the error is added to that of the items, to first order. With one training of a mix the seed adds
    nothing: its variance cannot be known.
    Source: Owen (2007), "The pigeonhole bootstrap", Annals of Applied Statistics 1(2): the variance of a mean over two
    crossed factors is the sum of both, but for their interaction, which the items' part holds. Of S trainings the noise
    is widened by sqrt(S / (S - 1)) and by Student's t of S - 1 degrees of freedom, which a bootstrap of few ignores.
    """
    read = np.isfinite(values)
    rows = np.bincount(point[read], minlength=points)
    means, draws = means_by_group(values, point, points, drawn)
    if item is not None and has_holes(values, point, item):
        fit = adjust(values, point, points, item, drawn)
        means = fit.means
        draws = means + drawn.weights @ fit.influence if drawn is not None else draws
    ends = []
    for end in scale:
        filled = np.where(read, values, end)
        if item is not None and has_holes(filled, point, item):
            ends.append(adjust(filled, point, points, item, None).means)
        else:
            ends.append(means_by_group(filled, point, points, None)[0])
    if training is not None and drawn is not None:
        draws = draws + _seed_noise(values, point, points, training, len(draws), seed)
    return Points(means, draws, rows, np.bincount(point[~read], minlength=points), (ends[0], ends[1]))


def _seed_noise(values: Floats, point: Codes, points: int, training: Codes, resamples: int, seed: int) -> Floats:
    """What drawing trainings with replacement adds to each mean: resamples x points."""
    read = np.isfinite(values)
    trainings = int(training.max(initial=0)) + 1
    cell = training[read] * points + point[read]
    count = np.bincount(cell, minlength=trainings * points).reshape(trainings, points)
    total = np.bincount(cell, values[read], minlength=trainings * points).reshape(trainings, points)
    each = np.maximum(count.sum(axis=0), 1)
    mean = total.sum(axis=0) / each
    influence = (total - count * mean) / each
    rng = np.random.default_rng(seed + 1)
    noise = np.zeros((resamples, points))
    # A training belongs to the points that it has rows of: those of its mix.
    mixes: dict[bytes, list[int]] = {}
    for one in range(trainings):
        if count[one].any():
            mixes.setdefault(_mix_of(count, one).tobytes(), []).append(one)
    for members in mixes.values():
        s = len(members)
        if s > 1:
            weights = rng.multinomial(s, [1 / s] * s, size=resamples) - 1.0
            noise += math.sqrt(s / (s - 1)) * student(0.975, s - 1) / Z * weights @ influence[members]
    return noise


def _mix_of(count: Codes, one: int) -> Codes:
    """The points that are linked to those of a training by trainings that share points: the points of its mix."""
    linked: NDArray[np.bool_] = count[one] > 0
    while True:
        grown = linked | (count[(count[:, linked] > 0).any(axis=1)] > 0).any(axis=0)
        if np.array_equal(grown, linked):
            found: Codes = linked.astype(np.int64)
            return found
        linked = grown
