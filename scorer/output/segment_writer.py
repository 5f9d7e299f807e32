"""Writes results as segments, every `flush_rows` rows or `flush_s` seconds.

A segment is the checkpoint: its rows are never scored again. A crash loses the results that are not yet in a segment.
A shard whose results come all in one flush is sealed from them, without a segment. So where most of what is held are
finished shards, the others wait, for `flush_s` at most.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from scorer.errors import TooManyFailed
from scorer.frozen import dataclass
from scorer.output.inventory import Unfinished
from scorer.output.layout import Segment
from scorer.output.result_files import Gathered, ResultFiles
from scorer.output.row_counts import Counts
from scorer.output.run_files import RunFiles
from scorer.output.tables import Made, Measure, size_of
from scorer.output.unfit_rows import UnfitRows
from scorer.processes.event_loop import shielded
from scorer.processes.periodic_service import PeriodicService
from scorer.types import Offload, Result

FLUSH_BYTES = 32 * 1024 * 1024
"""So much text of results is written before there are `flush_rows` of them."""
LANES = 2
"""So many shards are written at once: while one waits for its fsync, the other is encoded."""
BUNCH = 16
"""So many shards are written one after the other by a lane, durable together, before the event loop learns of them."""


@dataclass(frozen=True, slots=True)
class WriterHooks:
    """What a segment writer calls, on the event loop.

    `unfinished` returns the state of a shard by its path. `written` gets each segment once it is on disk, with the
    results in it. `sealed` gets each shard that was sealed without a segment, and its counts, once its file is on disk;
    None: no shard is. `owned` returns once the folder is surely still the run's, and nothing is written before.
    """

    unfinished: Callable[[str], Unfinished]
    written: Callable[[Unfinished, Segment, Sequence[Result]], None]
    sealed: Callable[[Unfinished, Counts], None] | None = None
    owned: Callable[[], Awaitable[None]] | None = None


_Key = tuple[str, int]
"""The path of a shard and a generation."""


class SegmentWriter(PeriodicService):
    """Writes results as segments. `measure` adds the automatic metrics, on the writer's thread.

    `say` gets a sentence for values that no column could hold, on any thread.
    """

    def __init__(
        self,
        run: RunFiles,
        hooks: WriterHooks,
        *,
        offload: Offload,
        flush_rows: int,
        flush_s: float,
        measure: Measure | None,
        say: Callable[[str], None],
    ) -> None:
        super().__init__(flush_s)
        self.counts = Counts()
        """What was added since the start; only rows, scored, errors and copied."""
        self._hooks = hooks
        self._offload = offload
        self._result_files = ResultFiles(run, measure, say, seals=hooks.sealed is not None)
        self._unfit = UnfitRows(self.counts, say)
        self._flush_rows = flush_rows
        self._gathered: dict[_Key, Gathered] = {}
        self._flush_s = flush_s
        self._all_at = float("-inf")  # when all was written last: what is gathered came later
        self._copies: list[Result] = []  # gathered once the rows that they were copied from are in a segment
        self._held = self._held_bytes = 0  # results that are not yet in a segment
        self._look_rows, self._look_bytes = flush_rows, FLUSH_BYTES  # so many of them are a flush, or fill the store
        self.full = False
        """Two flushes' worth of results wait to be written: of rows, or of their bytes."""
        self._room = asyncio.Event()
        self._on_room: list[Callable[[], None]] = []
        self._writing = asyncio.Lock()
        self._costs_written: Callable[[], Awaitable[None]] | None = None

    def write_after(self, costs_written: Callable[[], Awaitable[None]]) -> None:
        """From now on results are written once `costs_written` returned; it is called after the last was added."""
        self._costs_written = costs_written

    def measure_with(self, measure: Measure | None) -> None:
        """From now on `measure` adds the automatic metrics."""
        self._result_files.measure = measure

    @property
    def empty(self) -> bool:
        """True where every result that was added is in a segment."""
        return not (self._gathered or self._copies)

    async def work(self) -> None:
        """Writes gathered results: all after `flush_s`, before that those that are due."""
        now = asyncio.get_running_loop().time()
        if now >= self._all_at + self._flush_s or self._stopped:
            keys = list(self._gathered)
            self._all_at = now
        else:
            keys = self._due_keys()
        self.period_s = self._all_at + self._flush_s - now
        await self._write_owned(keys)

    async def flush(self) -> None:
        """Writes all that was added so far, durable on return; first what a turn under way has taken and must end."""
        await self._write_owned(list(self._gathered))
        while not self.empty:
            await self._write_owned(list(self._gathered))

    def add(self, result: Result) -> None:
        """Takes a result; it is durable once a flush has written it."""
        size = size_of(result)
        if result.copied_from is None:
            self._gather(result, size)
        else:
            self._copies.append(result)
        self._held += 1
        self._held_bytes += size
        self.counts.note(result)
        if self._held >= self._look_rows or self._held_bytes >= self._look_bytes:
            self._look()

    def _gather(self, result: Result, size: int) -> None:
        row = result.row
        gathered = self._gathered.get((row.shard, row.generation))
        if gathered is None:
            gathered = self._gathered[row.shard, row.generation] = Gathered()
        gathered.results.append(result)
        gathered.size += size

    def _look(self) -> None:
        """Begins a flush where one is due, and notes whether the store is full. Until that changes none is needed."""
        if due := self._due:
            self.wake()
        self.full = self._held >= 2 * self._flush_rows or self._held_bytes >= 2 * FLUSH_BYTES
        self._look_rows, self._look_bytes = (1 + due) * self._flush_rows, (1 + due) * FLUSH_BYTES

    @property
    def _due(self) -> bool:
        return self._held >= self._flush_rows or self._held_bytes >= FLUSH_BYTES

    def on_room(self, wake: Callable[[], None]) -> None:
        """`wake()` is called after each segment that was written."""
        self._on_room.append(wake)

    async def room(self) -> None:
        """Returns once it is not `full`."""
        while self.full:
            self._room.clear()
            await self._room.wait()

    def _due_keys(self) -> list[_Key]:
        """What is due before `flush_s`: finished shards where these are half of what is held or more, else all.

        So no more is held than without this choice: the next flush is due at as many rows.
        """
        if not self._due:
            return []
        whole = {
            key: gathered
            for key, gathered in self._gathered.items()
            if not key[1] and len(gathered.results) == self._hooks.unfinished(key[0]).unscored
        }
        rows, size = sum(len(one.results) for one in whole.values()), sum(one.size for one in whole.values())
        if self._copies or 2 * rows < self._held or 2 * size < self._held_bytes:
            return list(self._gathered)
        return list(whole)

    async def _write_owned(self, keys: Sequence[_Key]) -> None:
        """Writes the results of some shards once the folder is surely the run's."""
        if self._hooks.owned is not None:
            await self._hooks.owned()
        await self._write(keys)

    async def _write(self, chosen: Sequence[_Key]) -> None:
        """Writes the results of some shards. One whose write fails keeps its own; the first failure is raised last."""
        async with self._writing:
            self._woken.clear()
            copies = len(self._copies)
            failures: list[Exception] = []
            keys = deque(key for key in chosen if key in self._gathered)

            async def lane() -> None:
                while keys:
                    bunch = [keys.popleft() for _ in range(min(BUNCH, len(keys)))]
                    failures.extend(await shielded(self._flush_bunch(bunch)))

            if (
                len(keys) < LANES or self._result_files.measure is not None
            ):  # metrics have processes of their own, and one queue
                await lane()
            else:
                async with asyncio.TaskGroup() as group:
                    for _ in range(LANES):
                        group.create_task(lane())
            if failures:
                raise failures[0]
            # A copy came after its source, so that is stored by now: no crash leaves one without the other.
            for result in self._copies[:copies]:
                self._gather(result, size_of(result))
            del self._copies[:copies]
            if self._due:  # what came meanwhile has called for a flush, which this one was not
                self.wake()

    async def _flush_bunch(self, keys: Sequence[_Key]) -> list[Exception]:
        """Writes the results of some shards on one thread. Those of a shard that fails stay gathered; the failures."""
        taken = [(self._hooks.unfinished(key[0]), key[1], self._gathered.pop(key)) for key in keys]
        try:
            if self._costs_written is not None:
                await self._costs_written()
            outcomes = await self._offload(self._result_files.write, taken)
        except BaseException as error:
            for key, (_, _, gathered) in zip(keys, taken, strict=True):
                self._keep(key, gathered)
            if isinstance(error, Exception):
                return [error]
            raise
        failures: list[Exception] = []
        for key, (state, _, gathered), outcome in zip(keys, taken, outcomes, strict=True):
            if isinstance(outcome, Exception):
                self._keep(key, gathered)
                failures.append(outcome)
                continue
            try:
                self._note(state, gathered, *outcome)
            except TooManyFailed as error:
                failures.append(error)
        return failures

    def _keep(self, key: _Key, gathered: Gathered) -> None:
        """Results that are not written after all: they are paid for, and it may have passed when the run closes."""
        since = self._gathered.get(key, Gathered())
        self._gathered[key] = Gathered(gathered.results + since.results, gathered.size + since.size)

    def _note(self, state: Unfinished, gathered: Gathered, written: Segment | Counts, parts: list[Made]) -> None:
        """Results that are on disk. Raises TooManyFailed, as `UnfitRows.note`."""
        self._held -= len(gathered.results)
        self._held_bytes -= gathered.size
        self._look()
        stored = [result for part in parts for result in part.results]
        if isinstance(written, Segment):
            self._hooks.written(state, written, stored)
        elif self._hooks.sealed is not None:
            self._hooks.sealed(state, written)
        self._room.set()
        for wake in self._on_room:
            wake()
        unfit = [one for part in parts for one in part.unfit]
        self._unfit.note(gathered.results, stored, unfit, stopped=self._stopped)
