"""How the choice moves with the weights of tasks: the choice at each share of a task, the others kept in proportion.

All limits hold together over all shares of all tasks in 95 % of tables: the critical value is that of the whole scan. A
difference at some weights is a sum over tasks, and so are its draws; each is divided by its own standard error, that
of the table and not of the resample, which keeps the scan quick.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scorer.analysis.best import ONE_SIDED
from scorer.analysis.bootstrap import Resamples
from scorer.analysis.choice_rule import Cost, chosen, preferred
from scorer.analysis.correlation import Floats
from scorer.analysis.simultaneous import widening
from scorer.analysis.system_means import SystemMeans

MOST_CELLS = 2000
"""With more systems times tasks nothing is scanned."""
_FINE, _COARSE, _FEW = 101, 21, 20


@dataclass(frozen=True, slots=True)
class WeightStep:
    """At shares of `task` from `low` to `high` the choice is `system`; None: unknown."""

    task: int
    low: float
    high: float
    system: int | None


class WeightScan:
    """The choice as a function of the weights of tasks.

    `fillings` are the boards by task of the read rows, and with unread rows at each end of the scale. Systems that lack
    a task are left out.
    """

    def __init__(
        self, fillings: Sequence[Sequence[SystemMeans]], costs: Sequence[Cost], drawn: Resamples | None, margin: float
    ) -> None:
        self._sides = [_Side(boards, drawn) for boards in fillings]
        self._costs, self._margin = costs, margin
        self._critical = ONE_SIDED

    def steps(self, base: Floats) -> list[WeightStep]:
        """The choice over the shares of each task. Of two tasks one is scanned: the other has the rest."""
        tasks = range(len(base)) if len(base) > 2 else range(1)
        points = np.linspace(0, 1, _FINE if self._sides[0].systems <= _FEW else _COARSE)
        self._critical = max(
            side.critical([_at(base, t, x) for t in tasks for x in points.tolist()]) for side in self._sides
        )
        return [step for t in tasks for step in self._of_task(base, t, points)]

    def _of_task(self, base: Floats, task: int, points: Floats) -> list[WeightStep]:
        choices = [self._choice(_at(base, task, x)) for x in points.tolist()]
        steps, start = [], 0.0
        for i in range(1, len(points)):
            if choices[i] == choices[i - 1]:
                continue
            low, high = float(points[i - 1]), float(points[i])
            while high - low > 1e-4:
                middle = (low + high) / 2
                same = self._choice(_at(base, task, middle)) == choices[i - 1]
                low, high = (middle, high) if same else (low, middle)
            steps.append(WeightStep(task, start, low, choices[i - 1]))
            start = low
        return [*steps, WeightStep(task, start, 1.0, choices[-1])]

    def _choice(self, weights: Floats) -> int | None:
        at_most = np.max([side.at_most(weights, self._critical) for side in self._sides], axis=0)
        order = preferred(self._costs, self._sides[0].means(weights), weights)
        return chosen(at_most, order, self._margin)


class _Side:
    """The means of systems by task, with their errors and draws."""

    def __init__(self, boards: Sequence[SystemMeans], drawn: Resamples | None) -> None:
        self._means = np.stack([board.means for board in boards])
        self._items = np.stack([board.items for board in boards]).astype(np.float64)
        self._usable = np.isfinite(self._means).all(axis=0) & (np.ptp([b.part for b in boards], axis=1).max() == 0)
        self.systems = int(self._usable.sum())
        influence = np.stack([np.where(self._usable, board.influence, 0.0) for board in boards], axis=1)
        self._has_error = drawn is not None
        flat = influence.reshape(len(influence), -1)
        self._covariance = (flat.T @ flat).reshape(influence.shape[1:] * 2)
        self._draws = np.empty((0, *influence.shape[1:]), dtype=np.float32)
        if drawn is not None:
            moved = drawn.weights.astype(np.float32) @ flat.astype(np.float32)
            self._draws = moved.reshape(-1, *influence.shape[1:])

    def means(self, weights: Floats) -> Floats:
        return np.asarray(weights @ np.where(self._usable, self._means, np.nan), dtype=np.float64)

    def at_most(self, weights: Floats, critical: float) -> Floats:
        """By how much the best system is ahead of each at most; infinite for a system that lacks a task."""
        means = self.means(weights)
        upper = means[:, None] - means[None, :] + critical * self._errors(weights)
        upper[~self._usable] = -np.inf
        np.fill_diagonal(upper, -np.inf)
        upper[:, ~self._usable] = np.inf
        return np.asarray(upper.max(axis=0), dtype=np.float64)

    def critical(self, scan: Sequence[Floats]) -> float:
        """How many standard errors the limits are wide over all these weights, for whichever system is the best."""
        if not len(self._draws) or self.systems < 2:
            return ONE_SIDED
        most = np.full(self._draws.shape[::2], -np.inf, dtype=np.float32)
        for weights in scan:
            moved = np.tensordot(self._draws, weights.astype(np.float32), axes=(1, 0))
            error = self._errors(weights).astype(np.float32)
            np.fill_diagonal(error, np.inf)
            error[:, ~self._usable] = np.inf
            error[error <= 0] = np.inf
            for best in np.flatnonzero(self._usable):
                short = ((moved - moved[:, [best]]) / error[best]).max(axis=1)
                np.maximum(most[:, best], short, out=most[:, best])
        return max(ONE_SIDED, float(np.quantile(most[:, self._usable], 0.95, axis=0).max()))

    def _errors(self, weights: Floats) -> Floats:
        """The standard error of the difference of each two systems, with Student's widening for few items."""
        spread = np.einsum("t,tsur,u->sr", weights, self._covariance, weights)
        own = np.diagonal(spread)
        error = np.sqrt(np.maximum(own[:, None] + own[None, :] - 2 * spread, 0.0))
        if not self._has_error:
            return np.zeros_like(error)
        used = weights > 0
        with np.errstate(divide="ignore"):
            items = 1 / (weights[used, None] ** 2 / self._items[used]).sum(axis=0)
        few = np.maximum(np.round(np.minimum(items[:, None], items[None, :])), 2).astype(np.int64)
        wide = widening(few.ravel()).reshape(few.shape) * np.sqrt(few / (few - 1))
        error = error * wide
        alone = (self._items[used] < 2).any(axis=0)  # one item says nothing of its task's error
        error[alone], error[:, alone] = np.inf, np.inf
        return np.asarray(error, dtype=np.float64)


def _at(base: Floats, task: int, share: float) -> Floats:
    """The weights with this share of a task, the others in their proportion; equal where all of them are 0."""
    others = np.where(np.arange(len(base)) == task, 0.0, base)
    others = others if others.sum() > 0 else np.where(np.arange(len(base)) == task, 0.0, 1.0)
    weights = others / others.sum() * (1 - share)
    weights[task] = share
    return np.asarray(weights, dtype=np.float64)
