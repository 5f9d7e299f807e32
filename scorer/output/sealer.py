"""Merges the segments of unfinished shards and seals finished shards, beside the writer.

It only ever adds whole files, and deletes hidden ones later: a crash between any two instructions loses no result.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from scorer.output.counts import SealedCounts
from scorer.output.damage import SetAside
from scorer.output.inventory import Inventory, Unfinished
from scorer.output.layout import Segment
from scorer.output.row_counts import Counts
from scorer.output.run_files import RunFiles
from scorer.output.seal import MERGE_AT, Sealed, merge_segments, neighbours, seal
from scorer.processes.event_loop import shielded
from scorer.processes.periodic_service import PeriodicService
from scorer.types import Offload, Shard

TIDY_S = 0.2
BUNCH, SMALL_ROWS = 16, 4096
"""So many shards of at most so many rows are sealed at once."""
KEEP_HIDDEN_S = 600.0
"""Hidden files stay this long, so that no reader loses a file under its hands."""


class Sealer(PeriodicService):
    """Merges and seals the shards of one run. `on_damaged` is called with each segment that was set aside."""

    def __init__(
        self, run: RunFiles, inventory: Inventory, *, offload: Offload, on_damaged: Callable[[SetAside], None]
    ) -> None:
        super().__init__(TIDY_S)
        self.lost = False
        """Segments of finished rows turned out to be damaged: another start has rows to score."""
        self.on_sealed: Callable[[Shard], None] = lambda _: None
        """Called with each shard as it is sealed, or sealed again."""
        self.counted = SealedCounts()
        """The shards that were sealed from results of generation 0."""
        self._run = run
        self._inventory = inventory
        self._offload = offload
        self._on_damaged = on_damaged
        self._ready: deque[Unfinished] = deque()  # the reader's thread appends to it too
        self._hidden: deque[tuple[float, Shard, Segment, bool]] = deque()  # due, and the arguments of `_delete`
        self._tidying = asyncio.Lock()

    def ready(self, state: Unfinished) -> None:
        """The shard is finished or has many segments: the next turn seals or merges it. Any thread may call it."""
        self._ready.append(state)

    def take_up(self, state: Unfinished, segment: Segment, rows: int) -> None:
        """A segment with so many rows was written."""
        state.segments.append(segment)
        if segment.generation:
            state.redo -= rows
        else:
            state.unscored -= rows
        if state.finished or len(state.segments) > MERGE_AT:
            self.ready(state)

    def was_sealed_at_once(self, state: Unfinished, counts: Counts) -> None:
        """The shard's sealed file was written from its results alone, which have these counts."""
        self.counted.add(state.shard.stem, counts)
        self._was_sealed(state)

    def _was_sealed(self, state: Unfinished) -> None:
        self._inventory.was_sealed(state.shard)
        self.on_sealed(state.shard)

    async def work(self) -> None:
        """Merges and seals what is ready, and deletes segments that have been hidden for KEEP_HIDDEN_S."""
        async with self._tidying:
            while states := self._next():
                await shielded(self._seal(states) if states[0].finished else self._merge(states[0]))
            now = asyncio.get_running_loop().time()
            while self._hidden and self._hidden[0][0] <= now:
                await self._offload(self._delete, *self._hidden.popleft()[1:])

    def _next(self) -> list[Unfinished]:
        """The shard to merge or seal next; or several small ones to seal, each once."""
        found: dict[int, Unfinished] = {}
        while self._ready and len(found) < BUNCH:
            state = self._ready[0]
            alone = not state.finished or state.shard.rows > SMALL_ROWS
            if found and alone:
                break
            self._ready.popleft()
            if self._inventory.unfinished(state.shard.path) is state:  # else it was sealed meanwhile
                found[id(state)] = state
                if alone:
                    break
        return list(found.values())

    async def _merge(self, state: Unfinished) -> None:
        if chosen := neighbours(state.segments):
            try:
                merged = await self._offload(merge_segments, self._run, chosen, state.shard, state.schema)
            except SetAside as error:
                self._is_damaged(state, error)
                return
            state.segments = [merged, *(s for s in state.segments if s not in chosen)]
            self._hide(state.shard, merged, hides=True)

    async def _seal(self, states: Sequence[Unfinished]) -> None:
        """Seals shards, durable together. What fails for one costs no other; the first failure is raised last."""
        failures: list[Exception] = []
        for state, outcome in zip(states, await self._offload(self._seal_all, states), strict=True):
            if isinstance(outcome, SetAside):
                self._is_damaged(state, outcome)
            elif isinstance(outcome, Exception):
                failures.append(outcome)
            else:
                for segment in outcome.hides:
                    self._hide(state.shard, segment)
                if not outcome.generation and not self._inventory.sealed(state.shard):
                    self.counted.add(state.shard.stem, outcome.counts)
                self._was_sealed(state)
        if failures:
            raise failures[0]

    def _seal_all(self, states: Sequence[Unfinished]) -> list[Sealed | Exception]:
        outcomes: list[Sealed | Exception] = []
        with self._run.files.together():
            for state in states:
                again = self._inventory.sealed(state.shard)
                try:
                    outcomes.append(seal(self._run, state.shard, state.schema, sealed_before=again))
                except Exception as error:  # noqa: BLE001 - raised by `_seal`
                    outcomes.append(error)
        return outcomes

    def _is_damaged(self, state: Unfinished, error: SetAside) -> None:
        """The other rows go on; this shard is left open."""
        state.segments = [s for s in state.segments if self._run.layout.segment(s) != error.path]
        state.lost = self.lost = True
        self._on_damaged(error)

    def _hide(self, shard: Shard, segment: Segment, *, hides: bool = False) -> None:
        """The segment is deleted after KEEP_HIDDEN_S; or those that it `hides`, which are not held until then."""
        self._hidden.append((asyncio.get_running_loop().time() + KEEP_HIDDEN_S, shard, segment, hides))

    def _delete(self, shard: Shard, segment: Segment, hides: bool) -> None:
        """Deletes hidden segments, and with the last one of a sealed shard its folder, which has no writer."""
        files, layout = self._run.files, self._run.layout
        for hidden in self._hidden_by(segment) if hides else [segment]:
            files.delete(layout.segment(hidden))
        if self._inventory.sealed(shard) and self._inventory.unfinished(shard.path) is None:
            files.drop_folder(layout.segment_folder(shard.stem))

    def _hidden_by(self, merged: Segment) -> list[Segment]:
        """The segments that a merged one hides; none where that was set aside."""
        found = self._run.layout.segments_of(self._run.files, merged.stem)
        return [s for s in found if merged.hides(s)] if any(s.name == merged.name for s in found) else []
