"""The pieces in which a shard is read: batches of rows, unreadable rows, and pauses while storage fails."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from scorer.frozen import dataclass

BATCH_ROWS = 512
"""A batch is a turn of a thread, which finds the processor's caches cold: .4 ms, however many rows there are."""
BATCH_BYTES = 4 * 1024 * 1024


class Rows(Protocol):
    """Some rows of a shard, whatever its format.

    `problems` has one entry for each row: why it cannot be judged, None where it can; () where no row has one.
    """

    @property
    def num_rows(self) -> int: ...

    @property
    def nbytes(self) -> int:
        """About the number of bytes of the values."""
        ...

    @property
    def problems(self) -> Sequence[str | None]: ...

    def take(self, places: npt.NDArray[np.int64]) -> Rows:
        """The rows at these places."""
        ...

    def slice(self, offset: int, length: int) -> Rows:
        """At most `length` rows from place `offset` on."""
        ...

    def with_constant(self, name: str, value: str | None) -> Rows:
        """The same rows with one more column of text."""
        ...

    def values(self, path: str, bad: dict[int, str], *, typed: bool = False) -> list[Any]:
        """The values of a column, or at a path into one, as Python objects.

        `typed`: integers in CSV are integers, as a key is compared; a prompt shows what is written there. `bad` gets
        the place of each value that cannot be used, with a sentence; the value is None then.
        """
        ...

    def exact(self, name: str, bad: dict[int, str]) -> list[Any]:
        """The values of a column such that they can be written again in the column's type. `bad` as for `values`."""
        ...

    def arrow(self, schema: pa.Schema) -> pa.RecordBatch:
        """The columns of `schema`, in its types; null where a value does not fit."""
        ...

    def own(self, names: Sequence[str], bad: dict[int, str]) -> pa.RecordBatch:
        """Columns in their own types. `bad` as for `values`."""
        ...

    def characters(self, path: str) -> int:
        """The total length of a column's texts, plus one for each that is not null."""
        ...


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows from number `first` on."""

    first: int
    rows: Rows

    @property
    def stop(self) -> int:
        return self.first + self.rows.num_rows


@dataclass(frozen=True, slots=True)
class UnreadableRows:
    """Rows `first` to `stop` - 1, which failed to be read twice."""

    first: int
    stop: int
    why: str


@dataclass(frozen=True, slots=True)
class ReadStalled:
    """The system failed; ask for the next piece after `pause_s` seconds."""

    pause_s: float


Piece = Batch | UnreadableRows | ReadStalled
