"""Brings chunks to a provider and their results back. Each step is durable before the next one (decision 38).

Knows no rows and no judge. Each method leaves a chunk as its log does, also where it raises.
"""

from __future__ import annotations

import asyncio
import math
import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import field
from typing import BinaryIO, Protocol, cast

from scorer.batch.intents import BatchLedger, twin_entry
from scorer.batch.model import BatchModel
from scorer.batch.open_chunks import OpenChunk
from scorer.batch.reconcile import Action, Listing, Mark, Prove, Strike, TakeTwin, proof, reconcile, since
from scorer.batch.results import Results, first_custom_id
from scorer.batch.settling import line_bills
from scorer.batch.types import Batch, BatchApi, Gone, NotAccepted, Unresolved
from scorer.errors import SetupError, TransientError
from scorer.frozen import dataclass
from scorer.output.chunk import Chunk, Event
from scorer.output.chunk_files import ChunkFiles
from scorer.output.open_batches import LineBill
from scorer.types import Call, Offload

FETCHES = 3
PAUSE_S = 0.5
"""Results that are fewer than the batch counts are asked for so many times a round; the first pause, then doubled."""
SHORT_S = 30.0
"""A round that begins so long after the end of a batch was first seen takes the results that are there."""
KEPT_S = 48 * 3600.0
"""A provider that does not know a batch of this age has deleted it; a younger one is looked for at the wrong place."""


class SettlingLedger(BatchLedger, Protocol):
    """What is needed of `scorer.output.ledger.Ledger`."""

    def settle_lines(self, nonce: str, bills: Sequence[LineBill]) -> None: ...


