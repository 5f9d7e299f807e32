"""The rule of `choose`: the first system in an order of preference that is within a margin of the best one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scorer.analysis.correlation import Codes, Floats


@dataclass(frozen=True, slots=True)
class Cost:
    """What a system costs, or another fact by which it is preferred: `of_task` is tasks x systems, NaN unknown.

    Less is preferred; of a column of booleans, true is.
    """

    name: str
    of_task: Floats
    is_boolean: bool

    def by_system(self, weights: Floats) -> Floats:
        """The weighted mean over tasks; NaN where one of weight above 0 is unknown."""
        used = weights > 0
        return np.asarray(np.tensordot(weights[used], self.of_task[used], axes=1), dtype=np.float64)


def preferred(costs: Sequence[Cost], means: Floats, weights: Floats) -> Codes:
    """The systems in the order of preference: by each cost in turn, then by their mean; an unknown cost comes last."""
    keys = []
    for cost in costs:
        value = cost.by_system(weights)
        value = np.round(value, 12)  # means of equal facts differ by rounding
        keys.append(np.where(np.isnan(value), np.inf, -value if cost.is_boolean else value))
    order = np.lexsort([-np.where(np.isnan(means), -np.inf, means), *reversed(keys)])
    return order.astype(np.int64)


def chosen(at_most: Floats, order: Codes, margin: float) -> int | None:
    """The first system in the order of which the best is ahead by less than the margin; None where none is."""
    return next((int(s) for s in order if at_most[s] < margin), None)


@dataclass(frozen=True, slots=True)
class MarginStep:
    """For margins above `above`, up to `to` (None: any larger one), `system` is the choice."""

    system: int
    above: float
    to: float | None


def by_margin(at_most: Floats, order: Codes) -> list[MarginStep]:
    """The choice at each margin, the smallest margins first. All of it holds together, as the limits do."""
    steps: list[MarginStep] = []
    to: float | None = None
    for s in order.tolist():
        above = max(float(at_most[s]), 0.0)
        if np.isfinite(above) and (to is None or above < to):
            steps.append(MarginStep(s, above, to))
            to = above
    return steps[::-1]


def on_front(costs: Sequence[Floats], means: Floats) -> list[bool]:
    """Which systems no other beats: none is as good or better at the same or less cost, and more in one of the two.

    `costs` are those by which less is preferred. A system without a mean is on no front.
    """
    values = np.stack([*(np.where(np.isnan(c), np.inf, c) for c in costs), -means], axis=1)
    beats = (values[:, None, :] <= values[None, :, :]).all(axis=2) & (values[:, None, :] < values[None, :, :]).any(
        axis=2
    )
    return [bool(ok) for ok in ~beats.any(axis=0) & np.isfinite(means)]
