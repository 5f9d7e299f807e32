"""Result files as Parquet: written with page checksums, read with verification. Merging: merge.py."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from scorer.errors import StorageError
from scorer.files.files import Files
from scorer.files.parquet_batches import bounded_batches, read_whole
from scorer.frozen import values
from scorer.output.checksums import OURS, Summed, blank_sums, check_footer, fill_sums
from scorer.output.row_counts import YOUNGER, Counts, metric_names
from scorer.output.schema import COPIED
from scorer.processes.memory import give_memory_back
from scorer.types import Shard

WINDOW, WINDOW_BYTES = 4096, 4 * 1024 * 1024
"""The most rows and bytes of a window, the unit of reading and merging. A longer row is a window by itself."""
GROUP_BYTES = 8 * 1024 * 1024
"""A sealed file's row group, decoded; a merge holds columns of one value once. The writer holds 40 KB of each group
until it writes the footer: with a window each, 2,000,000 rows took 20 MB."""
SMALL_BYTES = 128 * 1024
"""A file that begins with less is compressed by snappy, has no dictionaries, and statistics of `PUBLISHED` alone: two
thirds of the time, and fewer bytes up to 250 rows."""
PUBLISHED = ["finished_at"]
"""Columns whose statistics say to a publisher which version of a shard a file holds."""
SINK_BYTES = 64 * 1024
"""Buffer below the Parquet writer, which writes each column's pages by themselves."""
UNIQUE = frozenset(("row", "id", "raw", "waited_s", "answered_s", "finished_at"))
"""Columns without a dictionary: nearly every row has a value of its own."""
DAMAGE = (pa.ArrowException, OSError, EOFError, ValueError, KeyError)
"""The exceptions that pyarrow raises for damaged bytes."""


def grouped(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Neighbouring tables, concatenated up to `GROUP_BYTES`. Memory that a group took goes back to the system."""
    held: list[pa.Table] = []
    size = 0
    for table in tables:
        more = table.nbytes  # Arrow looks at every buffer of every chunk: .3 ms
        if held and size + more > GROUP_BYTES:
            yield pa.concat_tables(held)
            held, size = [], 0
            give_memory_back()
        held.append(table)
        size += more
    if held:
        yield pa.concat_tables(held)


def write(
    file: BinaryIO,
    batches: Iterator[pa.Table],
    schema: pa.Schema,
    about: Mapping[str, Any],
    *,
    group_rows: int | None = None,
    merged_soon: bool = False,
) -> Counts:
    """Writes tables of bounded bytes one after another, with counts and their checksums as key-value metadata.

    A row group has `group_rows`, or a window where that is None, and never rows of two tables. A file that is
    `merged_soon` is compressed by snappy, whatever its size.
    """
    counts, summed = Counts(), Summed(file)
    sink = pa.output_stream(summed, compression=None, buffer_size=SINK_BYTES)
    table = next(batches, None)
    with pq.ParquetWriter(
        sink, schema, write_page_checksum=True, **_encoding(_held_bytes(table), schema, merged_soon=merged_soon)
    ) as writer:
        while table is not None:
            if table.num_rows:
                writer.write_table(table, row_group_size=group_rows or WINDOW)
                counts.add(Counts.of(table))
                sink.flush()
                summed.part(counts.rows)
            table = None  # not held while the next one is made
            table = next(batches, None)
        sink.flush()
        writer.add_key_value_metadata({**_metadata(about, counts), **summed.metadata()})
    sink.flush()
    summed.finish()
    return counts


def encoded(table: pa.Table, schema: pa.Schema, about: Mapping[str, Any], counts: Counts) -> bytes:
    """The bytes of a small file with these rows, one row group, and their counts; as `write` writes it."""
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, schema, write_page_checksum=True, **_encoding(table.nbytes, schema)) as writer:
        writer.write_table(table, row_group_size=table.num_rows)
        end = sink.tell()
        writer.add_key_value_metadata({**_metadata(about, counts), **blank_sums(table.num_rows, end)})
    data = bytearray(sink.getvalue())
    fill_sums(data, table.num_rows, end)
    return bytes(data)


def _metadata(about: Mapping[str, Any], counts: Counts) -> dict[str, str]:
    stated = {**about, **values(counts), "bounded": True}
    return {f"scorer.{key}": orjson.dumps(value).decode() for key, value in stated.items()}


def _held_bytes(first: pa.Table | None) -> int:
    """The bytes that a file's first table holds in memory; `nbytes` takes 30 times as long."""
    return 0 if first is None else int(first.get_total_buffer_size())


def _encoding(size: int, schema: pa.Schema, *, merged_soon: bool = False) -> dict[str, Any]:
    """Options of the Parquet writer for a file whose first table has so many bytes."""
    if size < SMALL_BYTES:
        return {"compression": "snappy", "use_dictionary": False, "write_statistics": PUBLISHED}
    return {"compression": "snappy" if merged_soon else "zstd", "use_dictionary": _repeating(schema)}


@lru_cache(16)
def _repeating(schema: pa.Schema) -> list[str]:
    """The columns with a dictionary."""
    return [f.name for f in schema if f.name not in UNIQUE and not pa.types.is_nested(f.type)]


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
            columns += [*(name for name in schema.names if name in (COPIED, "tier")), *metric_names(schema.names)]
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


_LACKING = {
    errno.EMFILE: "too many open files: raise `ulimit -n`",
    errno.ENFILE: "too many files are open on this machine",
    errno.ENOMEM: "memory is short",
    errno.EACCES: "permission denied",
    errno.EPERM: "the operation is not permitted",
    errno.ESTALE: "the file server has lost it for the moment",
}
"""What keeps a process from reading a file, whatever its bytes are."""


class broken:
    """Raises Broken(path) in place of an exception that pyarrow raises for damaged bytes.

    Raises StorageError where the process lacks something to read it: a file that cannot be opened now is not damaged.
    """

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError) and (why := _LACKING.get(error.errno or 0)) is not None:
            raise StorageError(
                f"Cannot read {self._path}: {why}. Everything stored before is intact; the same command resumes."
            ) from error
        if isinstance(error, DAMAGE) and not isinstance(error, MemoryError):  # pyarrow's is an ArrowException too
            raise Broken(self._path, error) from error
