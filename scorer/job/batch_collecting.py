"""Asks after the batches of a run, and collects those that have ended: money first, then rows."""

from __future__ import annotations

from collections.abc import Coroutine, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from scorer.batch.open_chunks import OpenChunk
from scorer.batch.rows import Numbers
from scorer.batch.turns import Finished, Missing
from scorer.batch.types import Batch, Gone, NotAccepted
from scorer.errors import Rejected, SetupError, TransientError
from scorer.job.batch_state import BatchState, Lane
from scorer.types import Row, Work

Step = Finished | list[Missing]
_NONE: Numbers = np.empty(0, dtype=np.int64)


class Collecting:
    """Brings the batches of a start in."""

    def __init__(self, state: BatchState) -> None:
        self._state = state

    async def take_fetched(self) -> None:
        """Takes the rows of chunks that an earlier start has fetched."""
        fetched = [one for one in self._state.chunks if one.chunk.state == "fetched"]
        for one in fetched:
            await self._load(one)
        for one in fetched:
            await self._take(one)  # which closes none that is not taken yet

    async def look(self) -> None:
        """Asks after all batches, and collects what has ended. One that cannot be asked after is asked after later.

        Raises SetupError.
        """
        for alias, lane in self._state.lanes.items():
            mine = [one for one in self._state.chunks if one.model == alias]
            if any(one.chunk.unknown or one.chunk.state == "intent" for one in mine):
                await self._once(self._reconcile(lane, mine))
            for one in mine:
                if self._state.drain.asked:
                    return
                if one.chunk.twins_open:
                    await self._once(lane.downloads.read_twins(one))
                if one.chunk.state in ("created", "ended") and not one.chunk.by_hand:
                    await self._once(self._look_at(lane, one))

    async def _once(self, step: Coroutine[Any, Any, None]) -> None:
        """One step, which the next round takes again where the provider does not answer now."""
        try:
            await step
        except TransientError as error:
            self._state.why = error.detail
        except NotAccepted as error:
            raise SetupError(str(error)) from error

    async def _reconcile(self, lane: Lane, mine: Sequence[OpenChunk]) -> None:
        try:
            await lane.exchange.reconcile(mine)
        finally:
            for one in mine:
                if one.chunk.state == "closed":
                    self._state.chunks.remove(one)
                    self._state.release(one)

    async def _look_at(self, lane: Lane, one: OpenChunk) -> None:
        state, exchange = self._state, lane.exchange
        try:
            batch = await exchange.look(one.chunk)
        except Gone as error:
            lines = one.chunk.requests
            state.opened.say(f"{error} Its {lines:,} requests count as possibly billed; they are asked again.")
            await state.durable.lose(one.chunk)
            await state.close(one, "gone")
            state.release(one)
            return
        if batch.status == "failed":
            await self._refused(lane, one, batch)
        elif batch.status == "ended":
            await lane.downloads.fetch(one, batch)
            if one.chunk.state == "fetched":
                lane.most = min(lane.model.bounds.requests, 2 * lane.most)
                await self._take(one)
        elif state.cancels:
            await exchange.cancel(one.chunk)

    # --- a batch that was refused as a whole --------------------------------------------------------------------------

    async def _refused(self, lane: Lane, one: OpenChunk, batch: Batch) -> None:
        """For the moment, or for what is in it."""
        problem = batch.problem
        if problem is not None and problem.of_the_moment:
            lane.most, lane.held = max(1, one.chunk.requests // 2), True
            await self._state.close(one, problem.code)
            self._state.release(one)
            return
        why = "the provider gave no reason" if problem is None else problem.message or problem.code or "no reason given"
        await self._state.durable.fail(lane.model, one, why)
        await self.failed(one, None if problem is None else problem.line)

    async def failed(self, one: OpenChunk, line: int | None = None) -> None:
        """A chunk that failed is asked again in halves; the row at fault, where it is known or alone, is `Rejected`.

        `line` is the line that the provider complained of, from 1.
        """
        state, offload = self._state, self._state.opened.offload
        at_fault = one.rows if one.count == 1 else {}
        if not at_fault and line is not None and line <= one.chunk.requests:
            lines = await offload(state.files.lines, one.chunk.nonce)
            at_fault = {lines["shard"][line - 1].as_py(): np.array([lines["row"][line - 1].as_py()])}
        pieces = state.builder.read(state.works_of(at_fault), state.unread)
        while (rows := await offload(next, pieces, None)) is not None:
            for row in rows:
                said = f"The provider refused a batch because of this row: {one.chunk.why}"
                state.finished(row, Finished(None, row.problem or Rejected(said), ()))
        state.release(one)
        await state.close_finished()

    # --- results ------------------------------------------------------------------------------------------------------

    async def _load(self, one: OpenChunk) -> None:
        state, offload = self._state, self._state.opened.offload
        await offload(state.chunks.load, one, await offload(state.files.lines, one.chunk.nonce))

    async def _take(self, one: OpenChunk) -> None:
        """Enters a fetched chunk's bills, stores the rows that are finished by it, and says what the others lack.

        A row that is in another live chunk, of another model, waits for that.
        """
        state = self._state
        if one.results is None:
            await self._load(one)
        await state.durable.settle(state.lane_of(one).model, one.chunk, one.results)
        one.settled = True
        ready = state.chunks.without_live(one.rows, one)
        one.kept = {
            shard: np.setdiff1d(numbers, ready.get(shard, _NONE), assume_unique=True)
            for shard, numbers in one.rows.items()
        }
        unread: dict[str, str] = {}
        pieces = self._steps(state.works_of(ready), unread)
        while (steps := await state.opened.offload(next, pieces, None)) is not None:
            for row, step in steps:
                if isinstance(step, Finished):
                    state.finished(row, step)
                    if state.rows.any_left({row.shard: np.array([row.number])}):
                        self._keep(one, row)  # a canary that waits for those before it
                else:
                    self._asks_more(one, row, step)
            await state.opened.store.room()
        state.leave_out(unread)
        wrong = one.setup if not one.answered else None
        if wrong is not None:  # the next start asks afresh, with a set-up that may be right
            one.kept = {}
        await state.close_finished()
        if wrong is not None:
            raise wrong

    def _steps(self, works: Iterable[Work], unread: dict[str, str]) -> Iterator[list[tuple[Row, Step]]]:
        for rows in self._state.builder.read(works, unread):
            yield [(row, self._state.builder.step(row)) for row in rows]

    def _asks_more(self, one: OpenChunk, row: Row, missing: Sequence[Missing]) -> None:
        assert one.index is not None
        assert one.results is not None
        state = self._state
        asked = {state.chunks.model_of(each.request).alias for each in missing}
        state.rows.set_todo({row.shard: np.array([row.number])}, asked, to=True)
        results = one.results
        if any((found := results.of(line)) and found.reply for line in one.index.of(row.shard, row.number)):
            self._keep(one, row)

    def _keep(self, one: OpenChunk, row: Row) -> None:
        one.kept[row.shard] = np.union1d(one.kept.get(row.shard, _NONE), [row.number])
