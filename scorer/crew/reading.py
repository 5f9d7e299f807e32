"""A worker's rows: slices of shards, each further down than the last, read without beginning the shard again.

A slice from the middle of a row group costs decoding what stands before it, so the file stays open where it was left.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator

import numpy as np
import pyarrow as pa

from scorer.crew.messages import Slice
from scorer.schema import Row, Shard, Work
from scorer.source import Reader, arrow_batches, readable
from scorer.views import take

Batches = Generator[tuple[int, pa.RecordBatch], None, None]


class Forward:
    """Reads slices; one that lies behind the last, or in another shard, opens its shard anew. One at a time."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._shard: Shard | None = None
        self._batches: Batches | None = None
        self._start = 0
        self._batch: pa.RecordBatch | None = None
        self._at = 0

    def read(self, shard: Shard, leased: Slice) -> Iterator[list[Row]]:
        """Blocking: the slice's rows, at most 256 or 4 MiB at a time. Raises what `Reader.read` raises."""
        work = Work(shard, None, leased.generation)
        chosen = _chosen(leased)
        with readable(shard):
            if self._batches is None or self._shard != shard or leased.first < self._at:
                self.close()
                self._shard, self._at, self._batches = shard, leased.first, self._open(shard, leased.first)
            while self._at < leased.stop:
                if self._batch is None:
                    self._start, self._batch = next(self._batches)
                end = self._start + self._batch.num_rows
                low, high = max(self._at, leased.first, self._start), min(leased.stop, end)
                if low < high:
                    numbers = low + np.flatnonzero(chosen[low - leased.first : high - leased.first])
                    part = self._batch.slice(low - self._start, high - low)
                    if len(numbers) < high - low:
                        part = take(part, pa.array(numbers - low))
                    yield from self._reader.rows_of(work, numbers, part)
                self._at = max(self._at, high)
                if high == end:
                    self._batch = None

    def close(self) -> None:
        """Closes the shard that is open."""
        if self._batches is not None:
            self._batches.close()
        self._batches = self._batch = self._shard = None

    def _open(self, shard: Shard, first: int) -> Batches:
        todo = np.zeros(shard.rows, dtype=bool)
        todo[first:] = True
        with self._reader.opened(shard) as file:
            yield from arrow_batches(file, self._reader.columns.all, todo)


def _chosen(leased: Slice) -> np.ndarray:
    rows = leased.stop - leased.first
    if leased.mask is None:
        return np.ones(rows, dtype=bool)
    return np.unpackbits(np.frombuffer(leased.mask, dtype=np.uint8), count=rows).astype(bool)
