"""Scores the rows of an open output folder through provider batches; what is left over is asked online.

The third `Scoring` of a job. A start first finds out what became of the chunks of earlier starts, and takes their rows
out of its work. Then it goes round: ask after the batches, collect those that have ended, submit what fits, wait. No
row stays in memory while it is out: on collection its input is read again and its judge run over the stored replies.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from typing import cast

from scorer.batch.building import Builder, InputRows
from scorer.batch.downloads import Downloads
from scorer.batch.duplicates import Duplicates
from scorer.batch.durable import Durable
from scorer.batch.exchange import Exchange
from scorer.batch.model import BatchModel
from scorer.batch.open_chunks import OpenChunks
from scorer.batch.rows import BatchRows
from scorer.batch.turns import KnownRows
from scorer.build.batch_models import MakeApi, batch_models
from scorer.build.open_run import OpenRun
from scorer.build.plan import make_parts, make_reader
from scorer.canaries.batches import BatchCanaries
from scorer.canaries.known_rows import RowsAlone
from scorer.canaries.watching import Canaries
from scorer.engine import engine
from scorer.errors import BatchesOut, TransientError
from scorer.job.batch_collecting import Collecting
from scorer.job.batch_online import OnlineRows
from scorer.job.batch_opening import add, take_up
from scorer.job.batch_state import BatchState, Lane, Waiting
from scorer.job.batch_submitting import Submitting
from scorer.job.by_hand import ByHand
from scorer.job.scoring import Connect, Range, StartedWork
from scorer.limits import Budget
from scorer.limits.live_settings import LiveSettings
from scorer.limits.load import LimiterStats
from scorer.output.batches_out import BatchesOut as Outside
from scorer.output.canary_files import SHARD
from scorer.output.chunk_files import ChunkFiles
from scorer.output.ledger_totals import Totals
from scorer.types import Client, Work

NextWave = Callable[[bool], Iterator[Work] | None]
JITTER = 0.1
"""The pause between two rounds differs by so much."""


class BatchScoring:
    """Scores through batches. `deadline` is when what is out is asked online instead, in seconds since 1970.

    `submits`: new batches are made; else those of earlier starts are collected, and all other rows asked online.
    `drain` stops it early, between two steps; nothing is cancelled at the provider. `halt`: nothing more is asked, what
    is out is cancelled, and what it answered by then is collected. `next_wave` gives further rows once all before are
    finished: for a batch, or with False for the online endpoint; None where there are none. `make_api` is for tests.
    With `by_hand` nothing is sent: requests are written to files, or results are taken from files.
    """

    def __init__(
        self,
        opened: OpenRun,
        drain: engine.StopFlag,
        halt: engine.StopFlag,
        *,
        next_wave: NextWave = lambda _batched: None,
        connect: Connect,
        answered: Callable[[float], None] | None = None,
        waiting: Waiting = "wait",
        deadline: float | None = None,
        submits: bool = True,
        make_api: MakeApi | None = None,
        by_hand: ByHand | None = None,
        canaries: Canaries | None = None,
    ) -> None:
        limits = opened.plan.spec.limits
        self._opened = opened
        self._drain, self._halt = drain, halt
        self._next_wave = next_wave
        self._waiting = waiting
        self._deadline = deadline
        self._submits = submits
        self._make_api = make_api
        self._by_hand = by_hand
        self._canaries = canaries
        self._settings = LiveSettings()
        self._budget = Budget(opened.ledger, max_tokens=limits.max_tokens, max_usd=limits.max_usd, owned=opened.owned)
        self._woken = asyncio.Event()
        self._state: BatchState | None = None
        self._submitting: Submitting | None = None
        self._online = OnlineRows(opened, halt, connect=connect, answered=answered)

    async def begin(self, work: Iterator[Work], stack: AsyncExitStack) -> StartedWork:
        opened, plan = self._opened, self._opened.plan
        models = await batch_models(plan.spec, opened.offload, stack, self._make_api)
        files = ChunkFiles(opened.files, opened.layout.batches)
        chunks = OpenChunks(models, files.results)
        stack.callback(chunks.close)
        watch, rows, read = self._canaries, BatchRows([*models]), InputRows(make_reader(plan, opened.files))
        canaries = None if watch is None else BatchCanaries(opened, watch, chunks, rows, read)
        known = KnownRows(opened.partial if watch is None else RowsAlone(opened.partial), chunks.known_of)
        parts = make_parts(plan, cast(Client, None), opened.store, known, opened.wall_s, stack)
        duplicates = Duplicates(plan.judge, parts.now_us) if plan.spec.judge.dedupe else None
        if duplicates is not None:
            stack.callback(duplicates.close)
        durable = Durable(files, opened.ledger, opened.offload, opened.wall_s, opened.say)
        self._state = state = BatchState(
            opened,
            self._drain,
            self._halt,
            {alias: _lane(model, durable) for alias, model in models.items()},
            rows,
            chunks,
            files,
            durable,
            known,
            Builder(
                plan.judge,
                read.read if canaries is None else canaries.read,
                known.known_of,
                chunks.model_of,
                plan.fingerprint,
                duplicates,
            ),
            parts,
            duplicates,
            self._deadline,
            canaries,
        )
        collecting = Collecting(state)
        self._submitting = Submitting(state, self._budget, collecting)
        self.apply(self._settings)
        return self._run(state, collecting, self._submitting, work), []

    def drain(self) -> None:
        self._woken.set()
        self._online.drain()

    def apply(self, settings: LiveSettings) -> None:
        self._settings = settings
        self._budget.raise_to(max_tokens=settings.max_tokens, max_usd=settings.max_usd)
        if self._submitting is not None:
            self._submitting.paused = settings.paused
        self._online.apply(settings)
        self._woken.set()

    @property
    def concurrency(self) -> Range:
        return self._online.concurrency

    def hurry(self) -> None:
        pass

    @property
    def unread(self) -> dict[str, str]:
        return {} if self._state is None else self._state.unread

    @property
    def totals(self) -> Totals:
        return self._opened.ledger.totals

    @property
    def load(self) -> LimiterStats:
        why = None if self._state is None else self._state.why
        online = self._online.load or LimiterStats(paused=self._settings.paused)
        return replace(online, why=online.why or why)

    @property
    def places(self) -> int:
        return self._online.places

    @property
    def batches(self) -> Outside:
        live = [] if self._state is None else self._state.chunks.live
        since = [one.chunk.sending_at for one in live if one.chunk.sending_at]
        rows = [len(numbers) for one in live for path, numbers in one.rows.items() if not path.startswith(SHARD)]
        return Outside(len(live), sum(rows), min(since, default=None))

    # --- rounds -------------------------------------------------------------------------------------------------------

    async def _run(
        self, state: BatchState, collecting: Collecting, submitting: Submitting, work: Iterator[Work]
    ) -> None:
        await take_up(state, work)
        if self._by_hand is not None:
            if self._by_hand.folder is not None:
                await self._add_wave(state)
            self._draw(state)
            await self._by_hand.run(state, collecting, submitting)
            return
        if self._canaries is not None and self._canaries.doubted:
            await self._online.score(self._opened, iter(()), self._canaries)
            if self._canaries.doubted or self._drain.asked:
                return
        await self._until_ready(state)
        if self._drain.asked:
            return
        await collecting.take_fetched()
        self._draw(state)
        if not self._submits:
            await self._online.rest(state, todo=True)
        await self._finish(state, collecting, submitting)
        while not self._drain.asked and await self._add_wave(state):
            await self._finish(state, collecting, submitting)
        if state.canaries is not None and not self._drain.asked:
            state.canaries.flush()

    def _draw(self, state: BatchState) -> None:
        if state.canaries is not None:
            state.canaries.draw()

    async def _add_wave(self, state: BatchState) -> bool:
        """Adds the next rows. False where there are none."""
        work = None if self._halt.asked else self._next_wave(self._submits and not state.late)
        if work is not None:
            await add(state, work)
            self._draw(state)
        return work is not None and state.rows.left > 0

    async def _finish(self, state: BatchState, collecting: Collecting, submitting: Submitting) -> None:
        """Scores the rows that are known so far, in batches and then online."""
        while not self._drain.asked and not await self._round(state, collecting, submitting):
            await self._rest(state)
        if self._drain.asked:
            return
        if self._halt.asked:
            await state.close_finished()
            return
        if self._waiting == "collect" and state.rows.left:
            raise BatchesOut(
                f"{state.rows.left:,} rows are in no batch, and --collect submits none. Run the command without it."
            )
        for sentence in () if state.cancels else submitting.rest.values():
            self._opened.say(sentence)
        exported = len(state.chunks.live)
        await self._online.rest(state, todo=exported > 0)
        if exported and not self._drain.asked:
            raise BatchesOut(
                f"{self.batches.sentence(self._opened.wall_s())}, by hand. `scorer import` takes their results, and "
                "with --give-up returns their rows."
            )

    async def _until_ready(self, state: BatchState) -> None:
        """Waits until the providers of batches that are out answer, or the run is to stop."""
        aliases = {one.model for one in state.chunks if not one.chunk.by_hand}
        lanes, pause_s = [state.lanes[alias] for alias in aliases], 1.0
        while not self._drain.asked:
            try:
                for lane in lanes:
                    await lane.exchange.ready()
                    lane.ready = True
            except TransientError as error:
                state.why = error.detail
                await self._pause(pause_s)
                pause_s = min(2 * pause_s, min(lane.model.poll_s for lane in lanes))
            else:
                state.why = None
                return

    async def _round(self, state: BatchState, collecting: Collecting, submitting: Submitting) -> bool:
        """One round. True where nothing is out, and nothing more can be put into a batch."""
        for lane in state.lanes.values():
            lane.held = False
        state.why = None
        await collecting.look()
        submits = self._submits and self._waiting != "collect" and not state.cancels
        waits = await submitting.submit() if submits else False
        live = [one for one in state.chunks.live if not one.chunk.by_hand]
        if not live and not waits:
            return True
        if self._waiting != "wait" and not self._drain.asked:
            said = self.batches.sentence(self._opened.wall_s()) if live else "No batch could be sent at the moment"
            raise BatchesOut(f"{said}. The same command collects them.")
        return False

    async def _rest(self, state: BatchState) -> None:
        poll_s = min(lane.model.poll_s for lane in state.lanes.values()) * random.uniform(1 - JITTER, 1 + JITTER)
        if self._deadline is not None and (left := self._deadline - self._opened.wall_s()) > 0:
            poll_s = min(poll_s, left)
        await self._pause(poll_s)

    async def _pause(self, seconds: float) -> None:
        if self._drain.asked:
            return
        self._woken.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._woken.wait()


def _lane(model: BatchModel, durable: Durable) -> Lane:
    exchange = Exchange(model, durable)
    return Lane(model, exchange, Downloads(exchange), model.bounds.requests)
