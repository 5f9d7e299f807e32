"""Finds the shards of a run and takes a first look at them: rows, footer, schema, and whether they changed."""

from __future__ import annotations

import hashlib
import io
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from scorer.errors import InputError, ShardChanged
from scorer.files.filenames import not_utf8
from scorer.files.files import Files, Stat
from scorer.inputs.patience import is_systems, short, with_retries
from scorer.inputs.shard_reader import DAMAGE
from scorer.types import Shard


def look(files: Files, stat: Stat) -> tuple[int, str, pa.Schema]:
    """Rows, footer hash and schema of one shard.

    Raises InputError where it is no readable Parquet file, StorageError where the system fails to read it.
    """

    def read() -> tuple[int, str, pa.Schema]:
        with files.open(stat.path) as file, pq.ParquetFile(file, pre_buffer=False) as parquet:
            return parquet.metadata.num_rows, _footer_hash(file, stat.size), parquet.schema_arrow

    try:
        return with_retries(stat.path, read)
    except DAMAGE as error:
        raise InputError(
            f"{stat.path} is not a readable Parquet file ({short(error)}). input.shards takes Parquet files: take "
            "this one out, write it again, or leave it out of the run with --forget."
        ) from error


def schema_now(files: Files, shard: Shard) -> pa.Schema:
    """The schema of a shard of the run. Raises ShardChanged where it is gone or damaged, else OSError."""
    try:
        with files.open(shard.place) as file:
            return pq.read_schema(file)
    except DAMAGE as error:
        if is_systems(error) and not isinstance(error, FileNotFoundError):
            raise
        raise ShardChanged(shard.path) from error


def same_rows(files: Files, shard: Shard, stat: Stat) -> bool:
    """True where a shard still holds the rows it held: its size and footer are what they were; it was only touched."""
    if (stat.size, stat.version) == (shard.size, shard.version):
        return True
    try:
        return stat.size == shard.size and look(files, stat)[1] == shard.footer
    except InputError:
        return False


def find(files: Files, patterns: Sequence[str]) -> list[Stat]:
    """The shards that `input.shards` matches. Raises InputError where it is none, or where a name is not UTF-8."""
    if found := files.find(patterns):
        if odd := [shown for stat in found if (shown := not_utf8(stat.path)) is not None]:
            raise InputError(
                f"{odd[0]} has a name that is not UTF-8{f', and so have {len(odd) - 1} others' if odd[1:] else ''}. "
                "Results name their shard as text: rename the file or its folder. Nothing was sent."
            )
        return found
    raise InputError(
        f"input.shards = {', '.join(patterns)} matches no file. Give Parquet files, folders of them, or globs."
    )


def linked(found: Sequence[Stat]) -> str | None:
    """A sentence where several paths lead to one file, which is read once."""
    twice = [
        (stat.path, path) for stat in found for path in stat.also if os.path.abspath(path) != os.path.abspath(stat.path)
    ]
    if not twice:
        return None
    path, link = twice[0]
    return (
        f"{len(twice)} paths lead to files that are matched already, such as {link} to {path}. Each file is read once."
    )


def first_look(
    files: Files, stats: Sequence[Stat], names: Mapping[str, str], wanted: Sequence[str], kept: Sequence[str] = ()
) -> list[Shard]:
    """Shards with their rows and footers; `names` are their stems by path, `wanted` the columns they must have.

    `kept` are those of them that the results keep.

    Raises InputError with every mistake in all of them.
    """
    shards, problems = [], []
    for stat in stats:
        try:
            rows, footer, schema = look(files, stat)
        except InputError as error:
            problems.append(str(error))
            continue
        if missing := missing_columns(schema, wanted):
            problems.append(
                f"{stat.path} has no column {', '.join(map(repr, missing))}, which the run file asks for. It has: "
                f"{', '.join(schema.names[:20])}."
            )
        if several := [name for name in dict.fromkeys(wanted) if schema.names.count(name) > 1]:
            problems.append(
                f"{stat.path} has several columns called {', '.join(map(repr, several))}, so that nobody can tell "
                "which is meant. Write it again with a name for each."
            )
        types = "" if missing or several else _types(schema, kept)
        shards.append(Shard(stat.path, names[stat.path], stat.size, stat.version, rows, footer, types))
    if problems:
        raise InputError("\n".join(problems))
    return shards


def missing_columns(schema: pa.Schema, wanted: Sequence[str]) -> list[str]:
    """Those of `wanted` that a shard does not have."""
    return [name for name in dict.fromkeys(wanted) if name not in schema.names]


def _types(schema: pa.Schema, kept: Sequence[str]) -> str:
    return f"{zlib.crc32(str([schema.field(name).type for name in kept]).encode()):08x}"


def _footer_hash(file: Any, size: int) -> str:
    file.seek(size - 8)
    length = int.from_bytes(file.read(4), "little")
    file.seek(max(0, size - 8 - length))
    return hashlib.sha256(file.read(length)).hexdigest()[:16]


@contextmanager
def opened(files: Files, shard: Shard) -> Iterator[BinaryIO]:
    """The shard's file, proven to be what it was when first seen. Raises ShardChanged where it is not."""
    try:
        file = files.open(shard.place)
    except FileNotFoundError:
        raise ShardChanged(shard.path) from None
    with file:
        if file.seek(0, io.SEEK_END) != shard.size or _footer_hash(file, shard.size) != shard.footer:
            raise ShardChanged(shard.path)
        file.seek(0)
        yield file
