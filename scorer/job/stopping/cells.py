"""The scores of each item and system so far, as the range that each can still lie in."""

from __future__ import annotations

import numpy as np

from scorer.analysis.sequential.bets import Floats
from scorer.analysis.sequential.rounds import Rounds
from scorer.errors import SpecError
from scorer.job.stopping.population import Codes, Population
from scorer.types import Mask


class Cells:
    """Items x systems. Scores are scaled to [0, 1] by `bounds`.

    A row with an error has the score `unread`; with None it may have any.
    `alone`: each task and system is a series of its own, in the order of tasks; else a system's series is the weighted
    sum over its tasks.
    """

    def __init__(
        self,
        population: Population,
        rounds: Rounds,
        bounds: tuple[float, float],
        *,
        unread: float | None,
        fill_missing: bool,
        alone: bool,
    ) -> None:
        shape = (len(population.keys), len(population.systems))
        self._population, self._rounds, self._bounds, self._unread = population, rounds, bounds, unread
        self._fill, self._alone = fill_missing, alone
        placed = np.flatnonzero(population.item >= 0)
        self.rows = np.zeros(shape, dtype=np.int64)
        np.add.at(self.rows, (population.item[placed], population.system[placed]), 1)
        self.left = self.rows.copy()
        """Rows without a result."""
        self.unread = np.zeros(shape, dtype=np.int64)
        self._low, self._high = np.zeros(shape), np.zeros(shape)
        self.most = rounds.most_of_a_task if alone else rounds.most
        """The largest value of a round, before it is scaled to [0, 1]."""

    def add(self, item: int, system: int, score: float | None) -> None:
        """The result of one more row. Raises SpecError where a score is outside the bounds."""
        lowest, highest = self._bounds
        low, high = 0.0, 1.0
        if score is None or score != score:
            self.unread[item, system] += 1
            if self._unread is not None:
                low = high = (self._unread - lowest) / (highest - lowest)
        else:
            low = high = (score - lowest) / (highest - lowest)
            if not -1e-9 <= low <= 1 + 1e-9:
                raise SpecError(
                    [
                        f"A row has the score {score:g}, which is outside of {lowest:g} to {highest:g}, the bounds "
                        "that [stop] counts with. Set stop.bounds = [lowest, highest]."
                    ]
                )
        self._low[item, system] += low
        self._high[item, system] += high
        self.left[item, system] -= 1

    def round(self, number: int) -> tuple[Floats, Floats]:
        """The least and the greatest value of each series in a round, in [0, 1]; NaN where it lacks an item."""
        items = self._rounds.of(number)
        rows = self.rows[items].astype(np.float64)
        with np.errstate(invalid="ignore"):
            low, high = self._low[items] / rows, self._high[items] / rows
        if self._fill:
            low, high = np.where(rows == 0, 0.0, low), np.where(rows == 0, 1.0, high)
        if not self._alone:
            factors = self._rounds.factors[items] / self.most
            return factors @ low, factors @ high
        factors = (self._rounds.own_factors[items] / self.most)[:, None]
        series: list[list[Floats]] = [[], []]
        for code in range(len(self._population.tasks)):
            own = self._rounds.task[items] == code
            for kept, side in zip(series, (low, high), strict=True):
                kept.append((factors[own] * side[own]).sum(axis=0))
        return np.concatenate(series[0]), np.concatenate(series[1])

    def sizes(self) -> Codes:
        """The rounds that each two systems both have, systems x systems; for series of their own, of each series."""
        count, tasks = self._rounds.count, len(self._population.tasks)
        lacking = (self.rows == 0) & (not self._fill)
        if self._alone:
            size = np.full((tasks, self.rows.shape[1]), count)
            for code in range(tasks):
                items = np.flatnonzero(self._rounds.task == code)
                gone = np.zeros((count, self.rows.shape[1]), dtype=bool)
                np.logical_or.at(gone, self._rounds.round_of[items], lacking[items])
                size[code] = (~gone).sum(axis=0)
            return size.ravel()
        gone = np.zeros((count, self.rows.shape[1]), dtype=bool)
        np.logical_or.at(gone, self._rounds.round_of, lacking)
        there: Codes = (~gone).astype(np.int64)
        return there.T @ there

    def missing(self, number: int, systems: Mask) -> int:
        """How many rows of these systems have no result yet in a round."""
        return int(self.left[self._rounds.of(number)][:, systems].sum())
