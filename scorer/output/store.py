"""Where results go: gathered, published as segments, merged, sealed; and what is left to do, from the files alone.

A segment is the checkpoint: a row in one is never asked again. One writer publishes segments, one sealer merges and
seals; both only ever add whole files, so a crash between any two instructions loses what was gathered and no more.
Longer than other files, for the counts that say when a shard is finished must not be kept in two places.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from scorer.errors import ShardChanged, TooManyFailed
from scorer.files.files import Files
from scorer.files.runtime import shielded
from scorer.inputs.shard_reader import Patience, is_systems
from scorer.output import segments as seg
from scorer.output.damage import SetAside, set_aside, unreadable
from scorer.output.layout import Layout, Segment, shown
from scorer.output.seal import MERGE_AT, merge_segments, neighbours, seal
from scorer.output.tables import Made, Measure, UnfitValue, made, pieces, size_of
from scorer.types import Mask, Offload, Result, Shard, Work

FLUSH_BYTES = 32 * 1024 * 1024
"""So much text of results is written before there are `flush_rows` of them."""
UNFIT = 200
"""A run is stopped whose first so many rows all hold what their columns cannot."""
TIDY_S = 0.2
KEEP_HIDDEN_S = 600.0
"""Hidden files stay this long, so that no reader loses a file under its hands."""


@dataclass(slots=True)
class Unfinished:
    """A shard under way. It can be sealed when no row is without a result and no row is to be scored again."""

    shard: Shard
    schema: pa.Schema
    segments: list[Segment]
    unscored: int
    redo: int = 0
    lost: bool = False
    """A segment turned out to be damaged: which rows it held is for the next look to say."""
    numbers: dict[int, int] = field(default_factory=dict)
    """The next segment's number, by generation."""

    @property
    def finished(self) -> bool:
        return not (self.unscored or self.redo or self.lost)


