"""The protocol of an input format: the contents of a file, and its rows in order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import BinaryIO, Protocol

import pyarrow as pa

from scorer.errors import InputError
from scorer.frozen import dataclass
from scorer.inputs.pieces import Batch, UnreadableRows
from scorer.types import Mask

DAMAGE = (pa.ArrowException, OSError, EOFError, ValueError, IndexError, KeyError, OverflowError)
"""Exceptions that a format raises for damaged or foreign bytes. An OSError with a number is the system's."""


class Unfinished(InputError):
    """A file that is still being written, or was truncated. The text gives the sign of it, without the path."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What a file holds. `mark` tells it from any other file of its size: a hash of its footer, or of all its bytes.

    `schema` has the columns with the types in which they are written again; `shape` has their nested fields, where the
    file's own types do not tell them. `ended` is True where the file itself says that nothing comes after its end.
    """

    rows: int
    mark: str
    schema: pa.Schema
    shape: pa.Schema
    ended: bool


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to read of a file of `rows` rows: these columns, or paths into columns, of the rows to do from `at` on.

    `todo` marks the rows to do, None for all. `careful`: reading failed at row `at` twice.
    """

    columns: Sequence[str]
    rows: int
    todo: Mask | None = None
    at: int = 0
    careful: bool = False


class Format(Protocol):
    """One format of input files. Rows are numbered from 0 in the order of the file."""

    @property
    def name(self) -> str:
        """The format's name in messages."""
        ...

    def look(self, file: BinaryIO, size: int) -> Contents:
        """What the file holds. Reads all of it where it has no footer. Raises Unfinished, or one of DAMAGE."""
        ...

    def schema(self, file: BinaryIO) -> pa.Schema:
        """`Contents.schema` alone, read as cheaply as it can be."""
        ...

    def mark(self, file: BinaryIO, size: int) -> str:
        """`Contents.mark` alone; 64 digits long where it stands for all bytes, shorter for a footer."""
        ...

    def batches(self, file: BinaryIO, wanted: Wanted) -> Iterator[Batch | UnreadableRows]:
        """The rows in order, at most 512 or about 4 MiB at a time; rows that need not be read may be left out.

        Raises one of DAMAGE; with `careful`, rows that cannot be read are UnreadableRows instead.
        """
        ...
