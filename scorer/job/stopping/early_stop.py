"""Judges in the order of rounds, and stops once the question is answered.

A decision uses rounds 1 to t only, t the longest prefix in which each row of each system that is still in question has
a result: quick replies are no random sample. Rows beyond it wait. Rows that have a result already count when the order
reaches them. So the answer depends on the stored results alone, and not on when they came, or on how often a run was
killed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from scorer.analysis.sequential.decision import Decision
from scorer.analysis.sequential.rounds import Rounds
from scorer.config.spec import Stop
from scorer.config.stop_question import Question
from scorer.job.stopping import IN_FLIGHT
from scorer.job.stopping.cells import Cells
from scorer.job.stopping.population import Population
from scorer.output.store import Store
from scorer.output.stored_scores import Scores
from scorer.types import Mask, Work

_GROWTH = 0.1
"""A wave of rows has this share of those in the prefix, so that the input is read few times."""
_AHEAD = 0.1
"""So many rows may be beyond the prefix, as a share of those in it, while a slow row holds it up."""
_PAUSE_S = 0.05


class EarlyStop:
    """One question over one population. `in_flight` is about how many rows are asked at once; `most_rows` ends a pilot.

    `over` once nothing more is to be asked: the question is answered, or all rounds were taken.
    """

    def __init__(
        self,
        stop: Stop,
        question: Question,
        population: Population,
        bounds: tuple[float, float],
        *,
        in_flight: Callable[[], int] = lambda: IN_FLIGHT,
        most_rows: int | None = None,
    ) -> None:
        self.stop, self.question, self.population, self.bounds = stop, question, population, bounds
        future, alone = stop.population == "future", question.kind == "mean"
        self.rounds = Rounds(population.keys, population.task, population.weights, seed=stop.seed, future=future)
        self.cells = Cells(
            population,
            self.rounds,
            bounds,
            unread=None if stop.unread == "bounds" else float(stop.unread),
            fill_missing=stop.missing is not None,
            alone=alone,
        )
        self.unit = (bounds[1] - bounds[0]) * self.cells.most
        """Points of the score in 1 of the decision's scale."""
        self.decision = self.new_decision()
        self.done: Mask = np.zeros(len(population.item), dtype=bool)
        self.on_over: Callable[[], None] = lambda: None
        """Called once, when the question turns out to be answered, or to have no more rows."""
        placed = np.flatnonzero(population.item >= 0)
        of_row = self.rounds.round_of[population.item[placed]]
        by_round = np.argsort(of_row, kind="stable")
        self._rows = placed[by_round]
        self._starts = np.searchsorted(of_row[by_round], np.arange(self.rounds.count + 1))
        self._in_flight = in_flight
        self.limit = self.rounds.count
        if most_rows is not None:
            self.limit = min(self.limit, int(np.searchsorted(self._starts, most_rows)))
        self.rows_in_all = int(self.cells.rows.sum())
        self.rows = self.unread = 0
        """Rows that were decided on, and those of them without a score."""
        self.balanced = 0
        """The number of rounds that all systems have: those before the first one went out."""
        self._handed = 0
        self._missing = 0
        self._needed = self._systems()
        self._advance()

    def new_decision(self) -> Decision:
        """The decision before its first round."""
        stop, alone = self.stop, self.question.kind == "mean"
        return Decision(
            self.question,
            len(self.population.systems) * (len(self.population.tasks) if alone else 1),
            alpha=1 - stop.confidence,
            items=None if stop.population == "future" else self.cells.sizes(),
            margin=stop.margin / self.unit,
            width=(stop.width or 0.0) / self.unit,
            allowed=self.question.allowed / self.unit,
            asymptotic=stop.method == "asymptotic",
        )

    @property
    def taken(self) -> int:
        """The number of rounds in the prefix."""
        return self.decision.taken

    @property
    def over(self) -> bool:
        return not self._needed.any() or self.taken >= self.limit

    def load(self, stored: Iterable[Scores]) -> None:
        """Takes the results that are stored already."""
        for shard, rows, scores in stored:
            places = self.population.first[shard.path] + rows
            for place, score in zip(places.tolist(), scores.tolist(), strict=True):
                self._add(place, score)
        self._advance()

    def finished(self, path: str, row: int, score: float | None) -> None:
        """Takes the result of a row; None is an error."""
        self._add(self.population.first[path] + row, score)
        if not self._missing and not self.over:
            self._advance()

    def _add(self, place: int, score: float | None) -> None:
        item = self.population.item[place]
        if item < 0 or self.done[place]:
            return
        self.done[place] = True
        system = self.population.system[place]
        self.cells.add(item, system, score)
        if self.rounds.round_of[item] == self.taken and self._needed[system]:
            self._missing -= 1

    def _advance(self) -> None:
        """Takes rounds until one has rows without a result."""
        was_over = self.over
        while not self.over:
            self._missing = self.cells.missing(self.taken, self._needed)
            if self._missing:
                return
            items = self.rounds.of(self.taken)
            self.balanced += bool(self._needed.all())
            self.rows += int(self.cells.rows[items][:, self._needed].sum())
            self.unread += int(self.cells.unread[items][:, self._needed].sum())
            self.decision.add(*self.cells.round(self.taken))
            self._needed = self._systems()
        if self.over and not was_over:
            self.on_over()

    def _systems(self) -> Mask:
        """The systems whose next rows are needed."""
        needed = self.decision.needed()
        if self.question.kind == "mean":
            needed = needed.reshape(len(self.population.tasks), -1).sum(axis=0) > 0
        return needed

    # --- which rows to ask: the reader's thread calls it --------------------------------------------------------------

    def work(self, store: Store, lost: Callable[[], bool]) -> Iterator[Work]:
        """The rows to ask, a wave at a time, each wave in the order of the shards.

        It waits while too many rows are beyond the prefix, and ends once nothing more is to be asked, or where rows are
        `lost`, so that the prefix will not grow.
        """
        self._handed = self.taken
        while not self.over and self._handed < self.limit and not lost():
            if self._ahead() > max(2 * self._in_flight(), _AHEAD * self.rows):
                yield pause(self.population)
                continue
            yield from self._wave(store, self.wanted)

    def wave(self, store: Store, wanted: int) -> Iterator[Work]:
        """The next rows beyond the prefix, at least `wanted` without a result, in the order of the shards."""
        self._handed = self.taken
        yield from self._wave(store, wanted)

    @property
    def wanted(self) -> int:
        """How many rows the next wave has."""
        return max(self._in_flight(), int(_GROWTH * self.rows))

    def _ahead(self) -> int:
        """How many rows were handed out beyond the prefix, of systems that are still needed."""
        rows = self._rows[self._starts[self.taken] : self._starts[self._handed]]
        return int(self._needed[self.population.system[rows]].sum())

    def _wave(self, store: Store, wanted: int) -> Iterator[Work]:
        needed, parts, count = self._needed, [], 0
        while count < wanted and self._handed < self.limit:
            rows = self._rows[self._starts[self._handed] : self._starts[self._handed + 1]]
            parts.append(rows[needed[self.population.system[rows]] & ~self.done[rows]])
            count += len(parts[-1])
            self._handed += 1
        found = np.sort(np.concatenate(parts))
        for shard in self.population.shards:
            first = self.population.first[shard.path]
            low, high = np.searchsorted(found, [first, first + shard.rows])
            if low < high:
                mask: Mask = np.zeros(shard.rows, dtype=bool)
                mask[found[low:high] - first] = True
                yield from store.some(shard, mask)


def pause(population: Population) -> Work:
    """A piece of work without rows, which makes its reader wait."""
    shard = min(population.shards, key=lambda shard: shard.rows)
    return Work(shard, np.zeros(shard.rows, dtype=bool), pause_s=_PAUSE_S)
