"""One worker of a run: scores leased rows within leased limits and writes segments, over any transport.

It opens shards and writes segments and its own ledger file; the lock, run.json, progress.json, merging, sealing and
the order of the run are the owner's. It is given a wire (`Exchange`) and never asks what is behind it.
"""

from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, ExitStack, aclosing
from dataclasses import replace
from typing import Any

import msgspec

from scorer.build.assemble import ROOM_FOR_TEXT, Assembled, make_client
from scorer.build.plan import (
    ResultSchemas,
    RunPlan,
    check,
    in_order,
    make_parts,
    make_reader,
    rows_under_way,
)
from scorer.build.row_metrics import make_measure
from scorer.build.worker_share import WorkerShare
from scorer.canaries.known_rows import known_rows
from scorer.canaries.mixing import CanaryRows, patience_s
from scorer.engine import engine
from scorer.engine.admission import RowSlots
from scorer.engine.background import served
from scorer.errors import Interrupted, OutputError, ScorerError, ShardChanged
from scorer.files.files import Files
from scorer.files.lease import boot_s
from scorer.inputs.pieces import BATCH_ROWS, ReadStalled
from scorer.inputs.source import Reader, ahead, put_together
from scorer.limits.leased_budget import LeasedBudget
from scorer.output.layout import Layout
from scorer.output.ledger import Ledger
from scorer.output.partial_rows import PartialRows
from scorer.output.run_files import RunFiles
from scorer.output.worker_store import WorkerStore
from scorer.processes.event_loop import shielded, threads
from scorer.types import Offload, Row, Shard
from scorer.workers.broker_client import BrokerClient, Exchange
from scorer.workers.messages import Failure, Hello, Order, Slice
from scorer.workers.slice_reader import SliceReader


def ledger_name(owner: str, worker: int) -> str:
    """The name of a worker's ledger file; its rotations begin with it and a dot."""
    return f"{owner}-w{worker:05d}"


