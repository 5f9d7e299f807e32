"""Downloads the results of batches that have ended, until they are whole; and finds out whose a batch is by them."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from typing import BinaryIO, cast

from scorer.batch.exchange import Exchange
from scorer.batch.intents import twin_entry
from scorer.batch.open_chunks import OpenChunk
from scorer.batch.results import Results
from scorer.batch.types import Batch, BatchApi, Gone
from scorer.errors import TransientError
from scorer.output.chunk import Chunk, Event
from scorer.output.chunk_files import ChunkFiles

FETCHES = 3
PAUSE_S = 0.5
"""Results that are fewer than the batch counts are asked for so many times a round; the first pause, then doubled."""
SHORT_S = 30.0
"""A round that begins so long after the end of a batch was first seen takes the results that are there."""


class Downloads:
    """The results of what an exchange has sent. Each method leaves a chunk as its log does, also where it raises."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._api: BatchApi = exchange.model.api
        self._durable = exchange.durable

    async def fetch(self, one: OpenChunk, batch: Batch) -> None:
        """Downloads the results of a batch that has ended; the chunk is then fetched.

        Where they are fewer than the batch counts, they are asked for again, some times at once and, until `SHORT_S`
        after its end was first seen, in later rounds; all that came is put together. Raises TransientError.
        """
        durable, exchange = self._durable, self._exchange
        if one.chunk.state == "created":
            await durable.mark(one, Event("ended", exchange.now))
        chunk = one.chunk
        late = exchange.now >= chunk.ended_at + SHORT_S
        with tempfile.TemporaryFile() as whole:
            await durable.offload(_load, durable.chunks, chunk.nonce, whole)
            complete = await self._gather(chunk, batch, cast(BinaryIO, whole))
            if not complete and not late:
                return
        await durable.mark(one, Event("fetched"))
        await exchange.discard(batch)

    async def _gather(self, chunk: Chunk, batch: Batch, whole: BinaryIO) -> bool:
        """Adds what downloads bring to what earlier ones brought, durable on return. True where it is complete.

        Ends after `FETCHES` downloads. Raises TransientError where each was cut.
        """
        durable, had = self._durable, await self._durable.offload(self._count, chunk, whole)
        complete, uncut, cut = False, False, TransientError("it was not asked for")
        for number in range(FETCHES):
            if number:
                await asyncio.sleep(PAUSE_S * 2 ** (number - 1))
            size = whole.seek(0, 2)
            try:
                if number:
                    batch = await self._exchange.look(chunk) if batch.awaited else batch
                await self._download(batch.results, whole)
                uncut = True
            except TransientError as error:
                cut = error
            found = await durable.offload(self._count, chunk, whole)
            if found == had:
                whole.truncate(size)
            had = found
            expected = chunk.requests if batch.uncounted else batch.answered
            complete = found >= expected and not batch.awaited
            if complete:
                break
        await durable.offload(durable.chunks.write_results, chunk.nonce, whole)
        if not complete and not uncut:
            raise cut
        return complete

    async def _download(self, ids: Iterable[str], into: BinaryIO) -> None:
        for id in ids:
            with tempfile.TemporaryFile() as part:
                try:
                    await self._api.fetch(id, cast(BinaryIO, part))
                except Gone as error:
                    self._durable.say(f"Results are gone at the provider: {error}")
                    continue
                await self._durable.offload(_append, part, into)

    def _count(self, chunk: Chunk, file: BinaryIO) -> int:
        return Results(self._api, chunk, lambda: file).found

    async def read_twins(self, one: OpenChunk) -> None:
        """Enters the bills of a chunk's second batches that have ended. Raises TransientError."""
        durable, chunk = self._durable, one.chunk
        for batch_id in sorted(chunk.twins_open):
            entry = twin_entry(chunk.nonce, batch_id)
            with suppress(Gone):
                batch = await self._api.look(batch_id)
                if batch.status == "running":
                    continue
                with tempfile.TemporaryFile() as whole:
                    await self._download(batch.results, cast(BinaryIO, whole))
                    results = await durable.offload(Results, self._api, chunk, lambda: whole)
                    await durable.settle(self._exchange.model, chunk, results, entry)
            await durable.mark(one, Event("twin_closed", batch_id))
            durable.ledger.close_batch(entry)
            await durable.ledger.written()


def _load(chunks: ChunkFiles, nonce: str, into: BinaryIO) -> None:
    """What earlier rounds have brought."""
    if chunks.has_results(nonce):
        with chunks.results(nonce) as kept:
            shutil.copyfileobj(kept, into, 1 << 20)


def _append(part: BinaryIO, into: BinaryIO) -> None:
    part.seek(0)
    shutil.copyfileobj(part, into, 1 << 20)
    if into.tell():
        into.seek(-1, 2)
        if into.read(1) != b"\n":
            into.write(b"\n")
