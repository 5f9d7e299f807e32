"""Result files as Parquet: written with page checksums, read with verification, counted. Merging: merge.py."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from scorer.files.files import Files
from scorer.files.parquet_batches import bounded_batches, read_whole
from scorer.frozen import dataclass, values
from scorer.output.checksums import OURS, Summed, check_footer
from scorer.output.schema import COPIED, METRIC
from scorer.types import (
    Result,
    Shard,
)

WINDOW, WINDOW_BYTES = 4096, 4 * 1024 * 1024
"""The most rows and bytes of a window, the unit of reading and merging. A longer row is a window by itself."""
GROUP_BYTES = 4 * 1024 * 1024
"""A sealed file's row group, in memory: with a window each, the footer of 2,000,000 rows took 20 MB."""
SMALL_BYTES = 128 * 1024
"""A file that begins with less is compressed by snappy: the contexts of zstd cost half of its time."""
FEW_ROWS = 8
"""A file that begins with fewer rows has no dictionaries, and of statistics those of `PUBLISHED` alone."""
PUBLISHED = ["finished_at"]
"""Columns whose statistics say to a publisher which version of a shard a file holds."""
SINK_BYTES = 64 * 1024
"""Buffer below the Parquet writer, which writes each column's pages by themselves."""
UNIQUE = frozenset(("row", "id", "raw", "waited_s", "answered_s", "finished_at"))
"""Columns without a dictionary: nearly every row has a value of its own."""
DAMAGE = (pa.ArrowException, OSError, EOFError, ValueError, KeyError)
"""The exceptions that pyarrow raises for damaged bytes."""


@dataclass(slots=True)
class Counts:
    """Sums over result rows. `cost_microusd` is rounded row by row; the ledger has the exact money."""

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
    """Rows without an automatic metric, by its name: without a text, or it failed. Earlier files lack it."""
    tiers: dict[str, int] = field(default_factory=dict, compare=False)
    """Rows by the service tier that their replies name. Earlier files lack it."""

    def add(self, other: Counts) -> None:
        self.rows += other.rows
        self.scored += other.scored
        self.prompt_tokens += other.prompt_tokens
        self.completion_tokens += other.completion_tokens
        self.cached_tokens += other.cached_tokens
        self.reasoning_tokens += other.reasoning_tokens
        self.cost_microusd += other.cost_microusd
        self.attempts += other.attempts
        self.copied += other.copied
        _add(self.errors, other.errors)
        _add(self.unmeasured, other.unmeasured)
        _add(self.tiers, other.tiers)

    def note(self, result: Result) -> None:
        """Counts a result: rows, scored, errors, tiers and copied alone."""
        self.rows += 1
        if result.error is None:
            self.scored += 1
        else:
            self.errors[result.error.name] = self.errors.get(result.error.name, 0) + 1
        self.copied += result.copied_from is not None
        if result.usage is not None and (tier := result.usage.tier) is not None:
            self.tiers[tier] = self.tiers.get(tier, 0) + 1

    def became(self, before: Result, now: Result) -> None:
        """Corrects the counts where a result that was noted as `before` is stored as `now`."""
        if before.error is None and now.error is not None:
            self.scored -= 1
            self.errors[now.error.name] = self.errors.get(now.error.name, 0) + 1

    @property
    def failed(self) -> int:
        return self.rows - self.scored

    @classmethod
    def of(cls, table: pa.Table | pa.RecordBatch) -> Counts:
        names = table.schema.names
        named = {name: _by_value(table.column(name)) for name in BY_NAME if name in names}
        sums = {name: _sum(table.column(name)) for name in SUMS if name in names}
        nulls = {name: table.column(name).null_count for name in _metrics(names)}
        return cls(
            rows=table.num_rows,
            scored=table.num_rows - table.column("score").null_count,
            errors=named["error"],
            tiers=named.get("tier", {}),
            copied=table.num_rows - table.column(COPIED).null_count if COPIED in names else 0,
            unmeasured={name.removeprefix(METRIC): count for name, count in nulls.items() if count},
            **sums,
        )


def _add(mine: dict[str, int], other: Mapping[str, int]) -> None:
    for name, count in other.items():
        mine[name] = mine.get(name, 0) + count


YOUNGER = ("copied", "unmeasured", "reasoning_tokens", "tiers")
"""Counts that files of earlier versions lack."""
SUMS = ("prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens", "cost_microusd", "attempts")
BY_NAME = ("error", "tier")
"""Columns whose values are counted one by one."""


def _by_value(column: pa.Array | pa.ChunkedArray) -> dict[str, int]:
    """How often each value occurs, nulls aside. pyarrow.compute takes 20 ms to load: a window does without it."""
    if column.null_count == len(column):
        return {}
    if len(column) <= WINDOW:
        return dict(Counter(value for value in column.to_pylist() if value is not None))
    return {v["values"].as_py(): v["counts"].as_py() for v in column.drop_null().value_counts()}


def _sum(column: pa.Array | pa.ChunkedArray) -> int:
    """The sum of whole numbers, nulls aside; without pyarrow.compute too."""
    total = 0
    for chunk in column.chunks if isinstance(column, pa.ChunkedArray) else [column]:
        if not chunk.null_count and len(chunk) >= FEW_ROWS:
            total += int(chunk.to_numpy().sum(dtype=np.int64))
        elif chunk.null_count < len(chunk):
            total += sum(filter(None, chunk.to_pylist()))
    return total


