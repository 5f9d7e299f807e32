"""What is durable of chunks: the log and files of each, and its entry in the ledger. Asks no provider."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import field
from typing import Protocol

from scorer.batch.intents import BatchLedger
from scorer.batch.model import BatchModel
from scorer.batch.open_chunks import OpenChunk
from scorer.batch.results import Results
from scorer.batch.settling import line_bills
from scorer.frozen import dataclass
from scorer.output.chunk import Chunk, Event
from scorer.output.chunk_files import ChunkFiles
from scorer.output.open_batches import LineBill
from scorer.types import Offload


class SettlingLedger(BatchLedger, Protocol):
    """What is needed of `scorer.output.ledger.Ledger`."""

    def settle_lines(self, nonce: str, bills: Sequence[LineBill]) -> None: ...


@dataclass(frozen=True, slots=True)
class Durable:
    """Where chunks and money are written. `say` gets sentences for the user; `wall_s` is the clock of this machine.

    What a method writes is durable on its return.
    """

    chunks: ChunkFiles
    ledger: SettlingLedger
    offload: Offload
    wall_s: Callable[[], float]
    say: Callable[[str], None] = field(default=lambda _: None)

    async def mark(self, one: OpenChunk, event: Event) -> None:
        """Appends an event to the chunk's log."""
        one.chunk = await self.offload(self.chunks.append, one.chunk, event)

    async def worst(self, chunk: Chunk) -> tuple[int, int]:
        """The tokens and the pico-dollars that all lines of a chunk may cost."""
        lines = await self.offload(self.chunks.lines, chunk.nonce)
        return sum(lines["tokens"].to_pylist()), sum(lines["pico"].to_pylist())

    async def settle(self, model: BatchModel, chunk: Chunk, results: Results | None, entry: str = "") -> None:
        """Enters the bills of a chunk's lines in the ledger. `results` None: nothing was billed."""
        lines = await self.offload(self.chunks.lines, chunk.nonce)
        bunches = line_bills(model, lines, results)
        while (bills := await self.offload(next, bunches, None)) is not None:
            self.ledger.settle_lines(entry or chunk.nonce, bills)
        await self.ledger.written()

    async def lose(self, chunk: Chunk) -> None:
        """Enters all lines of a chunk whose batch is gone as possibly billed."""
        lines = await self.offload(self.chunks.lines, chunk.nonce)
        worst = zip(lines["tokens"].to_pylist(), lines["pico"].to_pylist(), strict=True)
        bills = [LineBill(line, tokens, pico, None) for line, (tokens, pico) in enumerate(worst)]
        self.ledger.settle_lines(chunk.nonce, bills)
        await self.ledger.written()

    async def fail(self, model: BatchModel, one: OpenChunk, why: str) -> None:
        """The provider refused the chunk as a whole, and billed nothing."""
        await self.mark(one, Event("failed", why))
        await self.settle(model, one.chunk, None)

    async def close_chunk(self, one: OpenChunk, why: str) -> None:
        """Closes a chunk of which nothing was billed or all is in the ledger, in its log, then in the ledger."""
        await self.mark(one, Event("closed", why))
        self.ledger.close_batch(one.chunk.nonce)
        await self.ledger.written()
        await self.offload(self.chunks.delete, one.chunk)
