"""A disk in memory below the unchanged `scorer.files.local_files.LocalFiles`: a power cut leaves only what was synced.

It is pessimistic as POSIX allows. Bytes of a file survive up to its last fsync; of those after it, any part may, or
zeros in their place. A name made, moved or deleted survives once its folder was synced; of what came later, a prefix.
Writes may be slow, short, torn, refused for lack of space, or fail; locks end with the process.
"""

from __future__ import annotations

import errno
import fcntl
import os
import posixpath
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from functools import partial
from random import Random
from types import SimpleNamespace
from typing import Any
from unittest import mock

from simulation.disk_files import Inode, OpenFile
from simulation.loop import Fuse

from scorer.files import durable, local_files, local_globs, local_lock
from scorer.files import full_disk as fulldisk


class Disk:
    """One machine's disk. `mounted` puts it below `LocalFiles`; `cut` is the power cut."""

    def __init__(self, draw: Random, fuse: Fuse) -> None:
        self.full = False
        self.failing = 0
        """The number of coming writes and syncs that fail with EIO."""
        self._draw = draw
        self._fuse = fuse
        self._versions = 0
        self._names: dict[str, Inode] = {}
        self._folders = {""}
        self._kept_names: dict[str, Inode] = {}
        self._kept_folders = {""}
        self._pending: dict[str, list[Callable[[], object]]] = {}
        self._handles: dict[int, Inode | str] = {}
        self._next_handle = 3
        self._locks: dict[str, list[tuple[OpenFile, int]]] = {}

    # --- for the simulation -------------------------------------------------------------------------------------------

    def put(self, path: str, data: bytes) -> None:
        """Adds a file that is already durable."""
        for folders in (self._folders, self._kept_folders):
            folders.add(posixpath.dirname(path))
        self._names[path] = self._kept_names[path] = self._inode(data)

    def make_unsynced(self, folder: str) -> None:
        """Makes a folder as a process does that is killed before it can sync the folder above."""
        self._mkdir(folder)

    def has(self, path: str) -> bool:
        """Whether a file is there."""
        return path in self._names

    def ends(self) -> None:
        """Ends a process: its locks and handles are gone."""
        self._locks.clear()
        self._handles.clear()

    def cut(self) -> None:
        """Cuts the power: only synced bytes and names remain."""
        draw = self._draw
        for folder in sorted(self._pending):
            pending = self._pending[folder]
            for change in pending[: draw.randint(0, len(pending))]:
                change()
        self._pending.clear()
        folders = self._kept_folders
        self._folders = {f for f in folders if all(above in folders for above in _above(f))}
        kept = {p: inode for p, inode in sorted(self._kept_names.items()) if posixpath.dirname(p) in self._folders}
        self._names = {path: Inode(inode.version, inode.after_a_cut(draw)) for path, inode in kept.items()}
        self._kept_names, self._kept_folders = dict(self._names), set(self._folders)
        self.ends()

    @contextmanager
    def mounted(self) -> Iterator[None]:
        """Within the block `scorer.files.local_files` uses this disk only."""
        path = SimpleNamespace(
            join=posixpath.join,
            split=posixpath.split,
            dirname=posixpath.dirname,
            basename=posixpath.basename,
            abspath=posixpath.normpath,  # every path here is whole, and none is a link
            realpath=posixpath.normpath,
            isdir=lambda p: p in self._folders,
            isfile=lambda p: p in self._names,
            islink=lambda _: False,
            exists=lambda p: p in self._names or p in self._folders,
            lexists=lambda p: p in self._names or p in self._folders,
        )
        system = SimpleNamespace(
            path=path, O_RDONLY=os.O_RDONLY, getpid=lambda: os.getpid(), fsync=self._fsync, fdatasync=self._fsync,
            replace=self._replace, link=self._link, unlink=self._unlink, mkdir=self._mkdir, rmdir=self._rmdir,
            scandir=self._scandir, stat=self._stat, open=self.handle_of,
            close=lambda handle: self._handles.pop(handle, None),
        )  # fmt: skip
        globbing = SimpleNamespace(escape=lambda p: p, glob=self._glob)
        names = {name: getattr(fcntl, name) for name in ("LOCK_EX", "LOCK_SH", "LOCK_NB")}
        locking = SimpleNamespace(flock=self._flock, **names)
        patched: dict[str, Any] = {
            "os": system,
            "open": self._open,
            "fcntl": locking,
            "Path": self._path,
        }
        matched = {"os": system, "_glob": globbing}
        with (
            mock.patch.multiple(local_files, create=True, **patched),
            mock.patch.multiple(local_lock, create=True, os=system, open=self._open, LOOK_S=0.0),
            mock.patch.object(durable, "os", system),
            mock.patch.multiple(local_globs, **matched),
            mock.patch.object(fulldisk, "FULL_DISK_S", 0.0),  # blocking work takes no time here: nothing waits in it
        ):
            yield

    # --- system calls -------------------------------------------------------------------------------------------------

    def _inode(self, data: bytes = b"") -> Inode:
        self._versions += 1
        return Inode(self._versions, data)

    def _open(self, path: str, mode: str, buffering: int = -1) -> OpenFile:
        self._fuse.call()
        inode = self._names.get(path)
        if mode == "rb":
            if inode is None:
                raise FileNotFoundError(errno.ENOENT, "No such file", path)
        elif inode is None or mode == "wb":
            if posixpath.dirname(path) not in self._folders:
                raise FileNotFoundError(errno.ENOENT, "No such folder", path)
            inode = self._names[path] = self._inode()
            self._later(path, partial(self._kept_names.__setitem__, path, inode))
        assert inode is not None
        return OpenFile(self, path, inode, reads=mode in ("rb", "a+b"), short=buffering == 0)

    def handle_of(self, what: Inode | str, _flags: int = 0) -> int:
        self._next_handle += 1
        self._handles[self._next_handle] = what if isinstance(what, Inode) or what != "." else ""
        return self._next_handle

    def _fsync(self, handle: int) -> None:
        self._fuse.call()
        self._may_fail()
        what = self._handles[handle]
        if isinstance(what, Inode):
            what.synced = bytes(what.data)
        else:
            for change in self._pending.pop(what, []):
                change()

    def write(self, inode: Inode, data: bytes, *, short: bool) -> int:
        """Appends, and returns the number of bytes written, like write(2): fewer on a disk with errors."""
        self._fuse.call()
        self._versions += 1
        inode.version = self._versions
        part = len(data)
        if self.full or self.failing or (short and self._draw.random() < 0.1):
            part = self._draw.randint(1, max(1, len(data)))
        inode.data += data[:part]
        self._may_fail()
        return part

    def _may_fail(self) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        if self.failing:
            self.failing -= 1
            raise OSError(errno.EIO, "Input/output error")

    def _replace(self, old: str, new: str) -> None:
        self._fuse.call()
        self._names[new] = self._names.pop(old)
        self._later(new, partial(self._moved, old, new))

    def _link(self, path: str, name: str) -> None:
        self._fuse.call()
        if path not in self._names:
            raise FileNotFoundError(errno.ENOENT, "No such file", path)
        inode = self._names[name] = self._names[path]
        self._later(name, partial(self._kept_names.__setitem__, name, inode))

    def _unlink(self, path: str) -> None:
        self._fuse.call()
        if self._names.pop(path, None) is None:
            raise FileNotFoundError(errno.ENOENT, "No such file", path)
        self._later(path, partial(self._kept_names.pop, path, None))

    def _mkdir(self, path: str, _mode: int = 0o777) -> None:
        self._fuse.call()
        if path in self._folders:
            raise FileExistsError(errno.EEXIST, "Folder exists", path)
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        self._folders.add(path)
        self._later(path, partial(self._kept_folders.add, path))

    def _rmdir(self, path: str) -> None:
        self._fuse.call()
        if path not in self._folders:
            raise FileNotFoundError(errno.ENOENT, "No such folder", path)
        if any(posixpath.dirname(inside) == path for inside in (*self._names, *self._folders)):
            raise OSError(errno.ENOTEMPTY, "Folder not empty", path)
        self._folders.discard(path)
        self._later(path, partial(self._kept_folders.discard, path))

    def _scandir(self, folder: str) -> Any:
        if folder not in self._folders:
            raise FileNotFoundError(errno.ENOENT, "No such folder", folder)
        inside = [(path, True) for path in self._names] + [(path, False) for path in self._folders]
        entries = [
            SimpleNamespace(name=posixpath.basename(p), is_file=lambda f=f: f, is_dir=lambda f=f: not f)
            for p, f in inside
            if p and posixpath.dirname(p) == folder
        ]
        return _Entries(entries)

    def _stat(self, path: str) -> SimpleNamespace:
        inode = self._names.get(path)
        if inode is None:
            raise FileNotFoundError(errno.ENOENT, "No such file", path)
        return SimpleNamespace(st_size=len(inode.data), st_mtime_ns=inode.version, st_dev=0, st_ino=0)

    def _path(self, folder: str) -> SimpleNamespace:
        return SimpleNamespace(glob=lambda pattern: self._glob(f"{folder}/{pattern}"))

    def _glob(self, pattern: str, recursive: bool = False) -> list[str]:
        return [path for path in self._names if fnmatch(path, pattern.replace("/**/", "/*"))]

    def _flock(self, file: OpenFile, flags: int) -> None:
        holders = self._locks.setdefault(file.path, [])
        exclusive = bool(flags & fcntl.LOCK_EX)
        if any(holder is not file and (exclusive or kind & fcntl.LOCK_EX) for holder, kind in holders):
            raise BlockingIOError(errno.EWOULDBLOCK, "Locked", file.path)
        holders.append((file, flags))

    def unlock(self, file: OpenFile) -> None:
        self._locks[file.path] = [lock for lock in self._locks.get(file.path, []) if lock[0] is not file]

    def _later(self, path: str, change: Callable[[], object]) -> None:
        self._pending.setdefault(posixpath.dirname(path), []).append(change)

    def _moved(self, old: str, new: str) -> None:
        if old in self._kept_names:
            self._kept_names[new] = self._kept_names.pop(old)


class _Entries(list[Any]):
    def __enter__(self) -> _Entries:
        return self

    def __exit__(self, *_: object) -> None: ...


def _above(folder: str) -> Iterator[str]:
    while folder:
        folder = posixpath.dirname(folder)
        yield folder