def _metrics(names: Sequence[str]) -> list[str]:
    """The columns of metrics among the names of a result table."""
    return [name for name in names[names.index("generation") + 1 :] if name.startswith(METRIC)]


def grouped(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Neighbouring tables, concatenated up to `GROUP_BYTES`."""
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
    table = next(batches, None)
    with pq.ParquetWriter(sink, schema, write_page_checksum=True, **_encoding(table, schema)) as writer:
        while table is not None:
            if table.num_rows:
                writer.write_table(table, row_group_size=group_rows or WINDOW)
                counts.add(Counts.of(table))
                sink.flush()
                summed.part(counts.rows)
            table = None  # not held while the next one is made
            table = next(batches, None)
        sink.flush()
        stated = {**about, **values(counts), "bounded": True}
        metadata = {f"scorer.{key}": orjson.dumps(value).decode() for key, value in stated.items()}
        writer.add_key_value_metadata({**metadata, **summed.metadata()})
    sink.flush()
    summed.finish()
    return counts


def _encoding(first: pa.Table | None, schema: pa.Schema) -> dict[str, Any]:
    """Options of the Parquet writer for a file that begins with these rows."""
    if first is None or first.num_rows < FEW_ROWS:  # no value can be repeated often
        return {"compression": "snappy", "use_dictionary": False, "write_statistics": PUBLISHED}
    repeating = [f.name for f in schema if f.name not in UNIQUE and not pa.types.is_nested(f.type)]
    return {"compression": "snappy" if first.nbytes < SMALL_BYTES else "zstd", "use_dictionary": repeating}


def about(
    shard: Shard,
    fingerprint: str,
    generation: int,
    run: str,
    edition: int = 0,
    judges: Mapping[str, int] | None = None,
) -> dict[str, Any]:
    """The metadata of a segment or sealed file, which identifies it without `run.json`. Earlier files have no `run`.

    `edition` counts how often the kept columns of the run changed before it was written. `judges` are the fingerprints
    of its retries with other keys, and their generations.
    """
    identity = {name: value for name, value in values(shard).items() if name != "at"}
    found = {"shard": identity, "fingerprint": fingerprint, "generation": generation, "run": run}
    return {**found, **({"edition": edition} if edition else {}), **({"judges": dict(judges)} if judges else {})}


def is_of(about: Mapping[str, Any], shard: Shard) -> bool:
    """False where a file's metadata names another shard. A copied or touched shard is the same one."""
    stated = about.get("shard")
    return stated is None or all(stated[name] == getattr(shard, name) for name in ("path", "rows", "footer"))


def read_about(files: Files, path: str, *, checked: bool = False) -> tuple[dict[str, Any], Counts]:
    """The metadata that `write` stored. `checked`: the footer's checksum is verified. Raises one of DAMAGE."""
    with files.open(path) as file:
        metadata = pq.read_metadata(file).metadata or {}
        if checked:
            check_footer(file, metadata)
        return about_of(metadata)


def about_of(metadata: Mapping[bytes, bytes]) -> tuple[dict[str, Any], Counts]:
    """What `write` stored in a file's metadata. Raises ValueError or KeyError where it is damaged."""
    found = {
        key.decode().removeprefix("scorer."): orjson.loads(value)
        for key, value in metadata.items()
        if key.startswith(b"scorer.") and key not in OURS
    }
    found.pop("bounded", None)
    counts = Counts(**{name: found.pop(name) for name in values(Counts()) if name not in YOUNGER or name in found})
    return found, counts


def read_columns(files: Files, path: str, columns: Sequence[str], *, counted: bool = False) -> pa.Table:
    """Some columns of a segment, with page checksums verified. Raises one of DAMAGE.

    `counted`: also the columns that only some runs have and that are counted, where the segment has them.
    """
    with files.open(path) as file:
        if counted:
            schema = pq.read_schema(file)
            columns = [name for name in columns if name in schema.names or name not in YOUNGER]
            columns += [*(name for name in schema.names if name in (COPIED, "tier")), *_metrics(schema.names)]
        return read_whole(file, columns)


def read_rows(files: Files, path: str, shard: Shard, fingerprint: str, first: int, last: int) -> npt.NDArray[np.int64]:
    """The row numbers in a segment. Raises one of DAMAGE, also where its metadata or rows do not fit its name."""
    with files.open(path) as file, pq.ParquetFile(file, pre_buffer=False, page_checksum_verification=True) as parquet:
        metadata = parquet.metadata.metadata or {}
        check_footer(file, metadata)
        stated, _ = about_of(metadata)
        if stated.get("fingerprint", fingerprint) != fingerprint or not is_of(stated, shard):
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


class Broken(Exception):
    """The file `path` cannot be read: its bytes are damaged."""

    def __init__(self, path: str, why: Exception) -> None:
        self.path = path
        super().__init__(f"{path}: {why}")


class broken:
    """Raises Broken(path) in place of an exception that pyarrow raises for damaged bytes."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, DAMAGE) and not isinstance(error, MemoryError):  # pyarrow's is an ArrowException too
            raise Broken(self._path, error) from error
