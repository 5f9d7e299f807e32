"""What the formats of text share: compression, the mark by all bytes, unfinished files, and reading past damage."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, ClassVar

from scorer.inputs.formats.byte_stream import HashedFile, hashed, is_cut
from scorer.inputs.formats.protocol import DAMAGE, Unfinished, Wanted
from scorer.inputs.formats.text_batches import TextBatches
from scorer.inputs.pieces import Batch, UnreadableRows
from scorer.inputs.read_retry import is_systems, short


class TextFormat:
    """The base of a `Format` of text. `compression` is "gzip", "zstd" or None."""

    kind: ClassVar[str]
    """The format's name without the compression."""

    def __init__(self, compression: str | None = None) -> None:
        self.name = self.kind if compression is None else f"{self.kind} in {compression}"
        self._compression = compression

    def mark(self, file: BinaryIO, size: int) -> str:
        return hashed(file).rest()

    @contextmanager
    def _looking(self, file: BinaryIO, size: int) -> Iterator[HashedFile]:
        """The file for a look at all of it. Raises Unfinished where it is empty, or cut within a compressed frame."""
        if size == 0:
            raise Unfinished("is empty")
        try:
            yield hashed(file)
        except DAMAGE as error:
            if is_cut(error):
                raise Unfinished("is cut within a compressed frame") from error
            raise

    @staticmethod
    def _batches(
        given: HashedFile, wanted: Wanted, made: TextBatches, records: Iterable[tuple[Any, int]]
    ) -> Iterator[Batch | UnreadableRows]:
        """The records, each with its size, as batches; damage as `Format.batches` says."""
        try:
            for record, size in records:
                yield from made.add(record, size)
                if made.done:
                    yield from made.rest()
                    return
            yield from made.end()
            given.rest()
        except DAMAGE as error:
            if is_systems(error) or not wanted.careful:
                raise
            yield from made.rest()
            yield from made.unreadable(short(error))
