"""Result files as Parquet: written with page checksums, read with verification, counted, merged in row order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from itertools import chain
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from scorer.files.arrow_take import take
from scorer.files.files import Files
from scorer.files.parquet_batches import bounded_batches
from scorer.output.checksums import OURS, Summed, check_footer
from scorer.output.schema import COPIED, METRIC, fitted, modern
from scorer.types import (
    Result,
    Shard,
)

WINDOW, WINDOW_BYTES = 4096, 4 * 1024 * 1024
"""A window's rows and bytes: what a merge yields at once, of however many files. A longer row is one by itself."""
GROUP_BYTES = 4 * 1024 * 1024
"""A sealed file's row group, in memory: with a window each, the footer of 2,000,000 rows took 20 MB (docs/log.md)."""
MERGE_BYTES, LEAST_BYTES = 16 * 1024 * 1024, 128 * 1024
"""What all files of a merge have loaded, as stored, and what each of them has at least."""
SMALL_BYTES = 128 * 1024
"""A file that begins with less is compressed by snappy: the contexts of zstd cost half of its time (docs/log.md)."""
SINK_BYTES = 64 * 1024
"""Buffer below the Parquet writer, which writes each column's pages by themselves."""
UNIQUE = frozenset(("row", "id", "raw", "waited_s", "answered_s", "finished_at"))
"""Columns without a dictionary: nearly every row has a value of its own."""
DAMAGE = (pa.ArrowException, OSError, EOFError, ValueError, KeyError)
"""What pyarrow raises over bytes that are no Parquet, or no longer."""


@dataclass(slots=True)
class Counts:
    """What some result rows add up to. `cost_microusd` is rounded row by row; the ledger has the exact money."""

    rows: int = 0
    scored: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    cost_microusd: int = 0
    attempts: int = 0
    copied: int = 0
    reasoning_tokens: int = 0
    unmeasured: dict[str, int] = field(default_factory=dict, compare=False)
    """Rows without an automatic metric, by its name: no text to measure, or it failed. Earlier files do not tell."""

    def add(self, other: Counts) -> None:
        for name in ("rows", "scored", "copied", *SUMS):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for mine, more in ((self.errors, other.errors), (self.unmeasured, other.unmeasured)):
            for name, count in more.items():
                mine[name] = mine.get(name, 0) + count

    def note(self, result: Result) -> None:
        """Counts one more result: rows, scored, errors and copied alone."""
        self.rows += 1
        if result.error is None:
            self.scored += 1
        else:
            self.errors[result.error.name] = self.errors.get(result.error.name, 0) + 1
        self.copied += result.copied_from is not None

    def became(self, before: Result, now: Result) -> None:
        """A result that was noted as `before` is stored as `now`."""
        if before.error is None and now.error is not None:
            self.scored -= 1
            self.errors[now.error.name] = self.errors.get(now.error.name, 0) + 1

    @property
    def failed(self) -> int:
        return self.rows - self.scored

    @classmethod
    def of(cls, table: pa.Table | pa.RecordBatch) -> Counts:
        import pyarrow.compute as pc  # a run sends its first request without it

        errors = {v["values"].as_py(): v["counts"].as_py() for v in pc.value_counts(table.column("error").drop_null())}
        copies = table.column(COPIED) if COPIED in table.schema.names else None
        nulls = {name: table.column(name).null_count for name in _metrics(table.schema)}
        return cls(
            rows=table.num_rows,
            scored=table.num_rows - table.column("score").null_count,
            errors=errors,
            copied=table.num_rows - copies.null_count if copies is not None else 0,
            unmeasured={name.removeprefix(METRIC): count for name, count in nulls.items() if count},
            **{name: pc.sum(table.column(name)).as_py() or 0 for name in SUMS if name in table.schema.names},
        )


YOUNGER = ("copied", "unmeasured", "reasoning_tokens")
"""Counts that files of earlier versions do not tell."""
SUMS = ("prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens", "cost_microusd", "attempts")


def _metrics(schema: pa.Schema) -> list[str]:
    behind = schema.names[schema.get_field_index("generation") + 1 :]
    return [name for name in behind if name.startswith(METRIC)]