@dataclass(frozen=True, slots=True)
class Durable:
    """Where chunks and money are written. `say` gets sentences for the user; `wall_s` is the clock of this machine."""

    chunks: ChunkFiles
    ledger: SettlingLedger
    offload: Offload
    wall_s: Callable[[], float]
    say: Callable[[str], None] = field(default=lambda _: None)


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
            await self.strike(one, "not uploaded")
            return
        except NotAccepted as error:
            await self._refused(one, error, of_rows=error.too_large)
            return
        except SetupError:
            await self.strike(one, "not uploaded")
            raise
        await self.mark(one, Event("sending", self.now))
        try:
            batch = await self._api.create(requests, size, one.chunk.nonce, input_id, call)
        except Unresolved:
            await self.mark(one, Event("unclear", self.now))
            return
        except (NotAccepted, TransientError, SetupError) as error:  # it surely was not made
            await self._discard(Batch("", "failed", 0.0, input_id=input_id))
            if isinstance(error, NotAccepted):
                await self._refused(one, error, of_rows=error.too_large or not input_id)
                return
            await self.strike(one, "not taken")
            if isinstance(error, SetupError):
                raise
            self.durable.say(f"A batch was not taken: {error.detail}. It is tried again.")
            return
        await self.mark(one, Event("created", batch.id))

    async def _refused(self, one: OpenChunk, error: NotAccepted, *, of_rows: bool) -> None:
        if of_rows:
            await self.fail(one, str(error))
            return
        await self.strike(one, "refused")
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
                await self.mark(one, event)
            case Strike():
                await self.strike(one, "never made")
            case Prove(_, batch_id):
                if one.chunk.unknown:  # else another candidate proved to be it
                    await self.mark(one, proof(one.chunk, batch_id, await self._first_of(batch_id)))
            case TakeTwin(_, batch_id):
                await self._take_twin(one, batch_id)

    async def _first_of(self, batch_id: str) -> str | None:
        batch, start = await self._api.look(batch_id), _Start()
        for id in batch.results:
            with suppress(_Enough):
                await self._api.fetch(id, cast(BinaryIO, start))
            if (found := first_custom_id(self._api, bytes(start.data))) is not None:
                return found
            start = _Start()
        return None

    async def _take_twin(self, one: OpenChunk, batch_id: str) -> None:
        chunk = one.chunk
        entry, ledger = twin_entry(chunk.nonce, batch_id), self.durable.ledger
        if entry not in ledger.open_batches:
            lines = await self.durable.offload(self.durable.chunks.lines, chunk.nonce)
            worst = [sum(lines[name].to_pylist()) for name in ("tokens", "pico")]
            ledger.reserve_batch(entry, chunk.requests, *worst)
            await ledger.written()
        await self.mark(one, Event("twin", batch_id))
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
                "booked at their worst case 48 hours after it was made, and asked again."
            ) from error

    async def cancel(self, chunk: Chunk) -> None:
        """Asks for the end of the chunk's batch, once. It may complete all the same. Raises TransientError."""
        if chunk.batch_id not in self._cancelled:
            with suppress(Gone):
                await self._api.cancel(chunk.batch_id)
            self._cancelled.add(chunk.batch_id)

    async def fetch(self, one: OpenChunk, batch: Batch) -> None:
        """Downloads the results of a batch that has ended; the chunk is then fetched.

        Where they are fewer than the batch counts, they are asked for again, some times at once and, until `SHORT_S`
        after its end was first seen, in later rounds; all that came is put together. Raises TransientError.
        """
        if one.chunk.state == "created":
            await self.mark(one, Event("ended", self.now))
        chunk, durable = one.chunk, self.durable
        late = self.now >= chunk.ended_at + SHORT_S
        with tempfile.TemporaryFile() as whole:
            await durable.offload(_load, durable.chunks, chunk.nonce, whole)
            complete = await self._gather(chunk, batch, cast(BinaryIO, whole), tries=1 if late else FETCHES)
            if not complete and not late:
                return
        await self.mark(one, Event("fetched"))
        await self._discard(batch)

    async def _gather(self, chunk: Chunk, batch: Batch, whole: BinaryIO, *, tries: int) -> bool:
        """Adds what downloads bring to what earlier ones brought, durable on return. True where it is complete.

        Ends after `tries` downloads that were not cut, and after `FETCHES` in any case. Raises TransientError where
        each was cut.
        """
        durable, had = self.durable, await self.durable.offload(self._count, chunk, whole)
        complete, uncut, cut = False, 0, TransientError("it was not asked for")
        for number in range(FETCHES):
            if number:
                await asyncio.sleep(PAUSE_S * 2 ** (number - 1))
            size = whole.seek(0, 2)
            try:
                if number:
                    batch = await self.look(chunk) if batch.awaited else batch
                await self._download(batch.results, whole)
                uncut += 1
            except TransientError as error:
                cut = error
            found = await durable.offload(self._count, chunk, whole)
            if found == had:
                whole.truncate(size)
            had = found
            complete = found >= batch.answered and not batch.awaited
            if complete or uncut >= tries:
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
                    self.durable.say(f"Results are gone at the provider: {error}")
                    continue
                await self.durable.offload(_append, part, into)

    def _count(self, chunk: Chunk, file: BinaryIO) -> int:
        return Results(self._api, chunk, file).found

    async def settle(self, chunk: Chunk, results: Results | None, entry: str = "") -> None:
        """Books the lines of a chunk, durable on return. `results` None: nothing was billed."""
        durable = self.durable
        lines = await durable.offload(durable.chunks.lines, chunk.nonce)
        bunches = line_bills(self.model, lines, results)
        while (bills := await durable.offload(next, bunches, None)) is not None:
            durable.ledger.settle_lines(entry or chunk.nonce, bills)
        await durable.ledger.written()

    async def lose(self, chunk: Chunk) -> None:
        """Books all lines of a chunk whose batch is gone as possibly billed, durable on return."""
        lines = await self.durable.offload(self.durable.chunks.lines, chunk.nonce)
        worst = zip(lines["tokens"].to_pylist(), lines["pico"].to_pylist(), strict=True)
        bills = [LineBill(line, tokens, pico, None) for line, (tokens, pico) in enumerate(worst)]
        self.durable.ledger.settle_lines(chunk.nonce, bills)
        await self.durable.ledger.written()

    async def read_twins(self, one: OpenChunk) -> None:
        """Books those second batches of a chunk that have ended. Raises TransientError."""
        durable, chunk = self.durable, one.chunk
        for batch_id in sorted(chunk.twins_open):
            entry = twin_entry(chunk.nonce, batch_id)
            with suppress(Gone):
                batch = await self._api.look(batch_id)
                if batch.status == "running":
                    continue
                with tempfile.TemporaryFile() as whole:
                    await self._download(batch.results, cast(BinaryIO, whole))
                    results = await durable.offload(Results, self._api, chunk, whole)
                    await self.settle(chunk, results, entry)
            await self.mark(one, Event("twin_closed", batch_id))
            durable.ledger.close_batch(entry)
            await durable.ledger.written()

    # --- the end of a chunk -------------------------------------------------------------------------------------------

    async def fail(self, one: OpenChunk, why: str) -> None:
        """The provider refused the chunk as a whole, and billed nothing."""
        await self.mark(one, Event("failed", why))
        await self.settle(one.chunk, None)

    async def strike(self, one: OpenChunk, why: str) -> None:
        """Closes a chunk of which nothing was billed or all is booked, in its log, then in the ledger."""
        await self.mark(one, Event("closed", why))
        self.durable.ledger.close_batch(one.chunk.nonce)
        await self.durable.ledger.written()
        await self.durable.offload(self.durable.chunks.delete, one.chunk)

    async def mark(self, one: OpenChunk, event: Event) -> None:
        """Appends an event to the chunk's log, durable on return."""
        one.chunk = await self.durable.offload(self.durable.chunks.append, one.chunk, event)

    async def _discard(self, batch: Batch) -> None:
        with suppress(TransientError, NotAccepted, SetupError):  # an uploaded file costs nothing
            await self._api.discard(batch)


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


class _Enough(Exception):
    """The first line is there."""


class _Start:
    """A file that takes the first line alone."""

    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, piece: bytes) -> int:
        self.data += piece
        if b"\n" in piece:
            raise _Enough
        return len(piece)
