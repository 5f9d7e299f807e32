"""The first line in the results of a batch: it says whose the batch is where the provider keeps no name."""

from __future__ import annotations

from contextlib import suppress
from typing import BinaryIO, cast

from scorer.batch.types import Batch, BatchApi

FETCHES = 3
"""Results without a line, of a batch that counts some, are asked for so many times."""


async def first_result(api: BatchApi, batch: Batch) -> str | None:
    """The `custom_id` of the first result of a batch that has ended; None where there is none, or none came.

    Raises Gone, TransientError.
    """
    for _ in range(FETCHES):
        for id in batch.results:
            start = _Start()
            with suppress(_Enough):
                await api.fetch(id, cast(BinaryIO, start))
            found = next((line.custom_id for line in api.read(bytes(start.data).split(b"\n"))), None)
            if found is not None:
                return found
        if not batch.answered:
            break
    return None


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
