"""A sealed shard for a publisher: its identity, and its rows as a stream in the table's types.

Knows no table format. Rows are read a batch at a time, so that a shard of any size takes the same memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO, Protocol, runtime_checkable

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from scorer.errors import OutputError, SpecError
from scorer.files.files import Files
from scorer.output import segments as seg
from scorer.output.checksums import check_footer, check_open
from scorer.output.layout import Layout
from scorer.output.schema import (
    modern,
)
from scorer.types import (
    Shard,
)

RUN = "scorer_run"
"""The column that a published table has beside those of a sealed file: the id of the run, as in run.json."""

BATCH_ROWS = 8192


@dataclass(frozen=True, slots=True)
class Version:
    """Which scoring of a shard its rows are: the newest generation among them, and when the last of them was finished.

    A sealed file that was lost and scored again is of generation 0 once more, but was finished later. `finished_us` is
    in microseconds since 1970; 0 where it is unknown, as in tables of an earlier version. `edition` counts how
    often the run's kept columns changed: the rows have other columns then.
    """

    generation: int
    finished_us: int
    edition: int = 0

    def is_newer_than(self, before: Version) -> bool:
        """True where a table that has the rows of `before` lacks these."""
        later = 0 < before.finished_us < self.finished_us
        return self.generation > before.generation or later or self.edition > before.edition


Step = Callable[[str], None]
"""Called before each step of a publisher; tests die there."""


def no_step(name: str) -> None:
    """Does nothing."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """One sealed file, open for reading. `run` and `shard` are its identity; the newest `version` of it counts.

    `schema` is that of the published rows: the file's, with the run's id before it. `file` is where every byte is
    checked before rows are read; None where there is nothing to check.
    """

    run: str
    shard: str
    version: Version
    rows: int
    schema: pa.Schema
    path: str
    parquet: pq.ParquetFile
    file: BinaryIO | None = None

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows, in order; each call starts at the first row. Raises Broken where the file is damaged."""
        with seg.broken(self.path):
            self._check()
            for batch in seg.batches(self.parquet, rows=BATCH_ROWS):
                run = pa.array([self.run], pa.string()).take(pa.array([0] * batch.num_rows, pa.int8()))
                yield pa.RecordBatch.from_arrays([run, *batch.columns], schema=self.schema)

    def _check(self) -> None:
        """Raises ValueError for a byte that was not written: pyarrow skips a page whose header has another type."""
        if self.file is not None:
            parts = check_open(self.file, self.parquet.metadata.metadata or {})
            if not all(part.whole for part in parts or ()):
                raise ValueError("its rows are not what was written")


@contextmanager
def sealed(files: Files, layout: Layout, run: str, shard: Shard) -> Iterator[Sealed]:
    """The sealed file of a shard. Raises OutputError where it cannot be read, FileNotFoundError where there is none."""
    path = layout.sealed(shard.stem)
    try:
        with files.open(path) as file:
            with seg.broken(path):
                parquet = pq.ParquetFile(file, pre_buffer=False, buffer_size=1 << 18, page_checksum_verification=True)
                metadata = parquet.metadata.metadata or {}
                check_footer(file, metadata)
                generation: int = orjson.loads(metadata[b"scorer.generation"])
                edition: int = orjson.loads(metadata.get(b"scorer.edition", b"0"))
            named = modern(parquet.schema_arrow.remove_metadata())
            if RUN in named.names:
                raise SpecError(
                    [
                        f'{path} has a column "{RUN}", which a published table needs for the id of the run. Keep that '
                        "column of the input under another name."
                    ]
                )
            schema = pa.schema([pa.field(RUN, pa.string(), nullable=False), *named])
            version = Version(generation, _finished_us(parquet), edition)
            yield Sealed(run, shard.path, version, parquet.metadata.num_rows, schema, path, parquet, file)
    except seg.Broken as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise error.__cause__ from None
        raise OutputError(
            f"{path} is damaged and was not published. Restore it from a copy; or move it away, and `scorer run` "
            "scores its shard again."
        ) from error


def _finished_us(parquet: pq.ParquetFile) -> int:
    """When the last of its rows was finished, by the statistics of its row groups; 0 without rows."""
    column = parquet.schema_arrow.get_field_index("finished_at")
    groups = (parquet.metadata.row_group(n).column(column).statistics for n in range(parquet.metadata.num_row_groups))
    return max((group.max_raw for group in groups if group is not None and group.has_min_max), default=0)


class Stream:
    """The rows of sealed shards under a table's types, to be handed to a library written in another language.

    An error while rows are read is raised at the end of the block as it was, not as the library rewords it.
    """

    def __init__(self, shards: Sequence[Sealed], schema: pa.Schema, step: Step) -> None:
        self._shards = shards
        self._schema = schema
        self._step = step
        self._failure: Exception | None = None

    def __enter__(self) -> pa.RecordBatchReader:
        return pa.RecordBatchReader.from_batches(self._schema, self._read())

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if self._failure is not None:
            raise self._failure from None

    def _read(self) -> Iterator[pa.RecordBatch]:
        try:
            for shard in self._shards:
                for batch in shard.batches():
                    self._step("batch")
                    yield self._cast(shard, batch)
            self._step("read")
        except (seg.Broken, SpecError, OSError) as error:
            self._failure = error
            raise

    def _cast(self, shard: Sealed, batch: pa.RecordBatch) -> pa.RecordBatch:
        columns = []
        for field in self._schema:
            try:
                columns.append(batch.column(field.name).cast(field.type))
            except pa.ArrowException as error:
                raise SpecError(
                    [
                        f"Column {field.name} of {shard.shard} holds a value of type "
                        f"{batch.schema.field(field.name).type} that does not fit into {field.type}, which is what the "
                        f"table has a place for ({error}). Change it in the input, or leave it out of input.keep."
                    ]
                ) from error
        return pa.RecordBatch.from_arrays(columns, schema=self._schema)


class Publisher(Protocol):
    """A table that sealed shards go to. Making one reads and writes nothing; a wrong address is a SpecError."""

    def publish(self, shard: Sealed) -> bool:
        """Commits the shard's rows in one step, in place of those of an older version; False where they are there.

        After a kill at any moment the same call completes it. Raises SpecError where the table cannot take these rows,
        StorageError where it cannot be reached now.
        """
        ...


@runtime_checkable
class GroupPublisher(Publisher, Protocol):
    """A publisher that commits several shards at once: its cost then grows with the rows, not with the commits."""

    def publish_all(self, shards: Sequence[Sealed]) -> list[bool]:
        """As `publish` for each of these different shards, in as few commits as the table allows; an answer for each.

        A shard whose rows cannot be read or do not fit may keep all of them from being committed: the caller then
        publishes each by itself. Raises as `publish`.
        """
        ...


def newer_than(shards: Sequence[Sealed], published: Mapping[str, Version]) -> list[Sealed]:
    """Those of the shards that a table lacks, or has in an earlier version; `published` has its versions by shard."""
    return [one for one in shards if one.shard not in published or one.version.is_newer_than(published[one.shard])]


def properties_of(shards: Sequence[Sealed]) -> dict[str, str]:
    """What a commit says of itself: the run, and as JSON the generation, finishing time and edition of each shard."""
    versions = {
        shard.shard: (shard.version.generation, shard.version.finished_us, shard.version.edition) for shard in shards
    }
    return {"scorer.run": shards[0].run, "scorer.shards": orjson.dumps(versions).decode()}
