"""Makes written files of the local disk durable and gives them their names: one file, or several at once.

Words the disk's errors as one paragraph each. Knows no run.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from scorer.errors import StorageError
from scorer.frozen import dataclass


@dataclass(frozen=True, slots=True)
class Written:
    """A file whose bytes are written and not yet durable: its path, its name until it is published, open."""

    path: str
    partial: str
    file: BinaryIO


def publish(files: Sequence[Written], folders: Sequence[str] = ()) -> None:
    """Makes files durable, gives them their names, and makes these durable. No name is given where a sync fails.

    `folders` have new folders in them, which are made durable too.
    One commit of the file system's journal serves many files, where each is written before the first is synced.
    """
    try:
        for one in files:
            with storage_errors(one.path):
                os.fsync(one.file.fileno())
                one.file.close()
        for one in files:
            with storage_errors(one.path):
                os.replace(one.partial, one.path)
    finally:
        discard(files)  # also where the rename did nothing: both names may be one file already
    for folder in dict.fromkeys([*folders, *(os.path.dirname(one.path) for one in files)]):
        with storage_errors(folder):
            sync_folder(folder)


def discard(files: Sequence[Written]) -> None:
    """Closes and deletes files that have no name yet."""
    for one in files:
        with contextlib.suppress(OSError):
            one.file.close()
        with contextlib.suppress(OSError):
            os.unlink(one.partial)


def start_writing(file: BinaryIO) -> None:
    """Lets the kernel begin to write a file's bytes to the disk, where the system allows it."""
    if hasattr(os, "posix_fadvise"):
        with contextlib.suppress(OSError):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


@contextlib.contextmanager
def closed_on_error(file: BinaryIO) -> Iterator[None]:
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            file.close()
        raise


def sync_folder(folder: str) -> None:
    fd = os.open(folder or ".", os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_names(folder: str) -> None:
    """Makes the names durable of a folder, of what is in it, and of what its own folders hold.

    A process that was killed may have made one and not synced it. Folders that may not be read are left out.
    """
    with os.scandir(folder) as entries:
        inside = [os.path.join(folder, entry.name) for entry in entries if entry.is_dir()]
    for one in (os.path.dirname(folder), folder, *inside):
        with contextlib.suppress(OSError):
            sync_folder(one)


_WHY = {
    errno.ENOSPC: "the disk is full: free some space",
    errno.EDQUOT: "the disk quota is used up: free some space",
    errno.EROFS: "the disk is read-only: give another output.path or mount it writable",
    errno.EACCES: "permission denied: give another output.path or change its owner",
    errno.EPERM: "the operation is not permitted: give another output.path or change its owner",
    errno.EMFILE: "too many open files: raise `ulimit -n`",
    errno.ENOTDIR: "a part of the path is a file, not a folder: give another output.path",
}


class storage_errors:
    """Turns an OSError of the block into a StorageError that says what to do."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            why = _WHY.get(error.errno or 0, f"the system says: {error.strerror or error}")
            raise StorageError(
                f"Cannot write {self._path}: {why}. Everything stored before is intact; the same command resumes."
            ) from error
