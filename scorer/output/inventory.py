"""Which rows of a run have a result and which are left to do, from the result files alone.

Blocking where it reads files; the reader's thread calls `work` and `again`, a shard ahead of scoring.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from scorer.errors import ShardChanged
from scorer.frozen import dataclass
from scorer.inputs.read_retry import ReadRetry, is_systems
from scorer.output import segments as seg
from scorer.output.damage import SetAside, set_aside, unreadable
from scorer.output.layout import Segment, shown
from scorer.output.run_files import RunFiles
from scorer.types import Mask, Shard, Work


@dataclass(slots=True)
class Unfinished:
    """An unfinished shard. It can be sealed once every row has a result and no row is to be scored again."""

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
    def untouched(self) -> bool:
        """True where no row has a result in a file."""
        return self.unscored == self.shard.rows and not (self.segments or self.redo or self.lost)

    @property
    def finished(self) -> bool:
        return not (self.unscored or self.redo or self.lost)


class Inventory:
    """The shards of a run: sealed, unfinished with their segments, or not opened yet. The caller holds the lock.

    `on_damaged` is called with each segment that was set aside, and `on_ready` with each shard that is already finished
    when it is opened. Both are called on the thread that opens the shard.
    """

    def __init__(
        self, run: RunFiles, *, on_damaged: Callable[[SetAside], None], on_ready: Callable[[Unfinished], None]
    ) -> None:
        self.found = 0
        """Rows that had a result already, in the unsealed shards opened so far; less those that are scored again."""
        self.unread: dict[str, str] = {}
        """By its path, why a shard was left out by `work` or `again`: it is gone, or another one."""
        self._run = run
        self._on_damaged = on_damaged
        self._on_ready = on_ready
        self._sealed: set[str] = set()
        self._open: dict[str, Unfinished] = {}
        self._todo: dict[str, npt.NDArray[np.uint8]] = {}  # packed, of shards that are asked for by parts
        self._counted: set[str] = set()  # unsealed shards whose rows are in `found`

    def open(self, revision: int | None = None) -> None:
        """Lists the files of the run, and deletes leftovers of a crash, a merge or a seal. It reads names alone.

        `revision` is the generation of an unfinished retry: its segments are not yet in the sealed files.
        """
        layout, files = self._run.layout, self._run.files
        files.sweep(layout.out, ".json")  # any other is a file that a command with `-o` writes there now
        files.sweep(layout.scores)
        self._sealed = layout.sealed_stems(files)
        for stem in files.folders(layout.segments):
            files.sweep(layout.segment_folder(stem))
            everything = layout.segments_of(files, stem)
            hidden = shown(everything)[1]
            if stem in self._sealed:
                hidden = [segment for segment in everything if segment.generation != revision]
            for segment in hidden:
                files.delete(layout.segment(segment))
            if stem in self._sealed:
                files.drop_folder(layout.segment_folder(stem))

    def sealed(self, shard: Shard) -> bool:
        return shard.stem in self._sealed

    def work(self, shards: Iterable[Shard]) -> Iterator[Work]:
        """The rows of each shard that are asked for and have no result yet."""
        for shard in shards:
            if not self.sealed(shard) and (work := (yield from self._left(shard))) is not None:
                yield work

    def _left(self, shard: Shard) -> Generator[Work, None, Work | None]:
        """The rows of a shard that are asked for and have no result; None where it is gone or changed.

        Where these are all rows, no mask is held while they are scored: it takes a byte a row.
        """
        stock = yield from self._patiently(shard)
        if stock is None:
            return None
        state, todo = stock
        if shard.path not in self._open:  # else `again` began it, and counted these rows too
            self._begin(state)
        return Work(shard, None if todo.all() else todo)

    def some(self, shard: Shard, rows: Mask) -> Iterator[Work]:
        """Those of some rows of a shard that had no result when it was first looked at; a row is asked for once."""
        if self.sealed(shard):
            return
        if shard.path not in self._todo:
            stock = yield from self._patiently(shard)
            if stock is None:
                return
            state, todo = stock
            self._todo[shard.path] = np.packbits(todo)
            if shard.path not in self._open:
                self._begin(state)
        todo = np.unpackbits(self._todo[shard.path], count=shard.rows).astype(bool)
        yield Work(shard, todo & rows)

    def again(
        self,
        shards: Iterable[Shard],
        generation: int,
        errors: Sequence[str] | None,
        span: tuple[int, int] | None = None,
    ) -> Iterator[Work]:
        """The rows whose newest result is one of `errors` (None: any error) and older than `generation`.

        With a `span` (microseconds since 1970) those that were finished in it, scored or not.
        """
        for shard in shards:
            stock = yield from self._patiently(shard)
            if stock is None:
                continue
            state, _ = stock
            failed, newest = self._newest(state, errors, span)
            todo = failed & (newest < generation)
            state.redo = int(todo.sum())
            self.found -= state.redo
            begun = bool((newest == generation).any())
            if todo.any() or begun or (state.finished and not self.sealed(shard)):
                self._begin(state)
                yield Work(shard, todo, generation)

    def unscored(self, shards: Iterable[Shard]) -> Iterator[Work]:
        """The rows of each shard that belong and have no result, also those that this start does not ask for."""
        for shard in shards:
            if not self.sealed(shard):
                stock = yield from self._patiently(shard, everything=True)
                if stock is not None:
                    if shard.path not in self._open:
                        self._begin(stock[0])
                    yield Work(shard, stock[1])

    def _begin(self, state: Unfinished) -> None:
        self._open[state.shard.path] = state
        if state.finished:
            self._on_ready(state)

    def _patiently(
        self, shard: Shard, *, everything: bool = False
    ) -> Generator[Work, None, tuple[Unfinished, Mask] | None]:
        """As `_take_stock`, with a Work that pauses while storage fails. None where the shard is gone or changed."""
        patience = ReadRetry(shard.path)
        while True:
            try:
                return self._take_stock(shard, everything=everything)
            except ShardChanged as error:
                self.unread[shard.path] = str(error)
                return None
            except OSError as error:
                if not is_systems(error):
                    raise
                pause_s = patience.pause_s(error)
            yield Work(shard, np.zeros(shard.rows, dtype=bool), pause_s=pause_s)

    def _take_stock(self, shard: Shard, *, everything: bool) -> tuple[Unfinished, Mask]:
        """The state of a shard by its segments, and its rows without a result. Sets damaged segments aside.

        `everything`: also rows that are not asked for.
        """
        files, layout = self._run.files, self._run.layout
        segments = shown(layout.segments_of(files, shard.stem))[0]
        done = self._sealed_rows(shard)
        intact: list[Segment] = []
        for segment in segments:
            path = layout.segment(segment)
            try:
                with seg.broken(path):
                    done[seg.read_rows(files, path, shard, self._run.fingerprint, segment.first, segment.last)] = True
            except seg.Broken:
                set_aside(files, layout, path)
                self._on_damaged(SetAside(layout, path))
            else:
                intact.append(segment)
        numbers: dict[int, int] = {}
        for segment in segments:
            if segment.worker == self._run.worker:
                numbers[segment.generation] = max(numbers.get(segment.generation, 0), segment.high + 1)
        selection = self._run.selection
        belongs = selection.belongs(files, layout, shard)
        asked = selection.asked(shard, belongs)
        unscored = int((belongs & ~done).sum())
        if not self.sealed(shard) and shard.path not in self._counted:
            self._counted.add(shard.path)
            self.found += int((asked & done).sum())
        return Unfinished(shard, self._run.schema_of(shard), intact, unscored, numbers=numbers), (
            belongs if everything else asked
        ) & ~done

    def _sealed_rows(self, shard: Shard) -> Mask:
        """The rows of the shard's sealed file; none without one."""
        sealed = self.sealed(shard)
        if not sealed or self._run.selection.whole:
            return np.full(shard.rows, sealed)
        path, done = self._run.layout.sealed(shard.stem), np.zeros(shard.rows, dtype=bool)
        try:
            with seg.broken(path):
                done[seg.read_columns(self._run.files, path, ["row"]).column("row").to_numpy()] = True
        except seg.Broken as error:
            raise unreadable(self._run.files, self._run.layout, error) from error
        return done

    def _newest(
        self, state: Unfinished, errors: Sequence[str] | None, span: tuple[int, int] | None
    ) -> tuple[Mask, np.ndarray]:
        """Rows whose newest result is asked for again, and the generation of each newest result (-1: none)."""
        shard = state.shard
        failed: Mask = np.zeros(shard.rows, dtype=bool)
        newest = np.full(shard.rows, -1, dtype=np.int64)
        paths = [self._run.layout.segment(segment) for segment in state.segments]
        if self.sealed(shard):
            paths.insert(0, self._run.layout.sealed(shard.stem))
        for path in paths:
            try:
                with seg.broken(path):
                    columns = ["row", "error", "generation", *(["finished_at"] if span is not None else [])]
                    table = seg.read_columns(self._run.files, path, columns)
            except seg.Broken as error:
                raise unreadable(self._run.files, self._run.layout, error) from error
            rows, generations = table.column("row").to_numpy(), table.column("generation").to_numpy()
            names = table.column("error").to_pylist()
            if span is None:
                hit = np.array([name is not None and (errors is None or name in errors) for name in names], dtype=bool)
            else:
                times = table.column("finished_at").cast("int64").to_numpy()
                hit = (times >= span[0]) & (times <= span[1])
            later = generations > newest[rows]
            failed[rows[later]] = hit[later]
            newest[rows[later]] = generations[later]
        return failed, newest

    # --- what becomes of the shards -----------------------------------------------------------------------------------

    def unfinished(self, path: str) -> Unfinished | None:
        """The state of a shard that is opened and not sealed; None for any other."""
        return self._open.get(path)

    def was_sealed(self, shard: Shard) -> None:
        self._sealed.add(shard.stem)
        del self._open[shard.path]
