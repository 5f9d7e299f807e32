"""Files of the local disk. A write waits while the disk is full."""

from __future__ import annotations

import contextlib
import fcntl
import io
import itertools
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import field
from functools import partial as bound
from pathlib import Path
from typing import BinaryIO

from scorer.errors import OutputError, SpecError
from scorer.files.durable import (
    Written,
    closed_on_error,
    discard,
    publish,
    start_writing,
    storage_errors,
    sync_folder,
    sync_names,
)
from scorer.files.filenames import NAME_BYTES, short_name
from scorer.files.files import PARTIAL, Lock, Stat
from scorer.files.full_disk import FullDiskRetry, Space
from scorer.files.local_globs import match
from scorer.files.local_lock import LocalLock
from scorer.frozen import dataclass

OWNER_ONLY = 0o700
"""Mode of a new output folder, which holds prompts, replies and ids. An existing folder keeps its mode."""


class LocalFiles:
    """Files of this machine. Durable means: fsync of the file, rename, fsync of the folder.

    Writes wait up to `FULL_DISK_S` while the disk is full or a quota is used up.
    """

    def __init__(self) -> None:
        self._serial = itertools.count()
        self._together = _Together()
        self._space = Space()

    def find(self, patterns: Sequence[str]) -> list[Stat]:
        return list(_stats(match(patterns)))

    def listing(self, folder: str) -> list[Stat]:
        try:
            with os.scandir(folder) as entries:
                names = sorted(e.name for e in entries if e.is_file() and not e.name.startswith(PARTIAL))
        except (FileNotFoundError, NotADirectoryError):
            return []
        return list(_stats((f"{folder}/{name}", ()) for name in names))

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
        partial = self._begun(path)
        try:
            with storage_errors(path):
                raw: BinaryIO = self._space.wait_for(lambda: open(partial, "wb", buffering=0))  # noqa: SIM115 - closed below
            written = Written(path, partial, io.BufferedWriter(FullDiskRetry(raw, self._space)))
            with storage_errors(path), closed_on_error(written.file):
                yield written.file
                written.file.flush()
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(partial)
            raise
        if self._together.waiting is not None:
            start_writing(raw)
        self._publish(written)

    def link(self, path: str, name: str) -> bool:
        partial = self._begun(name)
        try:
            os.link(path, partial)
        except OSError:  # no links on this file system, or not between these folders
            return False
        try:
            with storage_errors(name):
                written = Written(name, partial, open(partial, "rb"))  # noqa: SIM115 - closed as it is published
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(partial)
            raise
        self._publish(written)
        return True

    def _begun(self, path: str) -> str:
        """The name of a file until it is published. Its folder is made where there is none."""
        folder, name = os.path.split(path)
        waiting = self._together.waiting
        with storage_errors(path):
            _make_folder(folder, sync=sync_folder if waiting is None else waiting.folders.append)
        tail = f"-{os.getpid()}-{next(self._serial)}"
        return os.path.join(folder, PARTIAL + short_name(name, NAME_BYTES - len(PARTIAL) - len(tail)) + tail)

    def _publish(self, written: Written) -> None:
        """Publishes a file now, or at the end of `together`."""
        if self._together.waiting is None:
            publish([written])
        else:
            self._together.waiting.files.append(written)

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        waiting = self._together.waiting = _Waiting()
        try:
            yield
        except BaseException:
            discard(waiting.files)
            raise
        finally:
            self._together.waiting = None
        publish(waiting.files, waiting.folders)

    def append(self, path: str, data: bytes) -> None:
        with storage_errors(path):
            new = not os.path.exists(path)
            if new:
                _make_folder(os.path.dirname(path))
            with open(path, "ab", buffering=0) as file:
                view = memoryview(data)
                while view:
                    view = view[self._space.wait_for(bound(file.write, view)) :]
                os.fdatasync(file.fileno())
            if new:
                sync_folder(os.path.dirname(path))

    def delete(self, path: str) -> None:
        with storage_errors(path), contextlib.suppress(FileNotFoundError):
            os.unlink(path)

    def sweep(self, folder: str, part: str = "") -> None:
        for path in Path(folder).glob(f"{PARTIAL}*{part}-*"):
            self.delete(str(path))

    def drop_folder(self, folder: str) -> None:
        with contextlib.suppress(OSError):
            os.rmdir(folder)

    def lock(self, path: str, owner: str) -> Lock:
        folder = os.path.dirname(path)
        _check_no_file(folder)
        was_there = os.path.isdir(folder)
        with storage_errors(path):
            _make_folder(folder, OWNER_ONLY)
            file = open(path, "a+b")  # noqa: SIM115 - held until released
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            holder = file.read(200).decode(errors="replace").strip() or "another process"
            file.close()
            raise OutputError(
                f"{folder} is in use by {holder}. One run owns an output folder: wait for it, stop it, "
                "or give this run another output.path."
            ) from None
        with storage_errors(path):
            file.truncate(0)
            file.write(owner.encode())
            file.flush()
            if was_there:
                sync_names(folder)
            return LocalLock(file, path, owner)

    def locked(self, path: str) -> bool:
        """Probes by taking a shared lock for an instant; a concurrent `lock` may fail and has to be tried again."""
        try:
            with open(path, "rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                return False
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True


@dataclass(frozen=True, slots=True)
class _Waiting:
    """Files that wait for the end of `together`, and the folders in which a folder was made for them."""

    files: list[Written] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)


class _Together(threading.local):
    """What waits for the end of this thread's `together`; None outside of it."""

    waiting: _Waiting | None = None


def _stat(path: str, also: tuple[str, ...] = ()) -> Stat:
    found = os.stat(path)
    return Stat(path, found.st_size, str(found.st_mtime_ns), also)


def _stats(found: Iterable[tuple[str, tuple[str, ...]]]) -> Iterator[Stat]:
    """Those of the files that were not deleted since they were found."""
    for path, also in found:
        with contextlib.suppress(FileNotFoundError):
            yield _stat(path, also)


def _check_no_file(folder: str) -> None:
    """Raises SpecError where the folder's path, or a parent of it, is a file."""
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


def _make_folder(folder: str, mode: int = 0o777, *, sync: Callable[[str], None] = sync_folder) -> None:
    """Creates a folder and its parents. `mode`, less the umask, applies to the folder itself where it is new.

    `sync` is called with each folder in which one was made.
    """
    if not folder or os.path.isdir(folder):
        return
    parent = os.path.dirname(folder)
    _make_folder(parent, sync=sync)
    with contextlib.suppress(FileExistsError):
        os.mkdir(folder, mode)
    sync(parent)
