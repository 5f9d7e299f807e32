"""Writes results as segments, every `flush_rows` rows or `flush_s` seconds.

A segment is the checkpoint: its rows are never scored again. A crash loses the results that are not yet in a segment.
A shard whose results come all in one flush is sealed from them, without a segment. So where most of what is held are
finished shards, the others wait, for `flush_s` at most.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import field
from functools import partial

from scorer.errors import TooManyFailed
from scorer.frozen import dataclass
from scorer.output import segments as seg
from scorer.output.inventory import Unfinished
from scorer.output.layout import Segment
from scorer.output.run_files import RunFiles
from scorer.output.seal import seal_results
from scorer.output.tables import PIECE_BYTES, Made, Measure, UnfitValue, made, made_at_once, pieces, size_of
from scorer.processes.event_loop import shielded
from scorer.processes.periodic_service import PeriodicService
from scorer.types import Offload, Result

FLUSH_BYTES = 32 * 1024 * 1024
"""So much text of results is written before there are `flush_rows` of them."""
LANES = 2
"""So many shards are written at once: while one waits for its fsync, the other is encoded."""
BUNCH = 16
"""So many shards are written one after the other by a lane, durable together, before the event loop learns of them."""
UNFIT = 200
"""A run is stopped whose first so many rows all hold what their columns cannot."""


@dataclass(frozen=True, slots=True)
class WriterHooks:
    """What a segment writer calls, on the event loop.

    `unfinished` returns the state of a shard by its path. `written` gets each segment once it is on disk, with the
    results in it. `sealed` gets each shard that was sealed without a segment, and its counts, once its file is on disk;
    None: no shard is. `owned` returns once the folder is surely still the run's, and nothing is written before.
    """

    unfinished: Callable[[str], Unfinished]
    written: Callable[[Unfinished, Segment, Sequence[Result]], None]
    sealed: Callable[[Unfinished, seg.Counts], None] | None = None
    owned: Callable[[], Awaitable[None]] | None = None


_Taken = tuple[Unfinished, int, "_Gathered"]
"""The results of a shard that are written now, and their generation."""
_Key = tuple[str, int]
"""The path of a shard and a generation."""
_Published = tuple[Segment | seg.Counts, list[Made]]
"""The segment that was written, or the counts of the sealed file; and its tables."""


@dataclass(slots=True)
class _Gathered:
    """Results of one shard and generation that are not yet in a segment, and their size in bytes."""

    results: list[Result] = field(default_factory=list)
    size: int = 0


class SegmentWriter(PeriodicService):
    """Writes results as segments. `measure` adds the automatic metrics, on the writer's thread; it may be set later.

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
        self.counts = seg.Counts()
        """What was added since the start; only rows, scored, errors and copied."""
        self._run = run
        self._judge = run.judge or run.fingerprint
        self._hooks = hooks
        self._offload = offload
        self._flush_rows = flush_rows
        self.measure = measure
        self._say = say
        self._gathered: dict[tuple[str, int], _Gathered] = {}
        self._flush_s = flush_s
        self._all_at = float("-inf")  # when all was written last: what is gathered came later
        self._copies: list[Result] = []  # gathered once the rows that they were copied from are in a segment
        self._held = self._held_bytes = 0  # results that are not yet in a segment
        self.full = False
        """Two flushes' worth of results wait to be written: of rows, or of their bytes."""
        self._room = asyncio.Event()
        self._on_room: list[Callable[[], None]] = []
        self._reported: set[str] = set()  # failures of metrics, and columns, that were reported
        self._fitted = False  # some row was stored as given
        self._unfit = 0  # rows with an error because a column could not hold a value
        self._writing = asyncio.Lock()

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
        if self._held >= self._flush_rows or self._held_bytes >= FLUSH_BYTES:
            self.wake()
            self._note_full()

    def _gather(self, result: Result, size: int) -> None:
        row = result.row
        gathered = self._gathered.get((row.shard, row.generation))
        if gathered is None:
            gathered = self._gathered[row.shard, row.generation] = _Gathered()
        gathered.results.append(result)
        gathered.size += size

    def _note_full(self) -> None:
        self.full = self._held >= 2 * self._flush_rows or self._held_bytes >= 2 * FLUSH_BYTES

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

            if len(keys) < LANES or self.measure is not None:  # metrics have processes of their own, and one queue
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
            if copies and self._due:
                self.wake()

    async def _flush_bunch(self, keys: Sequence[_Key]) -> list[Exception]:
        """Writes the results of some shards on one thread. Those of a shard that fails stay gathered; the failures."""
        taken = [(self._hooks.unfinished(key[0]), key[1], self._gathered.pop(key)) for key in keys]
        try:
            outcomes = await self._offload(self._publish_all, taken)
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

    def _keep(self, key: _Key, gathered: _Gathered) -> None:
        """Results that are not written after all: they are paid for, and it may have passed when the run closes."""
        since = self._gathered.get(key, _Gathered())
        self._gathered[key] = _Gathered(gathered.results + since.results, gathered.size + since.size)

    def _note(self, state: Unfinished, gathered: _Gathered, written: Segment | seg.Counts, parts: list[Made]) -> None:
        """Results that are on disk. Raises TooManyFailed, as `_note_unfit`."""
        self._held -= len(gathered.results)
        self._held_bytes -= gathered.size
        self._note_full()
        stored = [result for part in parts for result in part.results]
        if isinstance(written, Segment):
            self._hooks.written(state, written, stored)
        elif self._hooks.sealed is not None:
            self._hooks.sealed(state, written)
        self._room.set()
        for wake in self._on_room:
            wake()
        self._note_unfit(gathered.results, stored, [one for part in parts for one in part.unfit])

    def _publish_all(self, taken: Sequence[_Taken]) -> list[_Published | Exception]:
        outcomes: list[_Published | Exception] = []
        with self._run.files.together():
            for one, parts in zip(taken, self._made(taken), strict=True):
                try:
                    outcomes.append(self._publish(*one, parts))
                except Exception as error:  # noqa: BLE001 - raised by `flush`: what fails for one shard costs no other
                    outcomes.append(error)
        return outcomes

    def _made(self, taken: Sequence[_Taken]) -> Iterator[Callable[[], list[Made]]]:
        """What makes the tables of each shard's results; those of several small shards are made at once."""
        states = [state for state, _, _ in taken]
        at_once: list[Made] | None = None
        if len(taken) > 1 and self.measure is None and all(one.schema.equals(states[0].schema) for one in states):
            at_once = made_at_once([gathered.results for _, _, gathered in taken], states[0].schema, self._judge)
        for place, (state, _, gathered) in enumerate(taken):
            yield partial(self._parts, state, gathered) if at_once is None else partial(list, [at_once[place]])

    def _parts(self, state: Unfinished, gathered: _Gathered) -> list[Made]:
        cut = [gathered.results] if gathered.size <= PIECE_BYTES else pieces(gathered.results)
        return [made(piece, state.schema, self._judge, self._measured) for piece in cut]

    def _publish(
        self, state: Unfinished, generation: int, gathered: _Gathered, parts_of: Callable[[], list[Made]]
    ) -> _Published:
        """Writes a segment; or, where the results are all of a shard's, its sealed file, and returns its counts."""
        results, parts = gathered.results, parts_of()
        if self._hooks.sealed is not None and not generation and state.untouched and len(results) == state.shard.rows:
            return seal_results(self._run, state.shard, [part.table for part in parts], state.schema), parts
        number = state.numbers.get(generation, 0)
        state.numbers[generation] = number + 1
        first, last = parts[0].results[0].row.number, parts[-1].results[-1].row.number
        segment = Segment(state.shard.stem, generation, self._run.worker, first, last, number, number)
        with self._run.files.create(self._run.layout.segment(segment)) as file:
            about = self._run.about(state.shard, generation)
            seg.write(file, (part.table for part in parts), state.schema, about)
        return segment, parts

    def _measured(self, results: Sequence[Result]) -> Mapping[str, Sequence[float | None]]:
        """The automatic metrics of some rows. Null where they fail, so that no paid reply is lost."""
        if self.measure is None:
            return {}
        try:
            return self.measure(results)
        except Exception as error:  # noqa: BLE001 - a metric may be somebody's own
            said = f"{type(error).__name__}: {error}".splitlines()[0].rstrip(".")
            if said not in self._reported:
                self._reported.add(said)
                self._say(
                    f"The automatic metrics of {len(results)} rows failed and are null ({said}). The run goes on. "
                    "Further such failures are not shown; `scorer metrics` computes the metrics later."
                )
            return {}

    def _note_unfit(self, given: Sequence[Result], stored: Sequence[Result], unfit: Sequence[UnfitValue]) -> None:
        """Counts and reports values that no column can hold. Raises TooManyFailed where all rows so far have one."""
        if not unfit:
            self._fitted = True
            return
        by_row = {result.row.number: result for result in given}
        before = self.counts.scored
        for result in stored:
            self.counts.became(by_row[result.row.number], result)
        failed = before - self.counts.scored
        self._fitted = self._fitted or failed < len(stored)
        self._unfit += failed
        for one in unfit:
            if one.column not in self._reported:
                self._reported.add(one.column)
                row, became = one.result.row, "its score stays" if one.error is None else f"it is {one.error.name}"
                self._say(f"Row {row.number} of {row.shard}: {one.detail}; {became}. Further such rows are not shown.")
        if not self._fitted and self._unfit >= UNFIT and not self._stopped:
            raise TooManyFailed(
                f"The first {self._unfit} rows that were stored all ended so: {unfit[-1].detail}. Mend the judge, then "
                "`scorer reread` reads the replies again that output.keep_raw kept."
            )
