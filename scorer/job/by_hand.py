"""Batches by hand: a start that writes requests to files, or takes results from files, and sends nothing."""

from __future__ import annotations

from dataclasses import field

from scorer.batch.by_hand import END, HandExchange, Sorted, sort_results
from scorer.batch.open_chunks import OpenChunk
from scorer.counted import counted
from scorer.errors import BatchesOut, SpecError
from scorer.frozen import dataclass
from scorer.job.batch_collecting import Collecting
from scorer.job.batch_state import BatchState
from scorer.job.batch_submitting import Submitting
from scorer.output.batches_out import BatchesOut as Outside
from scorer.output.chunk import Event


@dataclass(slots=True, eq=False)
class ByHand:
    """What to do: write requests into `folder`; take `results`; or `give_up` chunks that are out, all or `files`.

    After the start: `written` are the files with the requests in each, `taken` and `before` the results that were taken
    now and before, `nobodys` how many in a file belong to no export, `given_up` the rows that returned, `left` the
    chunks and rows that are still out by hand.
    """

    folder: str | None = None
    results: tuple[str, ...] = ()
    give_up: bool = False
    files: tuple[str, ...] = ()
    written: list[tuple[str, int]] = field(default_factory=list)
    taken: int = 0
    before: int = 0
    nobodys: dict[str, int] = field(default_factory=dict)
    given_up: int = 0
    left: Outside = field(default_factory=Outside)

    async def run(self, state: BatchState, collecting: Collecting, submitting: Submitting) -> None:
        """One start. Raises BatchesOut where rows are left, SpecError, InputError, BudgetSpent."""
        if not state.lanes:
            raise SpecError(['No model of this run can be asked by files: it needs provider = "openai", one address.'])
        if self.results:
            await self._mark(state)
        await collecting.take_fetched()
        if self.give_up:
            await self._give_up(state)
        if self.folder is not None:
            await self._export(state, submitting, self.folder)
        out = _by_hand(state)
        self.left = Outside(len(out), sum(one.count for one in out), None)
        if state.rows.left:
            raise BatchesOut(f"{state.rows.left:,} rows have no result yet.")

    async def _export(self, state: BatchState, submitting: Submitting, folder: str) -> None:
        for lane in state.lanes.values():
            exchange = HandExchange(lane.exchange, folder)
            await exchange.finish(state.chunks)
            lane.exchange, lane.ready = exchange, True
        submitting.everything = True
        try:
            await submitting.submit()
        finally:
            for lane in state.lanes.values():
                assert isinstance(lane.exchange, HandExchange)
                self.written += lane.exchange.written

    async def _mark(self, state: BatchState) -> None:
        out = {one.chunk.nonce: one for one in _by_hand(state)}
        api = next(iter(state.lanes.values())).model.api
        chunks = {nonce: one.chunk for nonce, one in out.items()}
        done = {one.chunk.nonce for one in state.chunks if one.chunk.state == "fetched"} | set(state.files.closed())
        found: Sorted = await state.opened.offload(sort_results, self.results, api, chunks, done)
        try:
            self.taken, self.before, self.nobodys = found.taken, found.before, dict(found.nobodys)
            for path, count in found.nobodys.items():
                state.opened.say(
                    f"{path}: {counted(count, 'result')} of no export of this run, such as {found.example[path]}, not "
                    "taken."
                )
            for nonce, file in found.of.items():
                await state.opened.offload(state.files.write_results, nonce, file)
                exchange = state.lane_of(out[nonce]).exchange
                await state.durable.mark(out[nonce], Event("ended", exchange.now))
                await state.durable.mark(out[nonce], Event("fetched"))
        finally:
            found.close()

    async def _give_up(self, state: BatchState) -> None:
        named = {path.rpartition("/")[2].removesuffix(END) for path in self.files}
        out = {one.chunk.nonce: one for one in _by_hand(state)}
        if unknown := sorted(named - out.keys()):
            raise SpecError([f"{name}{END} is no export of this run that is out." for name in unknown])
        for nonce, one in out.items():
            if not named or nonce in named:
                self.given_up += one.count
                await state.close(one, "given up")
                state.release(one)


def _by_hand(state: BatchState) -> list[OpenChunk]:
    return [one for one in state.chunks.live if one.chunk.by_hand]
