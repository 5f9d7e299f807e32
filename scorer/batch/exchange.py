"""Brings chunks to a provider and finds out what became of them. Each step is durable before the next (decision 38).

Knows no rows and no judge. Each method leaves a chunk as its log does, also where it raises.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from typing import BinaryIO

from scorer.batch.durable import Durable
from scorer.batch.first_result import first_result
from scorer.batch.intents import twin_entry
from scorer.batch.model import BatchModel
from scorer.batch.open_chunks import OpenChunk
from scorer.batch.reconcile import Action, CancelSecond, Close, Listing, Mark, ReadFirstId, proof, reconcile, since
from scorer.batch.types import Batch, BatchApi, Gone, NotAccepted, Unresolved
from scorer.errors import SetupError, TransientError
from scorer.output.chunk import Chunk, Event
from scorer.types import Call

KEPT_S = 48 * 3600.0
"""A provider that does not know a batch of this age has deleted it; a younger one is looked for at the wrong place."""


class Exchange:
    """What is done at the provider of one model."""

    def __init__(self, model: BatchModel, durable: Durable) -> None:
        self.model = model
        self._api: BatchApi = model.api
        self.durable = durable
        self._cancelled: set[str] = set()

    @property
    def now(self) -> float:
        """The provider's clock, as last seen."""
        return self._api.now if self._api.now is not None else self.durable.wall_s()

    async def ready(self) -> None:
        """Looks whether the provider has batches, and at its clock. Raises TransientError, SetupError."""
        try:
            async for _ in self._api.listed(math.inf):
                break
        except (Gone, NotAccepted) as error:
            raise SetupError(
                f'{error} This address has no batch API. Set model.mode = "online", or model.base_url to an address '
                "that has one."
            ) from error

    # --- there --------------------------------------------------------------------------------------------------------

    async def send(self, one: OpenChunk, requests: BinaryIO, size: int, call: Call) -> None:
        """Sends a chunk whose intent is durable; `call` is one of its requests.

        It is then created, unclear, failed (the provider refused it) or closed (it surely was not made). Raises
        SetupError where the key or the address is wrong.
        """
        try:
            input_id = await self._api.upload(requests, size, one.chunk.nonce)
        except TransientError as error:
            self.durable.say(f"A file of requests could not be uploaded: {error.detail}. It is tried again.")
            await self.durable.close_chunk(one, "not uploaded")
            return
        except NotAccepted as error:
            await self._refused(one, error, of_rows=error.too_large)
            return
        except SetupError:
            await self.durable.close_chunk(one, "not uploaded")
            raise
        await self.durable.mark(one, Event("sending", self.now))
        try:
            batch = await self._api.create(requests, size, one.chunk.nonce, input_id, call)
        except Unresolved:
            await self.durable.mark(one, Event("unclear", self.now))
            return
        except (NotAccepted, TransientError, SetupError) as error:  # it surely was not made
            await self.discard(Batch("", "failed", 0.0, input_id=input_id))
            if isinstance(error, NotAccepted):
                await self._refused(one, error, of_rows=error.too_large or not input_id)
                return
            await self.durable.close_chunk(one, "not taken")
            if isinstance(error, SetupError):
                raise
            self.durable.say(f"A batch was not taken: {error.detail}. It is tried again.")
            return
        await self.durable.mark(one, Event("created", batch.id))

    async def _refused(self, one: OpenChunk, error: NotAccepted, *, of_rows: bool) -> None:
        if of_rows:
            await self.durable.fail(self.model, one, str(error))
            return
        await self.durable.close_chunk(one, "refused")
        raise SetupError(f"{error} The provider takes no such batch; check model.name and model.extra.")

    # --- what became of it --------------------------------------------------------------------------------------------

    async def reconcile(self, mine: Sequence[OpenChunk]) -> None:
        """Finds out which chunks exist of which that is not known. `mine` are all of the model that are not closed.

        Raises TransientError, SetupError; then what was found out so far is durable, and another call goes on.
        """
        chunks = [one.chunk for one in mine]
        at, now = since(chunks), self.now
        batches = [] if at is None else [batch async for batch in self._api.listed(at)]
        by_nonce = {one.chunk.nonce: one for one in mine}
        actions = reconcile(chunks, Listing(batches, now), names=self._api.names, grace_s=self.model.grace_s)
        for action in actions:
            await self._do(action, by_nonce[action.nonce])

    async def _do(self, action: Action, one: OpenChunk) -> None:
        match action:
            case Mark(_, event):
                await self.durable.mark(one, event)
            case Close():
                await self.durable.close_chunk(one, "never made")
            case ReadFirstId(_, batch_id):
                if one.chunk.unknown:  # else another candidate proved to be it
                    await self._prove(one, batch_id)
            case CancelSecond(_, batch_id):
                await self._cancel_second(one, batch_id)

    async def _prove(self, one: OpenChunk, batch_id: str) -> None:
        """Finds out whether a batch that has ended is the chunk's. Where no result comes, a later round looks again.

        A batch that counts answers and shows none until the time of grace is over is taken for the chunk's.
        """
        chunk = one.chunk
        with suppress(Gone):
            batch = await self._api.look(batch_id)
            found = await first_result(self._api, batch)
            if found is not None or not batch.answered:
                await self.durable.mark(one, proof(chunk, batch_id, found))
            elif self.now >= chunk.unclear_at + self.model.grace_s:
                await self.durable.mark(one, Event("created", batch_id))

    async def _cancel_second(self, one: OpenChunk, batch_id: str) -> None:
        chunk = one.chunk
        entry, ledger = twin_entry(chunk.nonce, batch_id), self.durable.ledger
        if entry not in ledger.open_batches:
            ledger.reserve_batch(entry, chunk.requests, *await self.durable.worst(chunk))
            await ledger.written()
        await self.durable.mark(one, Event("twin", batch_id))
        with suppress(Gone):
            await self._api.cancel(batch_id)

    async def look(self, chunk: Chunk) -> Batch:
        """The chunk's batch as it is now. Raises Gone where it was deleted, TransientError, SetupError."""
        try:
            return await self._api.look(chunk.batch_id)
        except Gone as error:
            if self.now - chunk.sending_at >= KEPT_S:
                raise
            raise SetupError(
                f"{error} This run made that batch, and its provider does not know it. Check model.base_url and the "
                "key: they have to be those of the start that made it. If it was deleted there, its requests are "
                "counted at their worst case 48 hours after it was made, and asked again."
            ) from error

    async def cancel(self, chunk: Chunk) -> None:
        """Asks for the end of the chunk's batch, once. It may complete all the same. Raises TransientError."""
        if chunk.batch_id not in self._cancelled:
            with suppress(Gone):
                await self._api.cancel(chunk.batch_id)
            self._cancelled.add(chunk.batch_id)

    async def discard(self, batch: Batch) -> None:
        """Deletes the requests that were uploaded for a batch, where that is possible now."""
        with suppress(TransientError, NotAccepted, SetupError):  # an uploaded file costs nothing
            await self._api.discard(batch)