class Worker:
    """Scores what the broker leases until no row is left, or an order ends it.

    `hello` comes from the owner. `exchange` carries a report to the broker. Where the owner is gone it must end the
    process and not return: another owner may have taken the folder, and nothing may be written into it. However `run`
    ends, it stores finished rows and sends a last report. Where it fails, that report has the failure, and `run`
    returns. A worker may be run once.
    """

    def __init__(
        self,
        hello: Hello,
        files: Files,
        exchange: Exchange,
        *,
        offload: Offload | None = None,
        wall_s: Callable[[], float] = time.time,
        lived_s: Callable[[], float] = boot_s,
        loaded: Callable[[], None] = lambda: None,
        hurry: Callable[[], None] = lambda: None,
    ) -> None:
        self._hello = hello
        self._files = files
        self._exchange = exchange
        self._offload = offload
        self._wall_s = wall_s
        self._lived_s = lived_s
        self._loaded = loaded
        self._hurry = hurry
        self._drain = engine.StopFlag()
        self._scoring: asyncio.Task[None] | None = None
        self._left = False
        self._wires: Assembled | None = None
        self._slots: RowSlots | None = None
        self._canaries: CanaryRows | None = None

    async def run(self) -> None:
        """Scores to the end. Cancelling it stores and reports finished rows."""
        broker = BrokerClient(
            self._exchange,
            lease_s=self._hello.lease_s,
            on_order=self._on_order,
            lived_s=self._lived_s,
            workers=self._hello.workers,
            on_places=self._resize,
        )
        self._broker = broker
        failure: Failure | None = None
        try:
            with ExitStack() as stack:
                self._offload = self._offload or threads(stack)
                self._scoring = asyncio.ensure_future(self._score(self._plan()))
                await self._scoring
        except asyncio.CancelledError:
            if not self._left:
                raise
        except Interrupted:
            pass
        except ScorerError as error:
            failure = Failure(type(error).__name__, str(error))
        except Exception:  # noqa: BLE001 - a bug: the owner shows it whole
            failure = Failure("", traceback.format_exc())
        finally:
            await broker.talk(ended=True, failure=failure)

    def _plan(self) -> RunPlan:
        plan = check(self._hello.spec)
        if plan.fingerprint != self._hello.fingerprint:
            raise OutputError(
                f"worker {self._hello.worker} makes another fingerprint of the same run ({plan.fingerprint} instead of "
                f"{self._hello.fingerprint}). All workers need the same version of scorer and of the judge's package."
            )
        return replace(plan, fingerprint=self._hello.judge)

    def _resize(self) -> None:
        """Takes as many rows in flight as requests may be now."""
        if self._slots is not None and self._wires is not None:
            self._slots.resize(rows_under_way(self._wires.most_in_flight))

    def _fleet_changed(self) -> None:
        """Replicas may have joined: what holds for the others holds for them."""
        if self._broker.order is Order.DRAIN:
            for endpoint in self._broker.endpoints:
                endpoint.limiter.drain()
        self._broker.wake()
        self._resize()

    def _on_order(self, order: Order) -> None:
        self._drain.asked = True
        if order is Order.HURRY:
            self._hurry()
        if order is Order.DRAIN:
            for endpoint in self._broker.endpoints:
                endpoint.limiter.drain()
        elif self._scoring is not None:
            self._left = True
            self._scoring.cancel()

    async def _score(self, plan: RunPlan) -> None:
        hello, spec, broker, offload = self._hello, plan.spec, self._broker, self._offload
        assert offload is not None
        layout, loop = Layout(spec.output.path), asyncio.get_running_loop()
        async with AsyncExitStack() as stack:
            store = WorkerStore(
                RunFiles(
                    self._files,
                    layout,
                    hello.run,
                    hello.files,
                    ResultSchemas(plan, self._files).of,
                    hello.worker,
                    edition=hello.edition,
                    judge=hello.judge,
                    judges=hello.judges,
                ),
                offload=offload,
                flush_rows=spec.output.flush_rows,
                flush_s=spec.output.flush_s,
                measure=make_measure(spec, stack, workers=hello.workers, say=broker.say),
                say=broker.say,
                on_written=broker.publish,
                owned=broker.sure,
            )
            ledger = Ledger(
                self._files,
                layout.ledger,
                ledger_name(hello.owner, hello.worker),
                offload=offload,
                strict=hello.strict,
                gather_s=hello.gather_s,
            )
            broker.ledger = ledger
            store.write_after(ledger.costs_written)
            broker.allowance = LeasedBudget(
                ledger,
                tokens_capped=spec.limits.max_tokens is not None,
                money_capped=spec.limits.max_usd is not None,
                ask=broker.wake,
                room=store,
                owned=broker.fresh,
            )
            share = WorkerShare(hello.index, hello.workers, broker.leased, hello.served)
            wires = await make_client(spec, broker.allowance, stack, loop.time, share=share)
            reader = make_reader(plan, self._files)
            partial = PartialRows(self._files, layout.partial, hello.judge, worker=hello.worker, say=broker.say)
            await offload(partial.open)
            parts = make_parts(plan, wires.client, store, partial, self._wall_s, stack)
            canaries = broker.canaries = self._canaries = await self._canaries_of(plan)
            if canaries is not None:
                parts = canaries.around(parts)
            self._loaded()
            self._wires = wires
            wires.on_fleet.append(self._fleet_changed)
            self._slots = RowSlots(rows_under_way(wires.most_in_flight), ROOM_FOR_TEXT // hello.workers)
            scoring = self._stored(self._rounds(plan, wires, parts, store, reader), store, ledger, partial)
            await served(scoring, [broker, *wires.fleets])

    async def _canaries_of(self, plan: RunPlan) -> CanaryRows | None:
        """The canaries of this worker; None where the run has none. Those of all workers are due at different rows."""
        hello, canary = self._hello, plan.spec.canary
        if hello.canary_seed is None or canary is None:
            return None
        assert self._offload is not None
        known = await self._offload(known_rows, plan, self._files, canary, lambda _: None)
        return CanaryRows(
            known,
            canary.share,
            f"{hello.canary_seed} {hello.worker}",
            self._broker.answered_canary,
            clock=asyncio.get_running_loop().time,
            patience_s=patience_s(plan.spec),
            credit=(1.0 - canary.share) * (1.0 - hello.index / hello.workers),
        )

    async def _stored(
        self, scoring: Coroutine[Any, Any, None], store: WorkerStore, ledger: Ledger, partial: PartialRows
    ) -> None:
        """Scores, and stores finished rows however it ends. Reports to the broker go on meanwhile."""
        try:
            await served(scoring, [store, ledger])
        finally:
            if self._canaries is not None:
                self._canaries.flush()
            await shielded(self._close(store, ledger, partial), failure_first=True)

    async def _close(self, store: WorkerStore, ledger: Ledger, partial: PartialRows) -> None:
        assert self._offload is not None
        try:
            await store.close()
        finally:
            await ledger.close()
        await self._broker.sure()
        await self._offload(partial.close)

    async def _rounds(
        self, plan: RunPlan, wires: Assembled, parts: engine.RunContext, store: WorkerStore, reader: Reader
    ) -> None:
        """Scores until no row is left, stores all, and asks again: rows of other workers may have become free."""
        assert self._slots is not None
        forward = SliceReader(reader)
        while first := await self._broker.next_portion(wait=True):
            rows = self._batches(plan, wires, first, store, forward)
            await engine.run(
                parts,
                rows if self._canaries is None else self._canaries.mixed(rows),
                slots=self._slots,
                drain=self._drain,
            )
            await store.close()
            await self._broker.talk()

    async def _batches(
        self, plan: RunPlan, wires: Assembled, first: list[Slice], store: WorkerStore, forward: SliceReader
    ) -> AsyncGenerator[list[Row]]:
        assert self._offload is not None
        portion = first
        least = 1  # the first rows come soon
        while portion:
            read = ahead(put_together(self._read(portion, store, forward), least), self._offload)
            async with aclosing(in_order(plan, read, wires.in_flight)) as batches:  # type: ignore[type-var]
                async for batch in batches:
                    yield batch
            portion = await self._broker.next_portion(wait=False)
            least = BATCH_ROWS

    def _read(
        self, portion: list[Slice], store: WorkerStore, forward: SliceReader
    ) -> Iterator[list[Row] | ReadStalled]:
        """The rows of a portion, without those of a shard that is gone or changed, which is reported. Blocking."""
        for leased in portion:
            shard = Shard(**msgspec.structs.asdict(leased.shard))
            try:
                store.begin(shard, leased.generation, leased.number)
                yield from forward.read(shard, leased)
            except ShardChanged as error:
                forward.close()
                self._broker.unread(shard, str(error))
