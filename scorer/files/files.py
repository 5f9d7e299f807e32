"""The Files protocol (find, list, open, create, append, delete, lock) and the local disk. Buckets: object_store.py.

`scorer.files.router.AnyFiles()` is Files for any path, local or s3://, gs://, az://: what a command hands on. Knows
nothing of what the bytes mean. A file that `create` publishes is whole and durable, or is not there.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import io
import itertools
import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial as bound
from pathlib import Path
from typing import BinaryIO, Protocol

from scorer.errors import InUse, OutputError, SpecError, StorageError
from scorer.files.filenames import NAME_BYTES, short_name
from scorer.files.full_disk import FullDiskRetry, Space
from scorer.files.matching import match

PARTIAL = ".partial-"
"""Prefix of files that are being written; leftovers of a crash are deleted by the next owner."""


@dataclass(frozen=True, slots=True)
class Stat:
    """One file: its path as listed, bytes, and a version that changes when it is written again (mtime or etag).

    `also` are other paths to the same file that were matched with it.
    """

    path: str
    size: int
    version: str
    also: tuple[str, ...] = ()


class Lock(Protocol):
    """An exclusive hold on a folder; gone when its process is (on object storage a while after)."""

    def sure(self) -> bool:
        """True while nobody else can hold it; False until storage can be asked again. Raises OutputError once lost."""
        ...

    def release(self) -> None: ...


class Files(Protocol):
    """Storage. Paths are strings; `/` joins them. Writing raises StorageError, reading FileNotFoundError or OSError."""

    def find(self, patterns: Sequence[str]) -> list[Stat]:
        """The Parquet files that paths, folders and globs match: sorted, each real file once."""
        ...

    def listing(self, folder: str) -> list[Stat]:
        """The files directly in `folder`, sorted by name, partial ones left out; empty where there is no folder."""
        ...

    def folders(self, folder: str) -> list[str]:
        """The names of the folders directly in `folder`, sorted."""
        ...

    def open(self, path: str) -> BinaryIO:
        """The file for random-access reading."""
        ...

    def create(self, path: str) -> AbstractContextManager[BinaryIO]:
        """A new file to write: published whole, durable and under its name on a clean exit, gone on any other."""
        ...

    def append(self, path: str, data: bytes) -> None:
        """Adds `data` at the end, durable on return; what a crash cuts off is at most this call's tail."""
        ...

    def delete(self, path: str) -> None:
        """Takes a file away; nothing where it is gone already."""
        ...

    def sweep(self, folder: str) -> None:
        """Deletes what a crash left half-written in `folder`."""
        ...

    def lock(self, path: str, owner: str) -> Lock:
        """Takes the lock at once or raises OutputError naming its holder (InUse where to ask again is of use)."""
        ...

    def locked(self, path: str) -> bool:
        """True while a living process holds the lock."""
        ...


def read(files: Files, path: str) -> bytes:
    """All bytes of a file."""
    with files.open(path) as file:
        return file.read()


def replace(files: Files, path: str, data: bytes) -> None:
    """Writes the whole file anew: readers see the old one or the new one, never a part."""
    with files.create(path) as file:
        file.write(data)


OWNER_ONLY = 0o700
"""Mode of a new folder that a run owns: prompts, replies and ids are in it. One that is there keeps its own."""
LOCK_TRIES = 5
"""`scorer status` probes a local lock for an instant; a start that meets it tries again."""


def lock_again_s(refused: OutputError, tries: int) -> float | None:
    """Seconds to wait before trying for a lock once more after so many tries; None: its holder lives."""
    if isinstance(refused, InUse):
        return refused.again_s
    return 0.05 if tries < LOCK_TRIES else None


