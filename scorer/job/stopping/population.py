"""The population that a question is about: which system, item and task each row of the input belongs to.

Reads only the columns that `[stop]` names, once a start. Blocking.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scorer.build.stop_checks import stop_columns
from scorer.config.spec import Stop
from scorer.config.stop_question import Question
from scorer.errors import SpecError
from scorer.files.files import Files
from scorer.frozen import dataclass
from scorer.inputs.pieces import Batch, ReadStalled
from scorer.inputs.source import Columns, Reader
from scorer.types import Mask, Shard

Codes = NDArray[np.int64]
MOST_MISSING = 0.01
"""The largest share of items that a system may lack without `stop.missing`."""


@dataclass(frozen=True, slots=True)
class Population:
    """The rows of all shards, one after another: `first` is the place of a shard's first row, by its path.

    `system` and `item` are codes of each row, -1 where the row is not part of the question. `keys` names the items,
    with their task; `task` is the code of each item's task. `unplaced` rows have no system, item or task.
    """

    shards: Sequence[Shard]
    first: Mapping[str, int]
    systems: Sequence[str]
    tasks: Sequence[str]
    weights: Sequence[float]
    system: Codes
    item: Codes
    keys: Sequence[str]
    task: Codes
    unplaced: int

    @property
    def digest(self) -> str:
        """Changes with the shards, the rows that belong, and the systems and items."""
        parts = [*((shard.stem, shard.footer, shard.rows) for shard in self.shards), self.systems, self.tasks]
        hashed = hashlib.sha256(repr((parts, self.weights, self.unplaced, len(self.keys))).encode())
        hashed.update(np.ascontiguousarray(self.item).tobytes())
        return hashed.hexdigest()[:16]


def population(
    files: Files, shards: Sequence[Shard], belongs: Callable[[Shard], Mask], stop: Stop, question: Question
) -> Population:
    """The population of a question. Raises SpecError where the question names what the input does not have."""
    read = _Read(stop)
    first: dict[str, int] = {}
    total = 0
    for shard in shards:
        first[shard.path] = total
        total += shard.rows
        read.shard(files, shard, belongs(shard))
    system, item = (np.concatenate([np.empty(0, dtype=np.int64), *parts]) for parts in (read.system, read.item))
    systems, tasks = list(read.systems), list(read.tasks)
    wanted = _systems(question, stop, systems)
    codes = np.full(len(systems) + 1, -1, dtype=np.int64)  # the last one is of rows without a system
    for place, name in enumerate(wanted):
        codes[systems.index(name)] = place
    system = codes[system]
    item = np.where(system >= 0, item, -1)
    used, renumbered = np.unique(item[item >= 0], return_inverse=True)
    item[item >= 0] = renumbered
    pairs = list(read.items)
    chosen = [pairs[code] for code in used]
    seen = sorted({task for task, _ in chosen})
    names = [tasks[code] for code in seen]
    found = Population(
        shards=tuple(shards),
        first=first,
        systems=wanted,
        tasks=names,
        weights=_weights(stop, names),
        system=np.where(item >= 0, system, -1),
        item=item,
        keys=[f"{tasks[task]}\0{key}" for task, key in chosen],
        task=np.searchsorted(np.array(seen, dtype=np.int64), np.array([task for task, _ in chosen], dtype=np.int64)),
        unplaced=read.unplaced,
    )
    _check(found, stop, question)
    return found


class _Read:
    """Codes of systems, tasks and items in the order of their first row."""

    def __init__(self, stop: Stop) -> None:
        self._stop = stop
        self.systems: dict[str, int] = {}
        self.tasks: dict[str, int] = {}
        self.items: dict[tuple[int, str], int] = {}
        self.system: list[Codes] = []
        self.item: list[Codes] = []
        self.unplaced = 0

    def shard(self, files: Files, shard: Shard, belongs: Mask) -> None:
        system, item = (np.full(shard.rows, -1, dtype=np.int64) for _ in range(2))
        columns = stop_columns(self._stop)
        if columns:
            reader = Reader(files, Columns(columns, (), ()), count=lambda texts: [0] * len(texts), constant_tokens=0)
            for piece in reader.read_shard(shard, None):
                if isinstance(piece, ReadStalled):
                    time.sleep(piece.pause_s)
                elif isinstance(piece, Batch):
                    bad: dict[int, str] = {}
                    values = {name: piece.rows.values(name, bad, typed=True) for name in columns}
                    self._rows(shard, piece.first, piece.rows.num_rows, values, belongs, system, item)
        else:
            self._rows(shard, 0, shard.rows, {}, belongs, system, item)
        self.unplaced += int((belongs & (system < 0)).sum())
        self.system.append(system)
        self.item.append(item)

    def _rows(
        self,
        shard: Shard,
        first: int,
        count: int,
        values: Mapping[str, Sequence[Any]],
        belongs: Mask,
        system: Codes,
        item: Codes,
    ) -> None:
        stop, alike = self._stop, ("",) * count
        by = values[stop.by] if stop.by is not None else alike
        tasks = values[stop.task] if stop.task is not None else alike
        keys = values[stop.item] if stop.item is not None else [f"{shard.stem}:{first + n}" for n in range(count)]
        for n, (name, task, key) in enumerate(zip(by, tasks, keys, strict=True)):
            if belongs[first + n] and name is not None and task is not None and key is not None:
                system[first + n] = self.systems.setdefault(str(name), len(self.systems))
                in_task = self.tasks.setdefault(str(task), len(self.tasks))
                item[first + n] = self.items.setdefault((in_task, str(key)), len(self.items))


def _systems(question: Question, stop: Stop, found: Sequence[str]) -> list[str]:
    """The systems that the question is about: two of a comparison, else all, by name."""
    if question.kind != "compare":
        return sorted(found)
    if unknown := [name for name in (question.a, question.b) if name not in found]:
        few = ", ".join(sorted(found)[:20]) or "none"
        raise SpecError(
            [f'stop.question = "{question.text}": no row has {stop.by} = "{name}". Found: {few}.' for name in unknown]
        )
    return [question.a, question.b]


def _weights(stop: Stop, tasks: Sequence[str]) -> list[float]:
    if not stop.weights:
        return [1.0] * len(tasks)
    known, given = set(tasks), set(stop.weights)
    problems = [f'stop.weights: no row has {stop.task} = "{name}". Take it out.' for name in sorted(given - known)]
    problems += [f'stop.weights has no weight for the task "{name}". Add one.' for name in sorted(known - given)]
    if problems:
        raise SpecError(problems)
    return [stop.weights[name] for name in tasks]


def _check(found: Population, stop: Stop, question: Question) -> None:
    k, said = len(found.systems), f'stop.question = "{question.text}"'
    if not len(found.keys):
        raise SpecError([f"{said}: no row has a system, an item and a task. See {', '.join(stop_columns(stop))}."])
    if question.kind != "mean" and k <= question.top:
        raise SpecError([f"{said} needs at least {question.top + 1} systems, and {stop.by} has {k}."])
    if stop.missing is not None:
        return
    there = np.zeros((len(found.keys), k), dtype=bool)
    there[found.item[found.item >= 0], found.system[found.item >= 0]] = True
    lacking = 1 - there.mean(axis=0)
    problems = [
        f"{found.systems[place]} lacks {lacking[place]:.1%} of the {len(found.keys):,} items. Add its rows, leave the "
        'items or the system out with input.where, or set stop.missing = "unread".'
        for place in np.flatnonzero(lacking > MOST_MISSING).tolist()
    ]
    if problems:
        raise SpecError(problems)
