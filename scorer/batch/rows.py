"""Which rows of a run are left to score, and which of them each model is still to be asked about.

A byte a row and model is held, and no row. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import field

import numpy as np
import numpy.typing as npt

from scorer.frozen import dataclass
from scorer.types import Mask, Shard, Work

Numbers = npt.NDArray[np.int64]
"""Row numbers of one shard."""
_NONE: Numbers = np.empty(0, dtype=np.int64)


@dataclass(slots=True, eq=False)
class Part:
    """Rows of one shard and generation. `left` have no result; `todo` are, by model, those in no batch of it."""

    shard: Shard
    generation: int
    left: Mask
    todo: dict[str, Mask] = field(default_factory=dict)

    def of(self, rows: Numbers) -> Numbers:
        """Those of some rows of the shard that are left in this part."""
        return rows[self.left[rows]]


class BatchRows:
    """The rows of a start. `models` are the aliases of the models."""

    def __init__(self, models: Sequence[str]) -> None:
        self._models = tuple(models)
        self.parts: list[Part] = []
        self._by_path: dict[str, list[Part]] = {}
        self._excluded: list[Mapping[str, Numbers]] = []
        self._ahead = 0

    def add(self, work: Work, *, ahead: bool = False) -> None:
        """Adds rows that are to be scored; those that are there already stay what they are.

        With `ahead` they are read before all that were added without.
        """
        mask = np.ones(work.shard.rows, dtype=bool) if work.todo is None else work.todo.copy()
        for part in self.of(work.shard.path):
            mask &= ~part.left
        for rows in self._excluded:
            mask[rows.get(work.shard.path, _NONE)] = False
        if mask.any():
            part = Part(work.shard, work.generation, mask, {model: mask.copy() for model in self._models})
            self.parts.insert(self._ahead if ahead else len(self.parts), part)
            self._ahead += ahead
            self._by_path.setdefault(work.shard.path, []).append(part)

    def of(self, path: str) -> list[Part]:
        """The parts of a shard."""
        return self._by_path.get(path, [])

    def drop(self, path: str) -> None:
        """Leaves out a shard that cannot be read."""
        for part in self._by_path.pop(path, []):
            self.parts.remove(part)

    def within(self, rows: Mapping[str, Numbers]) -> Iterator[tuple[Part, Numbers]]:
        """Those of the rows, by shard, that are left, with their part."""
        for path, numbers in rows.items():
            for part in self.of(path):
                if len(found := part.of(numbers)):
                    yield part, found

    def any_left(self, rows: Mapping[str, Numbers]) -> bool:
        """Whether one of the rows has no result."""
        return next(self.within(rows), None) is not None

    def set_todo(self, rows: Mapping[str, Numbers], models: Iterable[str] | None = None, *, to: bool) -> None:
        """Says whether rows that are left are still to be put into a batch of these models; None for all."""
        for part, numbers in self.within(rows):
            for model in self._models if models is None else models:
                part.todo[model][numbers] = to

    def exclude(self, rows: Mapping[str, Numbers]) -> None:
        """Leaves rows out of this start, also those that are added later."""
        self._excluded.append(rows)
        for part, numbers in list(self.within(rows)):
            part.left[numbers] = False
            for mask in part.todo.values():
                mask[numbers] = False

    def finish(self, path: str, row: int) -> None:
        """A row has a result."""
        for part in self.of(path):
            if part.left[row]:
                part.left[row] = False
                for mask in part.todo.values():
                    mask[row] = False

    def todo(self, model: str) -> int:
        """How many rows are still to be put into a batch of a model."""
        return sum(int(part.todo[model].sum()) for part in self.parts)

    @property
    def left(self) -> int:
        """How many rows have no result."""
        return sum(int(part.left.sum()) for part in self.parts)

    def works(self, masks: Iterable[tuple[Part, Mask]]) -> Iterator[Work]:
        """Work for the reader."""
        for part, mask in masks:
            if mask.any():
                yield Work(part.shard, mask.copy(), part.generation)
