"""Takes up the batches that earlier starts of a run left out: their rows are asked by no other request until then."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from scorer.batch.duplicates import Duplicates
from scorer.batch.intents import check_entries
from scorer.batch.open_chunks import OpenChunk
from scorer.errors import SetupError
from scorer.job.batch_state import BatchState
from scorer.output.chunk import Chunk
from scorer.types import Shard, Work


async def take_up(state: BatchState, work: Iterator[Work]) -> None:
    """Fills the rows of a start, and the chunks of earlier ones. Sends nothing.

    Chunks of another generation (a retry with keys of its own) are left alone, with their rows. Raises StorageError
    where the chunks and the ledger do not agree, SetupError where no model of the run file can collect a chunk.
    """
    opened, offload = state.opened, state.opened.offload
    folder = opened.layout.batches
    await offload(opened.files.sweep, folder)
    found: list[Chunk] = await offload(state.files.found)
    for entry in check_entries(found, opened.ledger.open_batches, folder):
        opened.ledger.close_batch(entry)
    await opened.ledger.written()
    foreign: list[OpenChunk] = []
    for chunk in found:
        if chunk.state == "closed":
            await offload(state.files.delete, chunk)
            continue
        one, judge = await offload(_opened, state, chunk)
        if judge != opened.plan.fingerprint:
            foreign.append(one)
        elif one.model in state.lanes:
            state.chunks.put(one)
        else:
            raise SetupError(
                f"Batch {chunk.batch_id or chunk.nonce} of this run is out, and this run file has no model that can "
                "collect it. Restore model.provider and model.base_url of the start that made it."
            )
    await add(state, work)
    outside = {shard for one in state.chunks for shard in one.rows}
    await add(state, _out(state, [shard for shard in opened.manifest.shards if shard.path in outside]))
    if state.canaries is not None:
        state.canaries.restore()
    for one in foreign:
        state.rows.exclude(one.rows)
    for one in state.chunks:
        state.rows.set_todo(one.rows, to=False)
    if state.duplicates is not None:
        for one in state.chunks:
            await offload(_note_asked, state, state.duplicates, one)
    for one in state.chunks:
        if one.chunk.state == "failed":
            await state.durable.settle(state.lane_of(one).model, one.chunk, None)
            state.release(one)


def _note_asked(state: BatchState, duplicates: Duplicates, one: OpenChunk) -> None:
    for rows in state.builder.read(state.works_of(one.rows), state.unread):
        for row in rows:
            duplicates.asks(row)


def _opened(state: BatchState, chunk: Chunk) -> tuple[OpenChunk, str]:
    lines, rows = state.files.lines(chunk.nonce), state.files.rows([chunk])
    model, judge = lines["model"][0].as_py(), lines["judge"][0].as_py()
    return OpenChunk(chunk, model, rows, sum(lines["prompt_tokens"].to_pylist())), judge


async def add(state: BatchState, work: Iterator[Work]) -> None:
    """Adds rows that are to be scored."""
    while (piece := await state.opened.offload(next, work, None)) is not None:
        if piece.pause_s:
            await asyncio.sleep(piece.pause_s)
        state.rows.add(piece)
    state.unread.update(state.opened.store.unread)


def _out(state: BatchState, shards: Sequence[Shard]) -> Iterator[Work]:
    """Rows of open chunks that this start does not ask for: what they cost is not thrown away."""
    for piece in state.opened.store.unscored(shards):
        out = np.zeros(piece.shard.rows, dtype=bool)
        for one in state.chunks:
            if piece.shard.path in one.rows:
                out[one.rows[piece.shard.path]] = True
        yield replace(piece, todo=out if piece.todo is None else out & piece.todo)
