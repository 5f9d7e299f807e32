"""The owner's side of a run with workers: supplies shards, adopts segments, recovers rows of dead workers.

It has the store, which seals, and the ledger, into whose folder the workers write theirs. It starts no worker.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from scorer import errors
from scorer.build.assemble import endpoint_paces
from scorer.build.plan import RunPlan
from scorer.config.spec import fingerprint
from scorer.errors import OutputError, ScorerError, SpecError, StorageError
from scorer.files.files import Files
from scorer.limits.limiter import UNSURE_S
from scorer.output import ledger
from scorer.output import segments as seg
from scorer.output.damage import set_aside
from scorer.output.layout import Layout, Segment
from scorer.output.manifest import Manifest
from scorer.output.store import Store
from scorer.types import Offload, Shard, Work
from scorer.workers.broker import Broker
from scorer.workers.messages import Answer, Failure, Hello, Order, Published, Report, published
from scorer.workers.worker import ledger_name


class Coordinator:
    """Connects the broker of a run with its store and its ledger. The caller holds the lock and serves the store.

    `served` has the addresses of embedded judges by alias, `gather_s` is how long the workers' ledgers wait, `owned`
    the lock's `sure`; `say` gets the sentences that workers report. Broker and owner are one process: who has one has
    the other.
    """

    def __init__(
        self,
        plan: RunPlan,
        manifest: Manifest,
        files: Files,
        layout: Layout,
        store: Store,
        own_ledger: ledger.Ledger,
        *,
        workers: int,
        served: dict[str, str],
        offload: Offload,
        clock: Callable[[], float],
        gather_s: float,
        owned: Callable[[], bool] = lambda: True,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        limits = plan.spec.limits
        self.broker = Broker(
            endpoint_paces(plan.spec),
            workers=workers,
            before=own_ledger.totals,
            max_tokens=limits.max_tokens,
            max_usd=limits.max_usd,
            clock=clock,
        )
        self.workers = workers
        self._plan = plan
        self._manifest = manifest
        self._files = files
        self._layout = layout
        self._store = store
        self._ledger = own_ledger
        self._served = served
        self._gather_s = gather_s
        self._owned = owned
        self._say = say
        self._offload = offload
        self._shards = {shard.path: shard for shard in manifest.shards}
        self._last_number = 0
        self._heard = asyncio.Event()

    def number_from(self, first: int) -> None:
        """Numbers workers from here on: where one may outlive its owner, the next owner's must not write its files."""
        self._last_number = first

    def hello(self, index: int) -> Hello:
        """The first message to a new worker at this index; its number is new."""
        self._last_number += 1
        return Hello(
            worker=self._last_number,
            index=index,
            workers=self.workers,
            spec=dict(self._manifest.spec),
            run=self._manifest.id,
            fingerprint=fingerprint(self._plan.covers),
            files=self._manifest.fingerprint,
            judge=self._plan.fingerprint,
            judges=self._manifest.judges,
            edition=self._manifest.edition,
            owner=self._ledger.owner,
            served=self._served,
            lease_s=self.broker.lease_s,
            strict=self._ledger.strict,
            gather_s=self._gather_s,
        )

    async def feed(self, work: Iterator[Work]) -> None:
        """Offers the broker the next shard before the last one is leased, to the end."""
        while (piece := await self._offload(next, work, None)) is not None:
            if piece.pause_s:
                await asyncio.sleep(piece.pause_s)
                continue
            self.broker.offer(piece, self._store.free_number(piece.shard))
            while not self.broker.rows.hungry:
                self._heard.clear()
                await self._heard.wait()
        self.broker.rows.close()

    async def answer(self, worker: int, report: Report) -> Answer:
        """`Broker.exchange`, and what was published is taken up at once; no answer while the folder is not surely ours.

        So a worker that is answered may go on for a while, and one that is not soon writes and sends nothing more.
        """
        while not self.owned():  # noqa: ASYNC110 - storage is asked by a thread of its own, which tells nobody
            await asyncio.sleep(UNSURE_S)
        return self.exchange(worker, report)

    def exchange(self, worker: int, report: Report) -> Answer:
        """The same without the wait."""
        answer = self.broker.exchange(worker, report)
        self.take_up()
        for text in report.said:
            self._say(text)
        self._heard.set()
        return answer

    def owned(self) -> bool:
        """True while the folder is surely this owner's."""
        try:
            return self._owned()
        except (OutputError, StorageError):
            return False

    def take_up(self) -> None:
        """Adopts the segments that workers reported; finished shards are then sealed."""
        told, self.broker.published = self.broker.published, []
        for worker, segment in told:
            self._adopt(worker, segment)

    def _adopt(self, worker: int, told: Published) -> None:
        stem = self._shards[told.path].stem
        segment = Segment(stem, told.generation, worker, told.first, told.last, told.number, told.number)
        rows = len(told.rows) // np.dtype(np.int64).itemsize
        counts = seg.Counts(rows=rows, scored=told.scored, errors=dict(told.errors), copied=told.copied)
        self._store.adopt(told.path, segment, counts)

    async def lost(self, worker: int) -> None:
        """Recovers from a worker's death: its segments count, its other rows are leased anew. It must write no more."""
        self.take_up()
        for work in self.broker.rows.holds(worker):
            for told in await self._offload(self._left_behind, worker, work):
                self.broker.rows.published(told.path, told.generation, np.frombuffer(told.rows, dtype=np.int64))
                self._adopt(worker, told)
        name = ledger_name(self._ledger.owner, worker)
        totals = await self._offload(ledger.totals, self._files, self._layout.ledger, name)
        self.broker.lost(worker, totals)
        self._heard.set()

    def _left_behind(self, worker: int, work: Work) -> list[Published]:
        """The segments that a dead worker wrote of a piece of work, reported or not."""
        shard: Shard = work.shard
        found = []
        for segment in self._layout.segments_of(self._files, shard.stem):
            if (segment.worker, segment.generation) == (worker, work.generation) and not segment.merged:
                path = self._layout.segment(segment)
                try:
                    with seg.broken(path):
                        counts = seg.read_about(self._files, path)[1]
                        rows = seg.read_columns(self._files, path, ["row"]).column("row").to_numpy()
                except seg.Broken:
                    set_aside(self._files, self._layout, path)
                    continue
                found.append(published(shard.path, segment, rows, counts))
        return found

    def check(self) -> None:
        """Raises what ended a worker, if anything did."""
        if self.broker.failure is not None:
            raise _error(self.broker.failure)


def _error(failure: Failure) -> Exception:
    """What a worker raised, as if it had been raised here."""
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
