"""Puts the rows of a run into batches: as many as the provider and the caps take at the moment."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np

from scorer.batch.building import Built
from scorer.batch.cutting import CAPS, Room
from scorer.batch.intents import intend, new_nonce
from scorer.batch.model import BatchModel
from scorer.batch.open_chunks import OpenChunk, row_sets
from scorer.batch.rows import Numbers
from scorer.batch.types import Bounds
from scorer.counted import counted
from scorer.errors import TransientError
from scorer.job.batch_collecting import Collecting
from scorer.job.batch_state import BatchState, Lane, mask_of
from scorer.limits import Budget, Demand
from scorer.limits.budget import PICO
from scorer.output.chunk_files import ChunkLine
from scorer.types import Work

Sent = Literal["sent", "blocked", "rest"]
"""A chunk was sent or rows were finished; some rows wait for another round; none is left, or few for the end."""


class Submitting:
    """Sends new batches. `paused` says not to; `everything` also sends fewer requests than `min_requests`.

    `rest` has for each model that leaves rows for the online endpoint a sentence that says so, with the money.
    """

    def __init__(self, state: BatchState, budget: Budget, collecting: Collecting) -> None:
        self._state = state
        self._budget = budget
        self._collecting = collecting
        self.paused = self.everything = False
        self.rest: dict[str, str] = {}

    async def submit(self) -> bool:
        """Puts as many rows into batches as may be. True where some wait for the next round.

        Raises SetupError, and BudgetSpent where nothing is out and no row's requests fit the caps.
        """
        waits = False
        self.rest.clear()
        for lane in self._state.lanes.values():
            while not (self._state.drain.asked or self._state.halt.asked):
                if lane.held or self.paused:
                    waits = waits or self._state.rows.todo(lane.model.alias) > 0
                    break
                sent = await self._submit_one(lane)
                if sent != "sent":
                    waits = waits or sent == "blocked"
                    break
        return waits

    async def _submit_one(self, lane: Lane) -> Sent:
        """Builds one chunk, and sends it where it is worth it."""
        state, model = self._state, lane.model
        alias, live = model.alias, self._state.chunks.live
        failed = [one for one in state.chunks.of_model(alias, "failed") if self._any_todo(one, alias)]
        suspect = min(failed, key=lambda one: one.chunk.requests, default=None)  # the smallest: halves are halved
        todo, least = state.rows.todo(alias), 1 if self.everything else model.min_requests
        if not todo:
            return "rest"
        if suspect is None and todo < least and live:
            return "blocked"
        if (room := self._room(lane, suspect)) is None:
            return "blocked"
        nonce = new_nonce(state.opened.manifest.id or "run", secrets.token_hex)
        works = self._works(alias, suspect)
        built: Built = await state.opened.offload(state.builder.build, model, nonce, works, room)
        with built.file:
            await self._note(built, alias)
            lines = built.lines
            if not lines:
                return self._nothing_fits(built)
            if suspect is None and len(lines) < least:
                if state.chunks.live:
                    return "blocked"
                if built.cut.full in (None, *CAPS) and not built.more and self._leave(model, built):
                    return "rest"
            if not await self._ready(lane) or not self._budget.owned():
                return "blocked"
            await self._send(lane, nonce, built, lines)
        return "sent"

    def _leave(self, model: BatchModel, built: Built) -> bool:
        """Whether the last rows, fewer than fill a batch, are asked online; then `rest` says so.

        Where all of them fit into one batch and the caps may not last for them online, they go into that batch.
        """
        pico = sum(line.pico for line in built.lines)
        few = f"fewer requests than model.batch.min_requests = {model.min_requests}"
        said = f"Asked online, at the online price: {counted(self._state.rows.todo(model.alias), 'row')}, since"
        if built.cut.full is not None:
            self.rest[model.alias] = f"{said} the caps leave a batch {few}."
            return True
        online = round(pico * model.online_times)
        if any(self._budget.over(Demand(0, 0, sum(line.tokens for line in built.lines), online))):
            return False
        money = f" That is {online / PICO:.4g} USD at most; in a batch it is {pico / PICO:.4g}." if pico else ""
        self.rest[model.alias] = f"{said} they need {few}.{money}"
        return True

    async def _note(self, built: Built, alias: str) -> None:
        """Stores what was finished on the way."""
        state = self._state
        state.leave_out(built.unread)
        for row, step in built.finished:
            state.finished(row, step)
        for copy in built.copies:
            state.copied(copy)
        for shard, number in built.idle:
            state.rows.set_todo({shard: np.array([number])}, [alias], to=False)
        await state.opened.store.room()
        await state.close_finished()

    async def _ready(self, lane: Lane) -> bool:
        """Whether the provider answers. Before the first batch is sent its clock has to be known."""
        if not lane.ready:
            try:
                await lane.exchange.ready()
            except TransientError as error:
                self._state.why, lane.held = error.detail, True
                return False
            lane.ready = True
        return True

    async def _send(self, lane: Lane, nonce: str, built: Built, lines: Sequence[ChunkLine]) -> None:
        state, alias = self._state, lane.model.alias
        assert built.call is not None
        chunk = await intend(state.files, state.opened.ledger, nonce, lines, state.opened.offload)
        one = OpenChunk(chunk, alias, _rows_of(lines), sum(turn.prompt_tokens for turn in built.cut.turns))
        state.chunks.put(one)
        state.rows.set_todo(one.rows, [alias], to=False)
        try:
            await lane.exchange.send(one, built.file, built.size, built.call)
        finally:
            if one.chunk.state == "closed":
                state.chunks.remove(one)
                state.release(one)
                lane.held = True
        if one.chunk.state == "failed":
            await self._collecting.failed(one)
        await state.close_finished()

    def _any_todo(self, one: OpenChunk, alias: str) -> bool:
        return any(part.todo[alias][numbers].any() for part, numbers in self._state.rows.within(one.rows))

    def _works(self, alias: str, suspect: OpenChunk | None) -> Iterator[Work]:
        rows = self._state.rows
        if suspect is None:
            return rows.works((part, part.todo[alias]) for part in rows.parts)
        return rows.works(
            (part, part.todo[alias] & mask_of(part.shard, numbers)) for part, numbers in rows.within(suspect.rows)
        )

    def _room(self, lane: Lane, suspect: OpenChunk | None) -> Room | None:
        """What the next chunk may hold; None where no more prompt tokens may be enqueued now."""
        model, budget = lane.model, self._budget
        tokens, pico = budget.committed
        enqueued = model.enqueued_tokens
        if enqueued is not None:
            out = sum(one.prompt_tokens for one in self._state.chunks.live if one.model == model.alias)
            if out and out >= enqueued:
                return None
            enqueued -= out
        room = Room(
            Bounds(min(lane.most, model.bounds.requests), model.bounds.bytes),
            enqueued,
            None if budget.max_tokens is None else max(0, budget.max_tokens - tokens),
            None if budget.max_pico is None else max(0, budget.max_pico - pico),
        )
        return room if suspect is None else room.halved(suspect.chunk.requests)

    def _nothing_fits(self, built: Built) -> Sent:
        """No turn was cut: there is none, or the first one is beyond a cap. Raises BudgetSpent where none ever fits."""
        if built.more or built.cut.over is None:
            return "sent" if built.finished or built.idle or built.copies else "rest"
        if self._state.chunks.live:
            return "blocked"
        lines = built.cut.over.lines
        demand = Demand(0, 0, sum(line.tokens for line in lines), sum(line.pico for line in lines))
        return "sent" if self._budget.fits(demand) else "blocked"


def _rows_of(lines: Sequence[ChunkLine]) -> dict[str, Numbers]:
    by_shard: dict[str, list[int]] = {}
    for line in lines:
        by_shard.setdefault(line.shard, []).append(line.row)
    return row_sets((shard, np.array(rows, dtype=np.int64)) for shard, rows in by_shard.items())
