"""Reads the slices that a worker leased, in order, without opening the shard again for each.

A slice in the middle of a row group needs the rows before it decoded, so the file stays open at its last position.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator

import numpy as np

from scorer.inputs.pieces import Batch, Piece, ReadStalled, UnreadableRows
from scorer.inputs.source import Reader
from scorer.types import Row, Shard, Work
from scorer.workers.messages import Slice

Pieces = Generator[Piece, None, None]


class SliceReader:
    """Reads one slice at a time. A slice before the last one, or in another shard, opens its shard again."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._shard: Shard | None = None
        self._pieces: Pieces | None = None
        self._piece: Batch | UnreadableRows | None = None
        self._at = 0

    def read(self, shard: Shard, leased: Slice) -> Iterator[list[Row] | ReadStalled]:
        """The rows of a slice, in batches. Blocking. Raises ShardChanged, StorageError."""
        work = Work(shard, None, leased.generation)
        chosen = _chosen(leased)
        if self._pieces is None or self._shard != shard or leased.first < self._at:
            self.close()
            self._shard, self._at, self._pieces = shard, leased.first, self._open(shard, leased.first)
        while self._at < leased.stop:
            if self._piece is None:
                found = next(self._pieces)
                if isinstance(found, ReadStalled):
                    yield found
                    continue
                self._piece = found
            piece = self._piece
            low, high = max(self._at, leased.first, piece.first), min(leased.stop, piece.stop)
            if low < high:
                numbers = low + np.flatnonzero(chosen[low - leased.first : high - leased.first])
                yield from self._reader.chosen(work, piece, numbers)
            self._at = max(self._at, high)
            if high == piece.stop:
                self._piece = None

    def close(self) -> None:
        """Closes the open shard."""
        if self._pieces is not None:
            self._pieces.close()
        self._pieces = self._piece = self._shard = None

    def _open(self, shard: Shard, first: int) -> Pieces:
        todo = None
        if first:
            todo = np.zeros(shard.rows, dtype=bool)
            todo[first:] = True
        yield from self._reader.read_shard(shard, todo)


def _chosen(leased: Slice) -> np.ndarray:
    rows = leased.stop - leased.first
    if leased.mask is None:
        return np.ones(rows, dtype=bool)
    return np.unpackbits(np.frombuffer(leased.mask, dtype=np.uint8), count=rows).astype(bool)
