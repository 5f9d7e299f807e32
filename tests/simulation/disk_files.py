"""The files of the simulated disk (disk.py): bytes in memory, of which a power cut leaves what was synced."""

from __future__ import annotations

import io
from random import Random
from typing import Any, Protocol


class Inode:
    """A file's bytes as readers see them, and as they are on the disk."""

    def __init__(self, version: int, data: bytes = b"") -> None:
        self.data = bytearray(data)
        self.synced = bytes(data)
        self.version = version

    def after_a_cut(self, draw: Random) -> bytes:
        """The bytes after a power cut."""
        if self.data == self.synced:
            return self.synced
        if not self.data.startswith(self.synced):  # written in place: one or the other
            return draw.choice([self.synced, bytes(self.data)])
        tail = self.data[len(self.synced) :]
        kept = int(draw.random() * (len(tail) + 1))
        zeros = len(tail) - kept if draw.random() < 0.2 else 0
        return self.synced + bytes(tail[:kept]) + bytes(zeros)


class System(Protocol):
    """What an open file asks of its disk."""

    def handle_of(self, what: Inode, /) -> int: ...

    def write(self, inode: Inode, data: bytes, *, short: bool) -> int: ...

    def unlock(self, file: OpenFile) -> None: ...


class OpenFile(io.RawIOBase):
    """An open file; reads return the bytes of the time of opening."""

    def __init__(self, disk: System, path: str, inode: Inode, *, reads: bool, short: bool) -> None:
        super().__init__()
        self.path = path
        self._disk = disk
        self._inode = inode
        self._short = short
        self._view = io.BytesIO(bytes(inode.data) if reads else b"")
        self._handle: int | None = None

    def fileno(self) -> int:
        if self._handle is None:
            self._handle = self._disk.handle_of(self._inode)
        return self._handle

    def readable(self) -> bool:
        return True

    writable = seekable = readable

    def write(self, data: Any) -> int:
        return self._disk.write(self._inode, bytes(data), short=self._short)

    def truncate(self, size: int | None = None) -> int:
        del self._inode.data[size or 0 :]
        return size or 0

    def read(self, size: int | None = -1) -> bytes:
        return self._view.read(size)

    def readline(self, size: int | None = -1) -> bytes:
        return self._view.readline(size)

    def readinto(self, buffer: Any) -> int:
        return self._view.readinto(buffer)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._view.seek(offset, whence)

    def tell(self) -> int:
        return self._view.tell()

    def close(self) -> None:
        if not self.closed:
            self._disk.unlock(self)
        super().close()
