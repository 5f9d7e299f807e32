"""The Files protocol: find, list, open, create, append, delete, lock. The local disk: local_files.py.

Buckets: object_store.py. `scorer.files.router.AnyFiles()` is Files for any path, local or s3://, gs://, az://.
A file that `create` writes is whole and durable, or does not exist. Knows nothing of what the bytes mean.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import BinaryIO, Protocol

from scorer.frozen import dataclass

PARTIAL = ".partial-"
"""Prefix of files that are being written; the next start deletes those that a crash left."""


@dataclass(frozen=True, slots=True)
class Stat:
    """One file: its path as listed, its size in bytes, and a version that changes with every write (mtime or etag).

    `also` are other matched paths to the same file.
    """

    path: str
    size: int
    version: str
    also: tuple[str, ...] = ()


class Lock(Protocol):
    """An exclusive lock on a folder. It ends with its process (on object storage when its lease expires)."""

    def sure(self) -> bool:
        """True while the lock is certainly held, False while storage cannot be asked. Raises OutputError once lost."""
        ...

    def release(self) -> None: ...


class Files(Protocol):
    """Files in one or several storages. Paths are strings joined by `/`.

    Writing raises StorageError, reading FileNotFoundError or OSError.
    """

    def find(self, patterns: Sequence[str]) -> list[Stat]:
        """The files that paths, folders and globs match: sorted by path, each real file once."""
        ...

    def listing(self, folder: str) -> list[Stat]:
        """The files directly in `folder`, sorted by name, without partial ones; empty without such a folder."""
        ...

    def folders(self, folder: str) -> list[str]:
        """The names of the folders directly in `folder`, sorted."""
        ...

    def open(self, path: str) -> BinaryIO:
        """The file for random-access reading."""
        ...

    def create(self, path: str) -> AbstractContextManager[BinaryIO]:
        """A new file to write. It appears under its name, whole and durable, on a clean exit only."""
        ...

    def link(self, path: str, name: str) -> bool:
        """Gives a file that is never changed a second name, durable as `create` makes it; each can be deleted alone.

        False where the storage cannot, and nothing was done: write its bytes again then.
        """
        ...

    def together(self) -> AbstractContextManager[None]:
        """Files that this thread creates or links in the block appear at its clean end, all durable; or none appears.

        On object storage each appears at once, as without it.
        """
        ...

    def append(self, path: str, data: bytes) -> None:
        """Appends `data`; durable on return. A crash during the call may leave a prefix of `data`."""
        ...

    def delete(self, path: str) -> None:
        """Deletes a file; does nothing where it does not exist."""
        ...

    def sweep(self, folder: str, part: str = "") -> None:
        """Deletes the partial files in `folder` that a crash left: those with `part` and a hyphen in their names."""
        ...

    def drop_folder(self, folder: str) -> None:
        """Removes a folder that is empty; does nothing where it is not, or does not exist."""
        ...

    def lock(self, path: str, owner: str) -> Lock:
        """Takes the lock at once, or raises OutputError that names its holder (InUse where a later try may succeed)."""
        ...

    def locked(self, path: str) -> bool:
        """True while a living process holds the lock."""
        ...


def read(files: Files, path: str) -> bytes:
    """All bytes of a file."""
    with files.open(path) as file:
        return file.read()


def replace(files: Files, path: str, data: bytes) -> None:
    """Replaces a file atomically: readers see the old bytes or the new bytes, never a mixture."""
    with files.create(path) as file:
        file.write(data)


def copy(files: Files, old: str, new: str) -> None:
    """Copies a file, whole or not at all."""
    with files.open(old) as source, files.create(new) as target:
        shutil.copyfileobj(source, target, 1 << 20)