class Store:
    """The store of one run, whose id is `run`. The caller holds the folder's lock.

    `schema_of` tells the result schema of a shard; `measure` adds the automatic metrics, on the writer's thread. `say`
    is told what was set aside, on whatever thread finds it.
    """

    def __init__(
        self,
        files: Files,
        layout: Layout,
        *,
        run: str,
        fingerprint: str,
        schema_of: Callable[[Shard], pa.Schema],
        offload: Offload,
        flush_rows: int,
        flush_s: float,
        measure: Measure | None = None,
        worker: int = 0,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.counts = seg.Counts()
        """What was added since the start; only rows, scored, errors and copied."""
        self.found = 0
        """Rows that had a result already, in the unsealed shards opened so far; less those that are scored again."""
        self.unread: dict[str, str] = {}
        """By its path, why a shard was left out by `work` or `again`: it is gone, or another one."""
        self.set_aside: list[str] = []
        """Files that could not be read: kept under damaged/, their rows scored again."""
        self.lost = False
        """Some of them were found when their rows were thought finished: another start has rows to score."""
        self._files = files
        self._layout = layout
        self._run = run
        self._fingerprint = fingerprint
        self._schema_of = schema_of
        self._offload = offload
        self._flush_rows = flush_rows
        self._flush_s = flush_s
        self._measure = measure
        self._worker = worker
        self._say = say
        self.on_sealed: Callable[[Shard], None] = lambda _: None
        """Called with each shard as it is sealed, or sealed again."""
        self._sealed: set[str] = set()
        self._open: dict[str, Unfinished] = {}
        self._counted: set[str] = set()  # unsealed shards whose rows are in `found`
        self._gathered: dict[tuple[str, int], list[Result]] = {}
        self._copies: list[Result] = []  # gathered once the rows that they were copied from are in a segment
        self._held = self._held_bytes = 0  # results that are not yet in a segment
        self._full = asyncio.Event()
        self._stopping = asyncio.Event()
        self._room = asyncio.Event()
        self._on_room: list[Callable[[], None]] = []
        self._ready: deque[Unfinished] = deque()  # the reader's thread appends to it too
        self._hidden: deque[tuple[float, str]] = deque()
        self._heard: set[str] = set()  # what `say` was told of metrics and of columns
        self._fitted = False  # that some row was stored as it was given
        self._unfit = 0  # rows that ended in an error because a column could not hold what the judge made
        self._writing = asyncio.Lock()
        self._tidying = asyncio.Lock()

    # --- what is left to do: blocking; the reader's thread calls it, a shard ahead ------------------------------------

    def open(self, revision: int | None = None) -> None:
        """Takes stock by names alone, and clears away what a crash, a merge or a seal left.

        `revision` is the generation that a retry left open: its segments are not yet in the sealed files.
        """
        layout, files = self._layout, self._files
        files.sweep(layout.out)
        files.sweep(layout.scores)
        self._sealed = {stat.path.rpartition("/")[2].removesuffix(".parquet") for stat in files.listing(layout.scores)}
        for stem in files.folders(layout.segments):
            files.sweep(f"{layout.segments}/{stem}")
            everything = layout.segments_of(files, stem)
            hidden = shown(everything)[1]
            if stem in self._sealed:
                hidden = [segment for segment in everything if segment.generation != revision]
            for segment in hidden:
                files.delete(layout.segment(segment))

    def sealed(self, shard: Shard) -> bool:
        return shard.stem in self._sealed

    def work(self, shards: Iterable[Shard]) -> Iterator[Work]:
        """The rows of each shard that have no result yet."""
        for shard in shards:
            if not self.sealed(shard):
                stock = yield from self._patiently(shard)
                if stock is None:
                    continue
                state, done = stock
                if shard.path not in self._open:  # else `again` began it, and counted these rows too
                    self._begin(state)
                yield Work(shard, ~done)

    def again(self, shards: Iterable[Shard], generation: int, errors: Sequence[str] | None) -> Iterator[Work]:
        """The rows whose newest result is one of `errors` (None: any error) and older than `generation`."""
        for shard in shards:
            stock = yield from self._patiently(shard)
            if stock is None:
                continue
            state, _ = stock
            failed, newest = self._newest(state, errors)
            todo = failed & (newest < generation)
            state.redo = int(todo.sum())
            self.found -= state.redo
            begun = bool((newest == generation).any())
            if todo.any() or begun or (state.finished and not self.sealed(shard)):
                self._begin(state)
                yield Work(shard, todo, generation)

    def _begin(self, state: Unfinished) -> None:
        self._open[state.shard.path] = state
        if state.finished:
            self._ready.append(state)

    def _patiently(self, shard: Shard) -> Generator[Work, None, tuple[Unfinished, Mask] | None]:
        """`_take_stock`, and a Work with a pause while the system fails; None where the shard is gone or changed."""
        patience = Patience(shard.path)
        while True:
            try:
                return self._take_stock(shard)
            except ShardChanged as error:
                self.unread[shard.path] = str(error)
                return None
            except OSError as error:
                if not is_systems(error):
                    raise
                pause_s = patience.pause_s(error)
            yield Work(shard, np.zeros(shard.rows, dtype=bool), pause_s=pause_s)

    def _take_stock(self, shard: Shard) -> tuple[Unfinished, Mask]:
        """The shard as its segments stand, and its rows with a result. Damaged segments are set aside."""
        files, layout = self._files, self._layout
        segments = shown(layout.segments_of(files, shard.stem))[0]
        done: Mask = np.full(shard.rows, self.sealed(shard))
        intact: list[Segment] = []
        for segment in segments:
            path = layout.segment(segment)
            try:
                with seg.broken(path):
                    done[seg.read_rows(files, path, shard, self._fingerprint, segment.first, segment.last)] = True
            except seg.Broken:
                set_aside(files, layout, path)
                self._tell(SetAside(layout, path))
            else:
                intact.append(segment)
        numbers: dict[int, int] = {}
        for segment in segments:
            if segment.worker == self._worker:
                numbers[segment.generation] = max(numbers.get(segment.generation, 0), segment.high + 1)
        unscored = int(shard.rows - done.sum())
        if not self.sealed(shard) and shard.path not in self._counted:
            self._counted.add(shard.path)
            self.found += shard.rows - unscored
        return Unfinished(shard, self._schema_of(shard), intact, unscored, numbers=numbers), done

    def _newest(self, state: Unfinished, errors: Sequence[str] | None) -> tuple[Mask, np.ndarray]:
        """Rows whose newest result is such an error, and the generation of each row's newest result (-1: none)."""
        shard = state.shard
        failed: Mask = np.zeros(shard.rows, dtype=bool)
        newest = np.full(shard.rows, -1, dtype=np.int64)
        paths = [self._layout.segment(segment) for segment in state.segments]
        if self.sealed(shard):
            paths.insert(0, self._layout.sealed(shard.stem))
        for path in paths:
            try:
                with seg.broken(path):
                    table = seg.read_columns(self._files, path, ["row", "error", "generation"])
            except seg.Broken as error:
                raise unreadable(self._files, self._layout, error) from error
            rows, generations = table.column("row").to_numpy(), table.column("generation").to_numpy()
            names = table.column("error").to_pylist()
            hit = np.array([name is not None and (errors is None or name in errors) for name in names], dtype=bool)
            later = generations > newest[rows]
            failed[rows[later]] = hit[later]
            newest[rows[later]] = generations[later]
        return failed, newest

    # --- results in ---------------------------------------------------------------------------------------------------

    def add(self, result: Result) -> None:
        """Takes a result; it is durable once a flush has written it."""
        if result.copied_from is None:
            self._gather(result)
        else:
            self._copies.append(result)
        self._held += 1
        self._held_bytes += size_of(result)
        self.counts.note(result)
        if self._due:
            self._full.set()

    def _gather(self, result: Result) -> None:
        self._gathered.setdefault((result.row.shard, result.row.generation), []).append(result)

    @property
    def full(self) -> bool:
        """Two flushes' worth of results wait to be written: of rows, or of their bytes."""
        return self._held >= 2 * self._flush_rows or self._held_bytes >= 2 * FLUSH_BYTES

    @property
    def _due(self) -> bool:
        return self._held >= self._flush_rows or self._held_bytes >= FLUSH_BYTES

    def on_room(self, wake: Callable[[], None]) -> None:
        """`wake()` is called after each segment that was written."""
        self._on_room.append(wake)

    async def room(self) -> None:
        while self.full:
            self._room.clear()
            await self._room.wait()

    async def serve(self) -> None:
        """Publishes every `flush_rows` results or `flush_s` seconds, and merges and seals, until `stop`."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_flushing())
            group.create_task(self._keep_tidying())

    def stop(self) -> None:
        """Lets `serve` return once what it is writing is written."""
        self._stopping.set()
        self._full.set()

    async def close(self) -> None:
        """Publishes what is gathered and seals what is finished; `serve` has returned before."""
        while self._gathered or self._copies:
            await self._flush()
        await self._tidy()

    async def _keep_flushing(self) -> None:
        while not self._stopping.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(self._flush_s):
                    await self._full.wait()
            await self._flush()

    async def _flush(self) -> None:
        async with self._writing:
            self._full.clear()
            copies = len(self._copies)
            failures: list[Exception] = []
            for key in list(self._gathered):
                try:
                    await shielded(self._flush_one(*key))
                except Exception as error:  # noqa: BLE001 - raised below: what fails for one shard costs no other
                    failures.append(error)
            if failures:
                raise failures[0]
            # A copy came after its source, so that is stored by now: no crash leaves one without the other.
            for result in self._copies[:copies]:
                self._gather(result)
            del self._copies[:copies]
            if copies and self._due:
                self._full.set()

    async def _flush_one(self, path: str, generation: int) -> None:
        results = self._gathered.pop((path, generation))
        state = self._open[path]
        try:
            segment, parts = await self._offload(self._publish, state, generation, results)
        except BaseException:  # whatever it is: they are paid for, and it may have passed when the run closes
            self._gathered[path, generation] = results + self._gathered.get((path, generation), [])
            raise
        self._held -= len(results)
        self._held_bytes -= sum(map(size_of, results))
        stored = [result for part in parts for result in part.results]
        self._written(state, segment, stored)
        self._room.set()
        for wake in self._on_room:
            wake()
        self._note_unfit(results, stored, [one for part in parts for one in part.unfit])

    def _written(self, state: Unfinished, segment: Segment, results: Sequence[Result]) -> None:
        self._take_up(state, segment, len(results))

    def _take_up(self, state: Unfinished, segment: Segment, rows: int) -> None:
        state.segments.append(segment)
        if segment.generation:
            state.redo -= rows
        else:
            state.unscored -= rows
        if state.finished or len(state.segments) > MERGE_AT:
            self._ready.append(state)

    def _publish(self, state: Unfinished, generation: int, results: list[Result]) -> tuple[Segment, list[Made]]:
        parts = [made(piece, state.schema, self._fingerprint, self._measured) for piece in pieces(results)]
        number = state.numbers.get(generation, 0)
        state.numbers[generation] = number + 1
        first, last = parts[0].results[0].row.number, parts[-1].results[-1].row.number
        segment = Segment(state.shard.stem, generation, self._worker, first, last, number, number)
        with self._files.create(self._layout.segment(segment)) as file:
            about = seg.about(state.shard, self._fingerprint, generation, self._run)
            seg.write(file, (part.table for part in parts), state.schema, about)
        return segment, parts

    def _measured(self, results: Sequence[Result]) -> Mapping[str, Sequence[float | None]]:
        """The automatic metrics of some rows; null where they cannot be had, which costs no paid reply."""
        if self._measure is None:
            return {}
        try:
            return self._measure(results)
        except Exception as error:  # noqa: BLE001 - a metric may be somebody's own
            said = f"{type(error).__name__}: {error}".splitlines()[0].rstrip(".")
            if said not in self._heard:
                self._heard.add(said)
                self._say(
                    f"The automatic metrics of {len(results)} rows failed, and are null there ({said}). The run goes "
                    "on, and others like it are not told; `scorer metrics` computes them later."
                )
            return {}

    def _note_unfit(self, given: Sequence[Result], stored: Sequence[Result], unfit: Sequence[UnfitValue]) -> None:
        """Counts and tells what no column could hold. Raises TooManyFailed where nothing else came so far."""
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
            if one.column not in self._heard:
                self._heard.add(one.column)
                row, became = one.result.row, "its score stays" if one.error is None else f"it is {one.error.name}"
                self._say(f"Row {row.number} of {row.shard}: {one.detail}; {became}. Others like it are not told.")
        if not self._fitted and self._unfit >= UNFIT and not self._stopping.is_set():
            raise TooManyFailed(
                f"The first {self._unfit} rows that were stored all ended so: {unfit[-1].detail}. Mend the judge, then "
                "`scorer reread` reads the replies again that output.keep_raw kept."
            )

    # --- segments that workers wrote ----------------------------------------------------------------------------------

    def free_number(self, shard: Shard) -> int:
        """The least number that is above those of all its segments, whoever wrote them."""
        state = self._open.get(shard.path)
        return 1 + max((segment.high for segment in state.segments), default=-1) if state is not None else 0

    def adopt(self, path: str, segment: Segment, counts: seg.Counts) -> None:
        """Takes up a segment that a worker of this run published; nothing where it is known already."""
        state = self._open.get(path)
        if state is None or any(known.holds(segment) for known in state.segments):
            return
        self.counts.add(counts)
        self._take_up(state, segment, counts.rows)

    # --- merging and sealing ------------------------------------------------------------------------------------------

    async def _keep_tidying(self) -> None:
        while not self._stopping.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(TIDY_S):
                    await self._stopping.wait()
            await self._tidy()

    async def _tidy(self) -> None:
        async with self._tidying:
            while self._ready:
                state = self._ready.popleft()
                if self._open.get(state.shard.path) is not state:
                    continue  # sealed meanwhile
                try:
                    await shielded(self._seal(state) if state.finished else self._merge(state))
                except SetAside as error:  # the other rows go on; this shard is left open
                    state.segments = [s for s in state.segments if self._layout.segment(s) != error.path]
                    state.lost = self.lost = True
                    self._tell(error)
            now = asyncio.get_running_loop().time()
            while self._hidden and self._hidden[0][0] <= now:
                await self._offload(self._files.delete, self._hidden.popleft()[1])

    def _tell(self, error: SetAside) -> None:
        self.set_aside.append(error.path)
        self._say(str(error))

    async def _merge(self, state: Unfinished) -> None:
        if chosen := neighbours(state.segments):
            merged = await self._offload(
                merge_segments,
                self._files,
                self._layout,
                chosen,
                state.shard,
                state.schema,
                self._fingerprint,
                self._run,
            )
            state.segments = [merged, *(s for s in state.segments if s not in chosen)]
            self._hide(chosen)

    async def _seal(self, state: Unfinished) -> None:
        again = self.sealed(state.shard)
        made = self._fingerprint, self._run
        hidden = await self._offload(
            lambda: seal(self._files, self._layout, state.shard, state.schema, *made, sealed_before=again)
        )
        self._sealed.add(state.shard.stem)
        del self._open[state.shard.path]
        self._hide(hidden)
        self.on_sealed(state.shard)

    def _hide(self, segments: Sequence[Segment]) -> None:
        due = asyncio.get_running_loop().time() + KEEP_HIDDEN_S
        self._hidden.extend((due, self._layout.segment(segment)) for segment in segments)
