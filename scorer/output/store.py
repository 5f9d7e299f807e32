"""The results of a run in its output folder: rows without a result, results in, segments merged, shards sealed.

It joins the inventory, the segment writer and the sealer, and adopts the segments that workers wrote.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence

from scorer.output.counts import SealedCounts
from scorer.output.damage import SetAside
from scorer.output.inventory import Inventory, Unfinished
from scorer.output.layout import Segment
from scorer.output.result_store import ResultStore
from scorer.output.row_counts import Counts
from scorer.output.run_files import RunFiles
from scorer.output.sealer import Sealer
from scorer.output.segment_writer import SegmentWriter, WriterHooks
from scorer.output.tables import Measure
from scorer.types import Mask, Offload, Result, Shard, Work


class Store(ResultStore):
    """The store of one run. The caller holds the folder's lock.

    `say` gets a sentence for each file that was set
    aside, on any thread.
    """

    def __init__(
        self,
        run: RunFiles,
        *,
        offload: Offload,
        flush_rows: int,
        flush_s: float,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.set_aside: list[str] = []
        """Files that could not be read: kept under damaged/, their rows scored again."""
        self._say = say
        self._inventory = Inventory(run, on_damaged=self._damaged, on_ready=lambda state: self._sealer.ready(state))
        self._sealer = Sealer(run, self._inventory, offload=offload, on_damaged=self._damaged)
        super().__init__(
            SegmentWriter(
                run,
                WriterHooks(self._unfinished, self._written, sealed=self._sealer.was_sealed_at_once),
                offload=offload,
                flush_rows=flush_rows,
                flush_s=flush_s,
                measure=None,
                say=say,
            )
        )

    # --- what is left to do: blocking; the reader's thread calls it, a shard ahead ------------------------------------

    def open(self, revision: int | None = None) -> None:
        """Lists the files of the run, and deletes leftovers of a crash, a merge or a seal. It reads names alone.

        `revision` is the generation of an unfinished retry: its segments are not yet in the sealed files.
        """
        self._inventory.open(revision)

    def sealed(self, shard: Shard) -> bool:
        return self._inventory.sealed(shard)

    def work(self, shards: Iterable[Shard]) -> Iterator[Work]:
        """The rows of each shard that have no result yet."""
        return self._inventory.work(shards)

    def unscored(self, shards: Iterable[Shard]) -> Iterator[Work]:
        """The rows of each shard that belong and have no result, also those that this start does not ask for."""
        return self._inventory.unscored(shards)

    def some(self, shard: Shard, rows: Mask) -> Iterator[Work]:
        """Those of some rows of a shard that had no result when it was first looked at."""
        return self._inventory.some(shard, rows)

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
        return self._inventory.again(shards, generation, errors, span)

    @property
    def found(self) -> int:
        """Rows of the unsealed shards opened so far that had a result, without those that are scored again."""
        return self._inventory.found

    @property
    def unread(self) -> dict[str, str]:
        """Why `work` or `again` left out a shard, by its path: it is gone or was replaced."""
        return self._inventory.unread

    # --- results in ---------------------------------------------------------------------------------------------------

    def measure_with(self, measure: Measure | None) -> None:
        """Adds these automatic metrics to the results from here on; they are computed on the writer's thread."""
        self._writer.measure_with(measure)

    @property
    def counts(self) -> Counts:
        """The counts of the results since the start: rows, scored, errors and copied alone."""
        return self._writer.counts

    async def serve(self) -> None:
        """Writes every `flush_rows` results or `flush_s` seconds, and merges and seals, until `stop`."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._writer.serve())
            group.create_task(self._sealer.serve())

    def stop(self) -> None:
        """Lets `serve` return once what it is writing is written."""
        self._writer.stop()
        self._sealer.stop()

    async def close(self) -> None:
        """Writes all results and seals finished shards; `serve` has returned before."""
        await self._writer.flush()
        await self._sealer.work()

    def _unfinished(self, path: str) -> Unfinished:
        state = self._inventory.unfinished(path)
        assert state is not None, path
        return state

    def _written(self, state: Unfinished, segment: Segment, results: Sequence[Result]) -> None:
        self._sealer.take_up(state, segment, len(results))

    # --- segments that workers wrote ----------------------------------------------------------------------------------

    def free_number(self, shard: Shard) -> int:
        """The least number above those of all segments of the shard."""
        state = self._inventory.unfinished(shard.path)
        return 1 + max((segment.high for segment in state.segments), default=-1) if state is not None else 0

    def adopt(
        self, path: str, segment: Segment, counts: Counts, scores: Iterable[tuple[int, float | None]] = ()
    ) -> None:
        """Counts a segment that a worker of this run wrote. Does nothing where it is known already.

        `scores` are its rows with their scores, None where a row ended in an error.
        """
        state = self._inventory.unfinished(path)
        if state is None or any(known.holds(segment) for known in state.segments):
            return
        self.counts.add(counts)
        self._sealer.take_up(state, segment, counts.rows)
        if self.on_row is not None:
            for row, score in scores:
                self.on_row(path, row, score)

    # --- merging and sealing ------------------------------------------------------------------------------------------

    @property
    def lost(self) -> bool:
        """Segments of finished rows turned out to be damaged: another start has rows to score."""
        return self._sealer.lost

    @property
    def counted(self) -> SealedCounts:
        """The shards that were sealed from their results alone, and their counts."""
        return self._sealer.counted

    def on_sealed(self, call: Callable[[Shard], None]) -> None:
        """`call` is called with each shard as it is sealed, or sealed again."""
        self._sealer.on_sealed = call

    def _damaged(self, error: SetAside) -> None:
        self.set_aside.append(error.path)
        self._say(str(error))
