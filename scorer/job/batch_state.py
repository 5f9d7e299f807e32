"""What the parts of a run through batches share: rows, chunks, models; and what becomes of a row and of a chunk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field, replace
from typing import Literal

import numpy as np

from scorer.batch.building import Builder
from scorer.batch.downloads import Downloads
from scorer.batch.duplicates import Duplicates, Look
from scorer.batch.durable import Durable
from scorer.batch.exchange import Exchange
from scorer.batch.model import BatchModel
from scorer.batch.open_chunks import OpenChunk, OpenChunks
from scorer.batch.rows import BatchRows, Numbers
from scorer.batch.turns import Finished, KnownRows
from scorer.build.open_run import OpenRun
from scorer.canaries.batches import BatchCanaries
from scorer.engine import engine
from scorer.engine.uniform_failures import UniformFailureGuard
from scorer.frozen import dataclass
from scorer.output.canary_files import SHARD
from scorer.output.chunk_files import ChunkFiles
from scorer.types import Mask, Result, Row, Shard, Work

Waiting = Literal["wait", "no-wait", "collect"]
"""Whether a start waits for its batches; "no-wait" submits and collects once, "collect" only collects."""


@dataclass(slots=True, eq=False)
class Lane:
    """One model, and what its provider took lately: `most` requests a batch; `held` until the next round."""

    model: BatchModel
    exchange: Exchange
    downloads: Downloads
    most: int
    held: bool = False
    ready: bool = False


@dataclass(slots=True, eq=False)
class BatchState:
    """The state of a start. `parts` make results, `why` is the last failure, `unread` says why shards were left out.

    `drain` ends the start; what is out stays out. `halt` asks nothing more; what is out is cancelled and brought in.
    """

    opened: OpenRun
    drain: engine.StopFlag
    halt: engine.StopFlag
    lanes: dict[str, Lane]
    rows: BatchRows
    chunks: OpenChunks
    files: ChunkFiles
    durable: Durable
    known: KnownRows
    builder: Builder
    parts: engine.RunContext
    duplicates: Duplicates | None = None
    deadline: float | None = None
    canaries: BatchCanaries | None = None
    why: str | None = None
    unread: dict[str, str] = field(default_factory=dict)
    guard: UniformFailureGuard = field(default_factory=lambda: UniformFailureGuard(engine.ALIKE))
    compared: bool = False
    """All rows that were left at the first result of this start were compared with it."""

    @property
    def late(self) -> bool:
        """The deadline has passed."""
        return self.deadline is not None and self.opened.wall_s() >= self.deadline

    @property
    def cancels(self) -> bool:
        """Batches that are out are to be cancelled, and none to be sent."""
        return self.late or (self.halt.asked and not self.drain.asked)

    def lane_of(self, one: OpenChunk) -> Lane:
        return self.lanes[one.model]

    def works_of(self, rows: Mapping[str, Numbers]) -> list[Work]:
        """Work for the reader: those of the rows that are left."""
        return [
            Work(part.shard, mask_of(part.shard, numbers), part.generation) for part, numbers in self.rows.within(rows)
        ]

    def leave_out(self, unread: Mapping[str, str]) -> None:
        """Leaves out shards that cannot be read, by path."""
        for path, why in unread.items():
            self.unread[path] = why
            self.rows.drop(path)

    def finished(self, row: Row, step: Finished) -> None:
        """Stores the result of a row. Raises TooManyFailed where the first rows all fail alike."""
        result = self.parts.result(row, step.score, step.error, step.answers)
        self.known.finished(row)
        self.store(replace(result, batch=self.chunks.batch_of(row)))
        self.guard.look(result)
        if self.duplicates is not None:
            self.duplicates.finished(result)

    def copied(self, result: Result) -> None:
        """Stores the result of a row that copies another one's."""
        self.known.finished(result.row)
        self.store(result)

    async def _copy_to_duplicates(self, duplicates: Duplicates) -> None:
        """Copies results to rows that ask what a finished row asked.

        These are rows that wait for one that has a result now. At the first result of a start all rows that are left
        are compared, since none was looked at before; those whose answer is out wait from then on.
        """
        ready = duplicates.take_ready()
        if duplicates.has_results and not self.compared:
            self.compared = True
            left: dict[str, Numbers] = {}
            for part in self.rows.parts:
                path, numbers = part.shard.path, np.flatnonzero(part.left)
                left[path] = np.union1d(left[path], numbers) if path in left else numbers
            ready = left
        ready = self.chunks.without_live(ready)
        unread: dict[str, str] = {}
        pieces = self._looked_at(duplicates, self.works_of(ready), unread)
        while (piece := await self.opened.offload(next, pieces, None)) is not None:
            for row, found in piece:
                if isinstance(found, Result):
                    self.copied(found)
                else:
                    self.rows.set_todo({row.shard: np.array([row.number])}, to=found == "asks")
            await self.opened.store.room()
        self.leave_out(unread)

    def _looked_at(
        self, duplicates: Duplicates, works: Sequence[Work], unread: dict[str, str]
    ) -> Iterator[list[tuple[Row, Look]]]:
        for rows in self.builder.read(works, unread):
            yield [(row, duplicates.look(row)) for row in rows]

    def store(self, result: Result) -> None:
        """Stores a result. That of a canary is watched once those to the canaries before it are."""
        row = result.row
        if self.canaries is not None and row.shard.startswith(SHARD):
            self.rows.set_todo({row.shard: np.array([row.number])}, to=False)
            self.canaries.take(result)
        else:
            self.rows.finish(row.shard, row.number)
            self.opened.store.add(result)

    def release(self, one: OpenChunk) -> None:
        """The rows of a chunk that is not live any more are to be put into batches again."""
        for alias in self.lanes:
            self.rows.set_todo(self.chunks.without_live(one.rows, one, alias), [alias], to=True)

    async def close(self, one: OpenChunk, why: str) -> None:
        """Closes a chunk that is no longer needed."""
        self.chunks.remove(one)
        await self.durable.close_chunk(one, why)

    async def close_finished(self) -> None:
        """Copies results to rows that waited for them; closes the chunks whose rows are all finished and durable."""
        if self.duplicates is not None:
            await self._copy_to_duplicates(self.duplicates)
        done = [one for one in self.chunks if one.chunk.state in ("fetched", "failed") and not self._needed(one)]
        if done:
            await self.opened.store.flush()
            if self.canaries is not None:
                await self.canaries.write()
        for one in done:
            await self.close(one, "done")

    def _needed(self, one: OpenChunk) -> bool:
        if one.chunk.twins_open:
            return True
        if one.chunk.state == "fetched":
            return not one.settled or self.rows.any_left(one.kept)
        return self.rows.any_left(self.chunks.without_live(one.rows, one, one.model))


def mask_of(shard: Shard, numbers: Numbers) -> Mask:
    """The rows of a shard as a mask."""
    mask: Mask = np.zeros(shard.rows, dtype=bool)
    mask[numbers] = True
    return mask
