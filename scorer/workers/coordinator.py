"""The owner's side of a run with workers: supplies shards, adopts segments, recovers rows of dead workers.

It has the store, which seals, and the ledger, into whose folder the workers write theirs. It starts no worker.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy as np

from scorer import errors
from scorer.build.endpoints import all_rate_limits
from scorer.build.open_run import OpenRun
from scorer.canaries.watching import Canaries
from scorer.config.fingerprint import fingerprint
from scorer.errors import OutputError, ScorerError, SpecError, StorageError
from scorer.files.local_lock import FolderGone
from scorer.limits.limiter import UNSURE_S
from scorer.output import ledger
from scorer.output import segments as seg
from scorer.output.damage import set_aside
from scorer.output.layout import Segment
from scorer.output.row_counts import Counts
from scorer.types import Shard, Work
from scorer.workers.broker import Broker
from scorer.workers.canary_streams import CanaryStreams
from scorer.workers.messages import Answer, Failure, Hello, Order, Published, Report, published
from scorer.workers.row_leases import SLICE_ROWS
from scorer.workers.worker import ledger_name


class Coordinator:
    """Connects the broker of a run with its store and its ledger. The caller holds the lock and serves the store.

    `canaries` watch the answers to known rows, None for none. `served` has the addresses of embedded judges by alias.
    The workers write their ledgers every `gather_s` seconds. Make it inside a running event loop.
    """

    def __init__(
        self,
        opened: OpenRun,
        *,
        workers: int,
        served: dict[str, str],
        gather_s: float,
        canaries: Canaries | None = None,
    ) -> None:
        limits = opened.plan.spec.limits
        self.broker = Broker(
            all_rate_limits(opened.plan.spec),
            workers=workers,
            before=opened.ledger.totals,
            max_tokens=limits.max_tokens,
            max_usd=limits.max_usd,
            clock=asyncio.get_running_loop().time,
        )
        self.workers = workers
        self._opened = opened
        self._served = served
        self._gather_s = gather_s
        self._shards = {shard.path: shard for shard in opened.manifest.shards}
        self._last_number = 0
        self._heard = asyncio.Event()
        self._folder_gone: FolderGone | None = None
        self._canaries = canaries
        self._streams = CanaryStreams(asyncio.get_running_loop().time)

    def number_from(self, first: int) -> None:
        """Numbers workers from here on: one that outlives its owner must share no file with the next owner's."""
        self._last_number = first

    def hello(self, index: int) -> Hello:
        """The first message to a new worker at this index; its number is new."""
        self._last_number += 1
        self._streams.begin(self._last_number)
        return Hello(
            worker=self._last_number,
            index=index,
            workers=self.workers,
            spec=dict(self._opened.manifest.spec),
            run=self._opened.manifest.id,
            fingerprint=fingerprint(self._opened.plan.covers),
            files=self._opened.manifest.fingerprint,
            judge=self._opened.plan.fingerprint,
            judges=self._opened.manifest.judges,
            edition=self._opened.manifest.edition,
            owner=self._opened.ledger.owner,
            served=self._served,
            lease_s=self.broker.lease_s,
            strict=self._opened.ledger.strict,
            gather_s=self._gather_s,
            canary_seed=None if self._canaries is None else self._canaries.seed,
        )

    async def feed(self, work: Iterator[Work]) -> None:
        """Offers the broker the next shard before the last one is leased, to the end."""
        while pieces := await self._opened.offload(_several, work):
            for piece in pieces:
                if piece.pause_s:
                    await asyncio.sleep(piece.pause_s)
                else:
                    self.broker.offer(piece, self._opened.store.free_number(piece.shard))
            while not self.broker.rows.wants_shard:
                self._heard.clear()
                await self._heard.wait()
        self.broker.rows.close()

    async def answer(self, worker: int, report: Report) -> Answer:
        """Answers a report, and adopts the segments that it names. Waits while the folder may be another owner's.

        So a worker that is answered may go on for a while. A worker that is not soon writes and sends nothing more.
        Where the folder was deleted, the worker is ordered to leave: it enters what it spent in a new ledger file.
        Raises OutputError once the folder is another owner's, and StorageError once storage was away for too long.
        """
        try:
            while not self._opened.owned():  # noqa: ASYNC110 - storage is asked by a thread of its own, which sends no event
                await asyncio.sleep(UNSURE_S)
        except FolderGone as error:
            self._folder_gone = error
            leave(self.broker, Order.LEAVE)
        return self.exchange(worker, report)

    def exchange(self, worker: int, report: Report) -> Answer:
        """As `answer`, without the wait."""
        answer = self.broker.exchange(worker, report)
        self.take_up()
        self._streams.report(worker, report.canaries, report.oldest_canary_s)
        if report.ended:
            self._streams.gone(worker)
        self._watch()
        for text in report.said:
            self._opened.say(text)
        self._heard.set()
        return answer

    def owned(self) -> bool:
        """True while the folder is surely no other owner's: it is this one's, or it was deleted."""
        try:
            return self._opened.owned()
        except FolderGone:
            return True
        except (OutputError, StorageError):
            return False

    def take_up(self) -> None:
        """Adopts the segments that workers reported; finished shards are then sealed."""
        reported, self.broker.published = self.broker.published, []
        for worker, segment in reported:
            self._adopt(worker, segment)

    def _watch(self) -> None:
        """Has the canaries watched that are next in the order in which they were asked."""
        for answer in self._streams.ready():
            if self._canaries is not None:
                self._canaries.take(answer)

    def _adopt(self, worker: int, reported: Published) -> None:
        stem = self._shards[reported.path].stem
        segment = Segment(
            stem, reported.generation, worker, reported.first, reported.last, reported.number, reported.number
        )
        rows = len(reported.rows) // np.dtype(np.int64).itemsize
        counts = Counts(
            rows=rows,
            scored=reported.scored,
            errors=dict(reported.errors),
            copied=reported.copied,
            tiers=dict(reported.tiers),
        )
        self._opened.store.adopt(reported.path, segment, counts, reported.scored_rows)

    async def lost(self, worker: int) -> None:
        """Recovers from a worker's death: its segments count, its other rows are leased anew. It must write no more."""
        self.take_up()
        for work in self.broker.rows.holds(worker):
            for segment in await self._opened.offload(self._left_behind, worker, work):
                self.broker.rows.published(
                    segment.path, segment.generation, np.frombuffer(segment.rows, dtype=np.int64)
                )
                self._adopt(worker, segment)
        name = ledger_name(self._opened.ledger.owner, worker)
        totals = await self._opened.offload(ledger.totals, self._opened.files, self._opened.layout.ledger, name)
        self.broker.lost(worker, totals)
        self._streams.gone(worker)
        self._watch()
        self._heard.set()

    def _left_behind(self, worker: int, work: Work) -> list[Published]:
        """The segments that a dead worker wrote of a piece of work, reported or not. Deletes what it did not finish."""
        shard: Shard = work.shard
        found = []
        with suppress(StorageError):  # the next start deletes it
            self._opened.files.sweep(self._opened.layout.segment_folder(shard.stem), f"-w{worker}")
        for segment in self._opened.layout.segments_of(self._opened.files, shard.stem):
            if (segment.worker, segment.generation) == (worker, work.generation) and not segment.merged:
                path = self._opened.layout.segment(segment)
                try:
                    with seg.broken(path):
                        counts = seg.read_about(self._opened.files, path)[1]
                        table = seg.read_columns(self._opened.files, path, ["row", "score"])
                except seg.Broken:
                    set_aside(self._opened.files, self._opened.layout, path)
                    continue
                rows, scores = (table.column(name).to_numpy() for name in ("row", "score"))
                found.append(published(shard.path, segment, rows, counts, scores))
        return found

    def check(self) -> None:
        """Raises FolderGone where the folder was deleted, else the exception that ended a worker, if any."""
        if self._folder_gone is not None:
            raise self._folder_gone
        if self.broker.failure is not None:
            raise _error(self.broker.failure)


def _several(work: Iterator[Work]) -> list[Work]:
    """The next pieces of work, of a slice's rows or a few more, or up to a pause; none at the end. Blocking."""
    pieces: list[Work] = []
    rows = 0
    while rows < SLICE_ROWS and (piece := next(work, None)) is not None:
        pieces.append(piece)
        rows += SLICE_ROWS if piece.pause_s else piece.shard.rows
    return pieces


def _error(failure: Failure) -> Exception:
    """The exception that a worker raised."""
    kind: Any = getattr(errors, failure.kind, None) if failure.kind else None
    if kind is None:
        return RuntimeError(f"a worker failed:\n{failure.text}")
    if issubclass(kind, SpecError):
        return SpecError(failure.text.split("\n"))
    if issubclass(kind, OutputError):
        return OutputError(failure.text)
    found: ScorerError = kind(failure.text)
    return found


def leave(broker: Broker, order: Order) -> None:
    """Gives every worker this order with its next answer, where it is stricter than the last."""
    broker.order = max(broker.order, order)
