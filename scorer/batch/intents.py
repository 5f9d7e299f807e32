"""Makes a chunk durable, in its files and in the ledger, before anything is sent; and compares both at a start."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Protocol

from scorer.errors import StorageError
from scorer.output.chunk import Chunk
from scorer.output.chunk_files import ChunkFiles, ChunkLine, disagreement
from scorer.types import Offload

_NAME = re.compile(r"[a-zA-Z0-9_-]+")

LONGEST_ID = 64
"""A `custom_id` has at most so many of [a-zA-Z0-9_-], at Anthropic."""


class BatchLedger(Protocol):
    """What is needed of `scorer.output.ledger.Ledger`."""

    @property
    def open_batches(self) -> set[str]: ...
    def reserve_batch(self, nonce: str, lines: int, tokens: int, pico: int) -> None: ...
    def close_batch(self, nonce: str) -> None: ...
    async def written(self) -> None: ...


def new_nonce(run: str, random_hex: Callable[[int], str]) -> str:
    """`<run>-<16 hex digits>`. `random_hex(n)` gives n random bytes in hex, as `secrets.token_hex` does."""
    nonce = f"{run}-{random_hex(8)}"
    if len(nonce) + 1 + len(str(10**6)) > LONGEST_ID or not _NAME.fullmatch(nonce):
        raise ValueError(f"{nonce!r} makes no custom_id")
    return nonce


def twin_entry(nonce: str, batch_id: str) -> str:
    """The name in the ledger of a second batch of a chunk."""
    return f"{nonce}+{batch_id}"


async def intend(
    chunks: ChunkFiles, ledger: BatchLedger, nonce: str, lines: Sequence[ChunkLine], offload: Offload
) -> Chunk:
    """A new chunk, in its file and then in the ledger at its worst case: durable on return. Nothing is sent yet.

    A crash in between leaves a chunk that was never sent, which `reconcile` strikes.
    """
    chunk: Chunk = await offload(chunks.write, nonce, lines)
    ledger.reserve_batch(nonce, len(lines), sum(one.tokens for one in lines), sum(one.pico for one in lines))
    await ledger.written()
    return chunk


def check_entries(chunks: Sequence[Chunk], entries: set[str], folder: str) -> list[str]:
    """The ledger's entries to close at a start: their chunks are closed, in the log before the ledger was.

    Raises StorageError where the ledger has a batch whose chunk is gone, or a chunk was sent that the ledger lacks:
    then it is not known which rows are out, or what they cost.
    """
    if said := disagreement(chunks, entries):
        raise StorageError(
            f"{folder}: {said}. It is not known which rows are out, so nothing more is sent. Restore both from the "
            "same copy and run the same command again."
        )
    known = {chunk.nonce: chunk for chunk in chunks}
    return sorted(entry for entry in entries if known[entry.partition("+")[0]].state == "closed")