def grouped(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Neighbours put together up to `GROUP_BYTES`."""
    held: list[pa.Table] = []
    for table in tables:
        if held and sum(one.nbytes for one in held) + table.nbytes > GROUP_BYTES:
            yield pa.concat_tables(held)
            held = []
        held.append(table)
    if held:
        yield pa.concat_tables(held)


def write(
    file: BinaryIO,
    batches: Iterator[pa.Table],
    schema: pa.Schema,
    about: Mapping[str, Any],
    *,
    group_rows: int | None = None,
) -> Counts:
    """Writes tables of bounded bytes one after another, with counts and their checksums as key-value metadata.

    A row group has `group_rows`, or a window where that is None, and never rows of two tables.
    """
    counts, summed = Counts(), Summed(file)
    sink = pa.output_stream(summed, compression=None, buffer_size=SINK_BYTES)
    first = next(batches, None)
    compression = "snappy" if first is None or first.nbytes < SMALL_BYTES else "zstd"
    repeating = [f.name for f in schema if f.name not in UNIQUE and not pa.types.is_nested(f.type)]
    with pq.ParquetWriter(
        sink, schema, compression=compression, write_page_checksum=True, use_dictionary=repeating
    ) as writer:
        for table in chain([] if first is None else [first], batches):
            if table.num_rows:
                writer.write_table(table, row_group_size=group_rows or WINDOW)
                counts.add(Counts.of(table))
                sink.flush()
                summed.part(counts.rows)
        sink.flush()
        told = {**about, **asdict(counts), "bounded": True}
        metadata = {f"scorer.{key}": orjson.dumps(value).decode() for key, value in told.items()}
        writer.add_key_value_metadata({**metadata, **summed.metadata()})
    sink.flush()
    summed.finish()
    return counts


def about(
    shard: Shard,
    fingerprint: str,
    generation: int,
    run: str,
    edition: int = 0,
    judges: Mapping[str, int] | None = None,
) -> dict[str, Any]:
    """What a segment or sealed file says of itself, to be told apart without `run.json`; earlier ones told no `run`.

    `edition` counts how often the kept columns of the run changed before it was written. `judges` are the fingerprints
    of its retries with other keys, and their generations.
    """
    told = {name: value for name, value in asdict(shard).items() if name != "at"}
    found = {"shard": told, "fingerprint": fingerprint, "generation": generation, "run": run}
    return {**found, **({"edition": edition} if edition else {}), **({"judges": dict(judges)} if judges else {})}


def is_of(about: Mapping[str, Any], shard: Shard) -> bool:
    """False where a file says that its rows are another shard's. Copies and touches of a shard change nothing here."""
    told = about.get("shard")
    return told is None or all(told[name] == getattr(shard, name) for name in ("path", "rows", "footer"))


def read_about(files: Files, path: str, *, checked: bool = False) -> tuple[dict[str, Any], Counts]:
    """The metadata that `write` left, the footer `checked` by its sum. Raises one of DAMAGE: broken or not ours."""
    with files.open(path) as file:
        metadata = pq.read_metadata(file).metadata or {}
        if checked:
            check_footer(file, metadata)
        return _about(metadata)


def _about(metadata: Mapping[bytes, bytes]) -> tuple[dict[str, Any], Counts]:
    found = {
        key.decode().removeprefix("scorer."): orjson.loads(value)
        for key, value in metadata.items()
        if key.startswith(b"scorer.") and key not in OURS
    }
    found.pop("bounded", None)
    counts = Counts(**{name: found.pop(name) for name in asdict(Counts()) if name not in YOUNGER or name in found})
    return found, counts


def read_columns(files: Files, path: str, columns: Sequence[str], *, counted: bool = False) -> pa.Table:
    """Some columns of a segment, `counted`: and those that not every run has; checksums verified. One of DAMAGE."""
    with files.open(path) as file:
        if counted:
            schema = pq.read_schema(file)
            columns = [name for name in columns if name in schema.names or name not in YOUNGER]
            columns += [*(name for name in schema.names if name == COPIED), *_metrics(schema)]
        return pq.read_table(
            file, columns=list(columns), page_checksum_verification=True, use_threads=False, pre_buffer=False
        )


def read_rows(files: Files, path: str, shard: Shard, fingerprint: str, first: int, last: int) -> npt.NDArray[np.int64]:
    """The row numbers in a segment. Raises one of DAMAGE, also where it is not what its place and its name say."""
    with files.open(path) as file, pq.ParquetFile(file, pre_buffer=False, page_checksum_verification=True) as parquet:
        metadata = parquet.metadata.metadata or {}
        check_footer(file, metadata)
        told, _ = _about(metadata)
        if told.get("fingerprint", fingerprint) != fingerprint or not is_of(told, shard):
            raise ValueError("it holds the scores of another run, or of another shard")
        rows: npt.NDArray[np.int64] = parquet.read(columns=["row"], use_threads=False).column("row").to_numpy()
    if len(rows) and (rows.min() < first or rows.max() > min(last, shard.rows - 1)):
        raise ValueError("it holds rows outside of what its name says")
    return rows


def batches(
    parquet: pq.ParquetFile,
    *,
    rows: int = WINDOW,
    size: int = WINDOW_BYTES,
    columns: Sequence[str] | None = None,
    groups: Sequence[int] | None = None,
) -> Iterator[pa.RecordBatch]:
    """The rows of a result file, or of some of its row groups, in portions of bounded rows and bytes."""
    bounded = b"scorer.bounded" in (parquet.metadata.metadata or {})  # files of earlier versions do not say it
    return bounded_batches(parquet, rows=rows, size=size, columns=columns, groups=groups, bounded=bounded)


class Cursor:
    """A file sorted by row, read forward in portions of `size` bytes, of which it holds one.

    Raises one of DAMAGE, with the path in `Cursor.path`.
    """

    def __init__(self, files: Files, path: str, columns: Sequence[str] | None = None, *, size: int) -> None:
        self.path = path
        with ExitStack() as stack:
            self._file = stack.enter_context(files.open(path))
            self._parquet = pq.ParquetFile(
                self._file, pre_buffer=False, buffer_size=1 << 18, page_checksum_verification=True
            )
            stack.pop_all()
        if columns is not None:
            stored = self._parquet.schema_arrow
            named = zip(stored.names, modern(stored).names, strict=True)
            columns = [name for name, today in named if today in columns]
        self._batches = batches(self._parquet, size=size, columns=columns)
        self._rest: pa.Table | None = None
        self._unread: int = self._parquet.metadata.num_rows

    def loaded(self) -> int | None:
        """The end of the rows that are loaded, of the next portion where all were given; None where no more follow."""
        while self._rest is None or not self._rest.num_rows:
            batch = next(self._batches, None)
            if batch is None:
                return None
            self._rest = pa.Table.from_batches([batch])
            self._unread -= batch.num_rows
        if not self._unread:
            return None
        last: int = self._rest.column("row")[-1].as_py()
        return last + 1

    def bytes_below(self, limit: int) -> int:
        """What the loaded rows before row number `limit` take."""
        return self._rest.slice(0, self._cut(limit)).nbytes if self._rest is not None else 0

    def below(self, limit: int) -> pa.Table | None:
        """The loaded rows before row number `limit`, which are then given."""
        cut = self._cut(limit)
        if self._rest is None or not cut:
            return None
        given, self._rest = self._rest.slice(0, cut), self._rest.slice(cut)
        return given

    def _cut(self, limit: int) -> int:
        return 0 if self._rest is None else int(np.searchsorted(self._rest.column("row").to_numpy(), limit))

    def close(self) -> None:
        self._parquet.close()
        self._file.close()


class Broken(Exception):
    """A file that a merge needed cannot be read: `path`."""

    def __init__(self, path: str, why: Exception) -> None:
        self.path = path
        super().__init__(f"{path}: {why}")


def merge(
    files: Files, inputs: Sequence[tuple[str, int, int]], schema: pa.Schema, *, some: bool = False
) -> Iterator[tuple[int, int, pa.Table]]:
    """The rows of several sorted files in row order, each once (the highest generation), window by window.

    A window has at most `WINDOW` rows, and about `WINDOW_BYTES` or a single row.

    `inputs` are (path, first row, last row); `schema` is theirs, or with `some` a part of it. A nullable column that a
    file of an earlier version lacks is null. Yields (first row of the window, its end, its rows). Raises Broken.
    """
    waiting = sorted(inputs, key=lambda item: item[1], reverse=True)
    cursors: list[tuple[Cursor, int]] = []
    size = max(LEAST_BYTES, MERGE_BYTES // max(8, len(inputs)))
    end = max((last for _, _, last in inputs), default=-1) + 1
    try:
        start = min((first for _, first, _ in inputs), default=0)
        while start < end:
            stop = min(end, start + WINDOW)
            while waiting and waiting[-1][1] < stop:
                path, _, last = waiting.pop()
                with broken(path):
                    cursors.append((Cursor(files, path, schema.names if some else None, size=size), last))
            for cursor, _ in cursors:
                with broken(cursor.path):
                    loaded = cursor.loaded()
                if loaded is not None:
                    stop = min(stop, max(loaded, start + 1))
            while stop > start + 1 and sum(cursor.bytes_below(stop) for cursor, _ in cursors) > WINDOW_BYTES:
                stop = start + (stop - start) // 2
            parts: list[pa.Table] = []
            for cursor, _ in cursors:
                with broken(cursor.path):
                    if (part := cursor.below(stop)) is not None:
                        parts.append(fitted(part, schema))
            table = _in_order(pa.concat_tables(parts) if parts else schema.empty_table())
            yield start, stop, table
            for cursor, last in cursors:
                if last < stop:
                    cursor.close()
            cursors = [(cursor, last) for cursor, last in cursors if last >= stop]
            start = stop
    finally:
        for cursor, _ in cursors:
            cursor.close()


class broken:
    """Turns what pyarrow raises over damaged bytes into Broken(path)."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, DAMAGE) and not isinstance(error, MemoryError):  # pyarrow's is an ArrowException too
            raise Broken(self._path, error) from error


def _in_order(table: pa.Table) -> pa.Table:
    if table.num_rows < 2:
        return table
    rows: npt.NDArray[np.int64] = table.column("row").to_numpy()
    generations = table.column("generation").to_numpy()
    order = np.lexsort((generations, rows))
    ordered = rows[order]
    last_of_row = np.append(ordered[1:] != ordered[:-1], True)
    if last_of_row.sum() == 1:  # a row by itself, in several generations: copied nowhere, for it may be long
        return table.slice(int(order[-1]), 1)
    return take(table, pa.array(order[last_of_row]))
