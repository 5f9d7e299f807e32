"""How many examples one learning curve needs fewer than another for the same score: the distance of isotonic curves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scorer.analysis.correlation import Floats

LEVELS = (0.5, 0.8)
"""Where distances are taken, as shares of the range of scores that both curves cover."""


@dataclass(frozen=True, slots=True)
class Saved:
    """At the score `level`, `mix` needs `examples` fewer than `than` (negative: more): steps, as the table counts them.

    Where `than` does not reach the level, `at_least` is True and `examples` counts up to its last step. `low` to `high`
    holds by itself in 95 % of tables; an end is None where the level was not reached in 2.5 % of resamples or more, so
    that the distance may be larger than any that was trained.
    """

    mix: str
    than: str
    level: float
    examples: float
    at_least: bool
    low: float | None
    high: float | None


def rising(means: Floats, weights: Floats) -> Floats:
    """The isotonic fit of each row of `means`, curves x steps: what never falls and is nearest by weighted squares.

    It is the largest over starts of the smallest over ends of the mean of the steps between (Barlow et al. 1972,
    "Statistical Inference under Order Restrictions", theorem 1.4, min-max formula).
    """
    steps = means.shape[1]
    total = np.concatenate([np.zeros((len(means), 1)), np.cumsum(means * weights, axis=1)], axis=1)
    size = np.concatenate([[0.0], np.cumsum(weights)])
    fitted = np.empty_like(means)
    for k in range(steps):
        starts = []
        for i in range(k + 1):
            ends = [(total[:, j + 1] - total[:, i]) / (size[j + 1] - size[i]) for j in range(k, steps)]
            starts.append(np.min(ends, axis=0))
        fitted[:, k] = np.max(starts, axis=0)
    return fitted


def reached(curves: Floats, steps: Floats, level: float) -> Floats:
    """The first step, linear between steps, at which each rising curve has `level`; infinite where it never does."""
    place = (curves < level - 1e-12).sum(axis=1)
    found = np.full(len(curves), np.inf)
    found[place == 0] = steps[0]
    inside = (place > 0) & (place < len(steps))
    rows, k = np.flatnonzero(inside), place[inside]
    low, high = curves[rows, k - 1], curves[rows, k]
    found[rows] = steps[k - 1] + (steps[k] - steps[k - 1]) * (level - low) / (high - low)
    return found


def levels_of(a: Floats, b: Floats) -> list[float]:
    """The scores at which two rising curves are compared: in the range that both cover; [] where there is none."""
    low, high = max(a[0], b[0]), min(a[-1], b[-1])
    return [low + share * (high - low) for share in LEVELS] if high > low else []


def saved(
    names: tuple[str, str],
    steps: tuple[Floats, Floats],
    curves: tuple[Floats, Floats],
    draws: tuple[Floats, Floats],
    levels: Sequence[float],
) -> list[Saved]:
    """The distance at each level, first curve against second; where only the second reaches one, the other way round.

    `curves` are rising, one row each; `draws` are theirs in resamples. A level that neither reaches is left out.
    """
    found = []
    for level in levels:
        at = [float(reached(curve[None], step, level)[0]) for curve, step in zip(curves, steps, strict=True)]
        if not np.isfinite(at).any():
            continue
        a, b = (0, 1) if np.isfinite(at[0]) else (1, 0)
        mine, other = (reached(draws[k], steps[k], level) for k in (a, b))
        last = float(steps[b][-1])
        at_least = not np.isfinite(at[b])
        interval = _interval(mine, other, float(steps[a][-1]), last) if len(mine) else (None, None)
        found.append(Saved(names[a], names[b], level, (last if at_least else at[b]) - at[a], at_least, *interval))
    return found


def _interval(mine: Floats, other: Floats, last_mine: float, last_other: float) -> tuple[float | None, float | None]:
    """The central 95 % of the distances; an end is None where a curve did not reach the level there."""
    known = np.isfinite(mine) | np.isfinite(other)
    distance = np.where(np.isfinite(other), other, last_other) - np.where(np.isfinite(mine), mine, last_mine)
    low, high = np.quantile(distance, [0.025, 0.975]).tolist()
    high_open = float((~np.isfinite(other) & known).mean()) >= 0.025
    low_open = float((~np.isfinite(mine)).mean()) >= 0.025
    return (None if low_open else low), (None if high_open else high)
