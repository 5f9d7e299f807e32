"""Leases rows to workers: each row has at most one holder until it is published, and none is lost.

Each worker has a stretch of a shard to itself and gets slices of it in order, so that it reads forwards. A worker
without one gets a new shard, or else the back half of the longest stretch of another worker. Small shards come several
at once. Near the end slices get short, so that all workers end together. The unpublished rows of a dead worker become
free again. Knows no files.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from scorer.frozen import dataclass, values
from scorer.types import Work
from scorer.workers.messages import File, Slice

SLICE_ROWS, SHORTEST_SLICE = 512, 8
MOST_SLICES = 64
"""The most slices in a portion, so that none takes long to lease."""
MOST_OFFERED = 1024
"""The most shards that wait for a worker, where there are not more workers: each takes some 500 bytes."""
LONGEST_LOOK = 65_536
"""The most rows that one slice may span, where most of them are done."""
_FREE, _DONE = 0, -1


@dataclass(slots=True, eq=False)
class _Field:
    """The rows of one piece of work: each is free, done, or held by the worker of that number."""

    work: Work
    holder: npt.NDArray[np.int32]
    left: int
    number: int


@dataclass(slots=True, eq=False)
class _Stretch:
    """The free rows among rows `at` to `end` - 1 of a field."""

    field: _Field
    at: int
    end: int


class RowLeases:
    """The unfinished rows of a run. `offer` adds shards; after `close` no more come."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._fields: dict[tuple[str, int], _Field] = {}
        self._new: deque[_Stretch] = deque()
        self._of: dict[int, _Stretch] = {}
        self._new_rows = 0
        self._closed = False
        self.left = 0
        """Rows offered and not published."""

    @property
    def done(self) -> bool:
        """True once no row is left, and none will come."""
        return self._closed and not self.left

    @property
    def wants_shard(self) -> bool:
        """True where the next shard should be offered, so that no worker waits for one."""
        most = self._workers if self._new_rows >= self._workers * SLICE_ROWS else max(self._workers, MOST_OFFERED)
        return not self._closed and len(self._new) < most

    def offer(self, work: Work, number: int) -> None:
        """Takes a piece of work; segments of its shard are numbered from `number` on.

        Rows of a shard that has unfinished work already are added to it; they must be others.
        """
        rows = work.shard.rows
        if (known := self._fields.get((work.shard.path, work.generation))) is not None:
            self._add(known, work)
            return
        holder = np.full(rows, _FREE, dtype=np.int32)
        if work.todo is not None:
            holder[~work.todo] = _DONE
        left = rows if work.todo is None else int(work.todo.sum())
        if left:
            field = _Field(work, holder, left, number)
            self._fields[work.shard.path, work.generation] = field
            self._add_new(_Stretch(field, 0, rows))
            self.left += left

    def _add(self, field: _Field, work: Work) -> None:
        fresh = np.flatnonzero(field.holder == _DONE if work.todo is None else work.todo & (field.holder == _DONE))
        if len(fresh):
            field.holder[fresh] = _FREE
            field.left += len(fresh)
            self.left += len(fresh)
            self._add_new(_Stretch(field, int(fresh[0]), int(fresh[-1]) + 1))

    def _add_new(self, stretch: _Stretch, *, first: bool = False) -> None:
        (self._new.appendleft if first else self._new.append)(stretch)
        self._new_rows += stretch.end - stretch.at

    def close(self) -> None:
        """Says that no further shard comes."""
        self._closed = True

    def portion(self, worker: int) -> list[Slice]:
        """The next slices for this worker, of one shard or of several new small ones; [] as `lease`."""
        portion: list[Slice] = []
        rows = 0
        while (leased := self.lease(worker)) is not None:
            portion.append(leased)
            rows += leased.rows
            if not self._new or rows >= self._wanted or len(portion) == MOST_SLICES:
                break
        return portion

    def lease(self, worker: int) -> Slice | None:
        """The next rows for this worker; None where other workers hold all that are left."""
        while (stretch := self._of.get(worker) or self._stretch(worker)) is not None:
            if (leased := self._cut(stretch, worker)) is not None:
                return leased
            del self._of[worker]
        return None

    def _stretch(self, worker: int) -> _Stretch | None:
        if self._new:
            stretch = self._of[worker] = self._new.popleft()
            self._new_rows -= stretch.end - stretch.at
            return stretch
        longest = max(self._of.values(), key=lambda stretch: stretch.end - stretch.at, default=None)
        if longest is None or longest.end == longest.at:
            return None
        middle = (longest.at + longest.end) // 2
        self._of[worker] = _Stretch(longest.field, middle, longest.end)
        longest.end = middle
        return self._of[worker]

    @property
    def _wanted(self) -> int:
        """The rows of a slice: fewer near the end."""
        if self._new and not self._closed:
            return SLICE_ROWS
        return min(SLICE_ROWS, max(SHORTEST_SLICE, self.left // (4 * self._workers)))

    def _cut(self, stretch: _Stretch, worker: int) -> Slice | None:
        """Leases the first free rows of a stretch, and cuts them off it."""
        field, wanted = stretch.field, self._wanted
        while stretch.at < stretch.end:
            first = stretch.at
            free = field.holder[first : min(stretch.end, first + LONGEST_LOOK)] == _FREE
            numbers = np.flatnonzero(free)[:wanted]
            if not len(numbers):
                stretch.at = first + len(free)
                continue
            stop = first + int(numbers[-1]) + 1
            first += int(numbers[0])
            stretch.at = stop
            part = field.holder[first:stop]
            chosen = part == _FREE
            part[chosen] = worker
            mask = None if chosen.all() else np.packbits(chosen).tobytes()
            shard = File(**values(field.work.shard))
            return Slice(shard, field.work.generation, first, stop, mask, field.number)
        return None

    def published(self, path: str, generation: int, rows: npt.NDArray[np.int64]) -> None:
        """Marks rows as done: they are on disk."""
        field = self._fields.get((path, generation))
        if field is None:
            return
        newly = int((field.holder[rows] != _DONE).sum())
        field.holder[rows] = _DONE
        field.left -= newly
        self.left -= newly
        if not field.left:
            del self._fields[path, generation]

    def give_up(self, path: str) -> None:
        """Leaves out the unpublished rows of a shard that can no longer be read."""
        for key in [key for key in self._fields if key[0] == path]:
            field = self._fields.pop(key)
            self.left -= field.left
            field.holder[:] = _DONE
            field.left = 0

    def holds(self, worker: int) -> list[Work]:
        """The pieces of work of which this worker holds rows."""
        return [field.work for field in self._fields.values() if (field.holder == worker).any()]

    def lost(self, workers: Iterable[int]) -> None:
        """Frees the rows that these workers hold. Call `published` before for what they wrote."""
        for worker in workers:
            if (stretch := self._of.pop(worker, None)) is not None:
                self._add_new(stretch, first=True)
            for field in self._fields.values():
                held = np.flatnonzero(field.holder == worker)
                if len(held):
                    field.holder[held] = _FREE
                    self._add_new(_Stretch(field, int(held[0]), int(held[-1]) + 1), first=True)