class LocalFiles:
    """Files of this machine. Durable means fsync of the file, a rename, fsync of its folder.

    A disk that is full, or a quota that is used up, is for `FULL_DISK_S` no more than a slow disk.
    """

    def __init__(self) -> None:
        self._serial = itertools.count()
        self._space = Space()

    def find(self, patterns: Sequence[str]) -> list[Stat]:
        return [_stat(path, also) for path, also in match(patterns)]

    def listing(self, folder: str) -> list[Stat]:
        try:
            with os.scandir(folder) as entries:
                names = sorted(e.name for e in entries if e.is_file() and not e.name.startswith(PARTIAL))
        except (FileNotFoundError, NotADirectoryError):
            return []
        stats = []
        for name in names:
            with contextlib.suppress(FileNotFoundError):  # deleted between the listing and now
                stats.append(_stat(f"{folder}/{name}"))
        return stats

    def folders(self, folder: str) -> list[str]:
        try:
            with os.scandir(folder) as entries:
                return sorted(e.name for e in entries if e.is_dir())
        except (FileNotFoundError, NotADirectoryError):
            return []

    def open(self, path: str) -> BinaryIO:
        return open(path, "rb")

    @contextlib.contextmanager
    def create(self, path: str) -> Iterator[BinaryIO]:
        folder, name = os.path.split(path)
        tail = f"-{os.getpid()}-{next(self._serial)}"
        partial = os.path.join(folder, PARTIAL + short_name(name, NAME_BYTES - len(PARTIAL) - len(tail)) + tail)
        with _said(path):
            _make_folder(folder)
        try:
            with _said(path):
                raw: BinaryIO = self._space.wait_for(lambda: open(partial, "wb", buffering=0))  # noqa: SIM115 - closed below
            with _said(path), io.BufferedWriter(FullDiskRetry(raw, self._space)) as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            with _said(path):
                os.replace(partial, path)
                _sync_folder(folder)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(partial)
            raise

    def append(self, path: str, data: bytes) -> None:
        with _said(path):
            new = not os.path.exists(path)
            if new:
                _make_folder(os.path.dirname(path))
            with open(path, "ab", buffering=0) as file:
                view = memoryview(data)
                while view:
                    view = view[self._space.wait_for(bound(file.write, view)) :]
                os.fdatasync(file.fileno())
            if new:
                _sync_folder(os.path.dirname(path))

    def delete(self, path: str) -> None:
        with _said(path), contextlib.suppress(FileNotFoundError):
            os.unlink(path)

    def sweep(self, folder: str) -> None:
        for path in Path(folder).glob(f"{PARTIAL}*"):
            self.delete(str(path))

    def lock(self, path: str, owner: str) -> Lock:
        _check_no_file(os.path.dirname(path))
        with _said(path):
            _make_folder(os.path.dirname(path), OWNER_ONLY)
            file = open(path, "a+b")  # noqa: SIM115 - held until released
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            holder = file.read(200).decode(errors="replace").strip() or "another process"
            file.close()
            raise OutputError(
                f"{os.path.dirname(path)} is in use by {holder}. One run owns an output folder: wait for it, stop it, "
                "or give this run another output.path."
            ) from None
        with _said(path):
            file.truncate(0)
            file.write(owner.encode())
            file.flush()
        return _LocalLock(file)

    def locked(self, path: str) -> bool:
        """A probe: it holds a shared lock for a moment, so `lock` may be tried once more where it fails."""
        try:
            with open(path, "rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                return False
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True


class _LocalLock:
    def __init__(self, file: io.BufferedRandom) -> None:
        self._file = file

    def sure(self) -> bool:
        return True

    def release(self) -> None:
        self._file.close()


def _stat(path: str, also: tuple[str, ...] = ()) -> Stat:
    found = os.stat(path)
    return Stat(path, found.st_size, str(found.st_mtime_ns), also)


def _check_no_file(folder: str) -> None:
    """Raises SpecError where a file has the folder's name, or that of a folder above it."""
    above = os.path.abspath(folder)
    while not os.path.lexists(above):
        above = os.path.dirname(above)
    if os.path.exists(above) and not os.path.isdir(above):
        raise SpecError(
            [
                f'output.path = "{folder}" cannot be a folder: {above} is a file. Give another output.path, or move '
                "the file away."
            ]
        )


def _make_folder(folder: str, mode: int = 0o777) -> None:
    """Makes a folder, and those above it. `mode` is that of the folder itself where it is new, less the umask."""
    if not folder or os.path.isdir(folder):
        return
    parent = os.path.dirname(folder)
    _make_folder(parent)
    with contextlib.suppress(FileExistsError):
        os.mkdir(folder, mode)
    _sync_folder(parent)


def _sync_folder(folder: str) -> None:
    fd = os.open(folder or ".", os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


_WHY = {
    errno.ENOSPC: "the disk is full: free some space",
    errno.EDQUOT: "the disk quota is used up: free some space",
    errno.EROFS: "the disk is read-only: give another output.path or mount it writable",
    errno.EACCES: "permission denied: give another output.path or change its owner",
    errno.EPERM: "the operation is not permitted: give another output.path or change its owner",
    errno.EMFILE: "too many open files: raise `ulimit -n`",
    errno.ENOTDIR: "a part of the path is a file, not a folder: give another output.path",
}


@contextlib.contextmanager
def _said(path: str) -> Iterator[None]:
    """Turns the system's error into a sentence, once, at this boundary."""
    try:
        yield
    except OSError as error:
        why = _WHY.get(error.errno or 0, f"the system says: {error.strerror or error}")
        raise StorageError(
            f"Cannot write {path}: {why}. Everything stored before is intact; the same command resumes."
        ) from error
