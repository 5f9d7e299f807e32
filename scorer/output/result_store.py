"""What the store of a run and the store of a worker share: results in, segments out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from scorer.output.segment_writer import SegmentWriter
from scorer.types import Result

OnRow = Callable[[str, int, float | None], None]
"""Gets the path of a shard, the number of a row, and its score; None where it ended in an error."""


class ResultStore:
    """Takes results for a segment writer, and says when too many of them wait to be written."""

    def __init__(self, writer: SegmentWriter) -> None:
        self._writer = writer
        self.room: Callable[[], Coroutine[Any, Any, None]] = writer.room
        """Returns once less than two flushes' worth of results wait to be written."""
        self.on_row: OnRow | None = None
        """Called with each row that has a result, and its score."""

    def write_after(self, costs_written: Callable[[], Awaitable[None]]) -> None:
        """From now on results are written once `costs_written` returned, which enters their requests in the ledger."""
        self._writer.write_after(costs_written)

    def add(self, result: Result) -> None:
        """Takes a result; it is durable once a flush has written it."""
        self._writer.add(result)
        if self.on_row is not None:
            self.on_row(result.row.shard, result.row.number, None if result.score is None else result.score.value)

    @property
    def full(self) -> bool:
        """Whether two flushes' worth of results, in rows or in bytes, wait to be written."""
        return self._writer.full

    def on_room(self, wake: Callable[[], None]) -> None:
        """`wake()` is called after each segment that was written."""
        self._writer.on_room(wake)

    async def flush(self) -> None:
        """Writes all that was added so far, durable on return. Raises StorageError."""
        await self._writer.flush()

    async def serve(self) -> None:
        """Writes every `flush_rows` results or `flush_s` seconds until `stop`."""
        await self._writer.serve()

    def stop(self) -> None:
        """Lets `serve` return after the write under way."""
        self._writer.stop()

    async def close(self) -> None:
        """Writes what is gathered; `serve` has returned before."""
        await self._writer.flush()
