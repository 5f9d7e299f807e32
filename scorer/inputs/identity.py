"""Checks that a shard is unchanged since it was first read: by its size, and its footer or the sha256 of its bytes."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO, cast

import pyarrow as pa

from scorer.errors import InputError, ShardChanged, StorageError
from scorer.files.files import Files, Stat
from scorer.files.local_globs import MATCHED, MATCHED_ELSE
from scorer.inputs.formats import format_of, is_parquet
from scorer.inputs.formats.byte_stream import WHOLE, HashedFile
from scorer.inputs.formats.content import BINARY, FIRST_BYTES, content_hint
from scorer.inputs.formats.protocol import DAMAGE, Contents, Unfinished
from scorer.inputs.read_retry import is_systems, short, with_retries
from scorer.types import Shard

SMALL_BYTES = 256 * 1024
"""A file with a footer that is not larger is read at once: one read, not one for the mark and each column."""


def contents(files: Files, stat: Stat) -> Contents:
    """What a file holds: rows, mark, schema.

    Raises Unfinished where it is still being written, InputError where it is no readable file of its format,
    StorageError where the system fails to read it.
    """
    format = format_of(stat.path)

    def read() -> Contents:
        with files.open(stat.path) as file:
            return format.look(file, stat.size)

    cause: Exception
    try:
        return with_retries(stat.path, read)
    except Unfinished as error:
        begins = _begins(files, stat.path)
        seems = content_hint(stat.path, begins) if begins.startswith(BINARY) else None
        if seems is None or seems.startswith(format.name):
            raise
        why, hint, cause = str(error), f" It looks like {seems}.", error
    except PermissionError as error:
        raise InputError(
            f"{stat.path} may not be read by this user ({error.strerror or error}). Allow it (`chmod`, or the rights "
            "of its folder), take the file out of input.shards, or leave it out of the run with --forget."
        ) from error
    except DAMAGE as error:
        why, hint, cause = short(error).rstrip("."), "", error
        if is_parquet(stat.path) and not stat.path.lower().endswith(MATCHED):
            hint = f" Its name ends in none of {', '.join((MATCHED, *MATCHED_ELSE))}, so it is read as Parquet."
        if (seems := content_hint(stat.path, _begins(files, stat.path))) is not None:
            hint += f" It looks like {seems}."
    raise InputError(
        f"{stat.path} is not a readable {format.name} file ({why}).{hint} Take it out of input.shards, write it again, "
        "or leave it out of the run with --forget."
    ) from cause


def _begins(files: Files, path: str) -> bytes:
    """The first bytes of a file that cannot be read, to see what they look like; none where that fails, too."""
    with suppress(OSError, StorageError), files.open(path) as file:
        return file.read(FIRST_BYTES)
    return b""


def look(files: Files, stat: Stat) -> tuple[int, str, pa.Schema]:
    """Rows, mark and schema of one file. Raises as `finished`."""
    found = finished(files, stat)
    return found.rows, found.mark, found.schema


def finished(files: Files, stat: Stat) -> Contents:
    """What a finished file holds. Raises InputError where it is none, StorageError as `contents`."""
    try:
        return contents(files, stat)
    except Unfinished as error:
        raise InputError(f"{stat.path} {error}, so it may still be written. Try again when it is whole.") from error


def schema_now(files: Files, shard: Shard) -> pa.Schema:
    """The schema of a shard of the run. Raises ShardChanged where it is gone or damaged, else OSError."""
    try:
        with files.open(shard.place) as file:
            return format_of(shard.path).schema(file)
    except DAMAGE as error:
        if is_systems(error) and not isinstance(error, FileNotFoundError):
            raise
        raise ShardChanged(shard.path) from error


def same_rows(files: Files, shard: Shard, stat: Stat) -> bool:
    """True where a shard has the same size and mark, so that only its time changed."""
    if (stat.size, stat.version) == (shard.size, shard.version):
        return True
    return stat.size == shard.size and _mark(files, shard, stat.path, stat.size) == shard.footer


def _mark(files: Files, shard: Shard, place: str, size: int) -> str:
    """The mark of the file at `place`, "" where it has none."""

    def read() -> str:
        with files.open(place) as file:
            return format_of(shard.path).mark(file, size)

    try:
        return with_retries(place, read)
    except DAMAGE:
        return ""


@contextmanager
def opened(files: Files, shard: Shard) -> Iterator[BinaryIO]:
    """Opens a shard's file after a check that it is unchanged. Raises ShardChanged where it is not.

    A file without a footer is known by its size and time here, and by its bytes once all of them were read.
    """
    try:
        file = files.open(shard.place)
    except FileNotFoundError:
        raise ShardChanged(shard.path) from None
    with file:
        if file.seek(0, io.SEEK_END) != shard.size:
            raise ShardChanged(shard.path)
        file.seek(0)
        if len(shard.footer) == WHOLE:
            stats = [stat for stat in files.find([shard.place]) if stat.path == shard.place]
            if not stats or not same_rows(files, shard, stats[0]):
                raise ShardChanged(shard.path)
            hashed = HashedFile(file)
            yield cast(BinaryIO, hashed)
            if hashed.digest(shard.size) not in (None, shard.footer):
                raise ShardChanged(shard.path)
        else:
            if shard.size <= SMALL_BYTES:
                file = cast(BinaryIO, pa.BufferReader(file.read()))
            if format_of(shard.path).mark(file, shard.size) != shard.footer:
                raise ShardChanged(shard.path)
            file.seek(0)
            yield file
