"""Collects the records of a text format into batches of rows, and skips those that need not be read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from scorer.inputs.formats.protocol import Wanted
from scorer.inputs.pieces import BATCH_BYTES, BATCH_ROWS, Batch, UnreadableRows
from scorer.inputs.plain_rows import PlainRows


class Invalid(NamedTuple):
    """A record that is no row; `why` ends the sentence "The line ..."."""

    why: str


SKIPPED = Invalid("is not to be read")
"""Marks a row that need not be read."""


class TextBatches:
    """Batches of records. `number` is the number of the next row; `done` once no row is left to do.

    `make` turns records into rows. What it makes of SKIPPED is never looked at.
    """

    def __init__(self, wanted: Wanted, make: Callable[[Sequence[Any]], PlainRows]) -> None:
        self.number = 0
        self._make = make
        self._rows = wanted.rows
        self._at = wanted.at
        self._todo = None if wanted.todo is None else wanted.todo.tobytes()
        self._stop = wanted.rows if self._todo is None else self._todo.rfind(b"\1") + 1
        self._held: list[Any] = []
        self._size = 0

    @property
    def done(self) -> bool:
        """True where rows behind `number` need not be read."""
        return self._todo is not None and self.number >= self._stop

    def add(self, record: Any, size: int) -> Iterator[Batch]:
        """Adds a record of `size` bytes. Raises ValueError where the file has more rows than before."""
        number = self.number
        if number >= self._rows:
            raise ValueError(f"it has more than {self._rows:,} rows")
        self.number = number + 1
        if number < self._at or (self._todo is not None and not self._todo[number]):
            if not self._held:
                return
            record, size = SKIPPED, 0
        self._held.append(record)
        self._size += size
        if len(self._held) >= BATCH_ROWS or self._size >= BATCH_BYTES:
            yield from self.rest()

    def rest(self) -> Iterator[Batch]:
        """The rows of the current, incomplete batch."""
        if self._held:
            held, self._held, self._size = self._held, [], 0
            yield Batch(self.number - len(held), self._make(held))

    def unreadable(self, why: str) -> Iterator[UnreadableRows]:
        """The remaining rows as unreadable."""
        first = max(self.number, self._at)
        if first < self._rows:
            yield UnreadableRows(first, self._rows, why)

    def end(self) -> Iterator[Batch]:
        """The last rows. Raises ValueError where the file has fewer rows than it had."""
        yield from self.rest()
        if self.number < self._rows:
            raise ValueError(f"it has {self.number:,} rows, not {self._rows:,}")
