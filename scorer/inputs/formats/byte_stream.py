"""The bytes of a file, hashed as they are read, and decompressed."""

from __future__ import annotations

import hashlib
import io
from typing import Any, BinaryIO, Protocol

import pyarrow as pa

CHUNK = 1024 * 1024
AHEAD_BYTES = 4 * 1024 * 1024
WHOLE = 64
"""Length of a mark that stands for all bytes of a file: the hexadecimal digits of a sha256."""


class Source(Protocol):
    """A stream that is read forward in portions."""

    def read(self, size: int, /) -> bytes: ...


class HashedFile:
    """A file whose bytes are hashed while they are read in order; a seek ends the hashing.

    What is no file of this machine is read `AHEAD_BYTES` at a time: each read may be a request.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._hash: Any = hashlib.sha256()
        self._at = self._hashed = 0
        self._ahead = 0 if isinstance(file, io.BufferedReader | io.BytesIO) else AHEAD_BYTES
        self._held, self._used = b"", 0

    @property
    def plain(self) -> BinaryIO:
        """The file itself; what is read from it is not hashed."""
        return self._file

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size) if not self._ahead else self._read_ahead(size)
        if self._at == self._hashed:
            self._hash.update(data)
            self._hashed += len(data)
        self._at += len(data)
        return data

    def _read_ahead(self, size: int) -> bytes:
        if size < 0:
            found = self._held[self._used :] + self._file.read()
            self._held, self._used = b"", 0
            return found
        parts: list[bytes] = []
        while size:
            if self._used == len(self._held):
                self._held, self._used = self._file.read(self._ahead), 0
                if not self._held:
                    break
            part = self._held[self._used : self._used + size]
            self._used += len(part)
            size -= len(part)
            parts.append(part)
        return b"".join(parts)

    def seek(self, offset: int, whence: int = 0) -> int:
        if whence == 1:
            offset, whence = self._at + offset, 0
        self._at = self._file.seek(offset, whence)
        self._held, self._used = b"", 0
        if self._at == 0:
            self._hash, self._hashed = hashlib.sha256(), 0
        return self._at

    def tell(self) -> int:
        return self._at

    def rest(self) -> str:
        """The sha256 of the whole file; reads the rest of it."""
        if self._at != self._hashed:
            self.seek(0)
        while self.read(CHUNK):
            pass
        return str(self._hash.hexdigest())

    def digest(self, size: int) -> str | None:
        """The sha256 of the file where its `size` bytes were read in order; None where they were not."""
        return str(self._hash.hexdigest()) if self._hashed == size else None

    @property
    def closed(self) -> bool:
        return self._file.closed

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass


def hashed(file: BinaryIO) -> HashedFile:
    """The file, hashed as it is read from its beginning."""
    if isinstance(file, HashedFile):
        file.seek(0)
        return file
    file.seek(0)
    return HashedFile(file)


def is_cut(error: Exception) -> bool:
    """Whether decompression failed because the file ends in the middle of a frame."""
    return "Truncated compressed stream" in str(error)


def decompressed(file: HashedFile, compression: str | None) -> Source:
    """The bytes of a file, or what they decompress to: "gzip", "zstd" or None. Frames may follow one another."""
    return file if compression is None else pa.CompressedInputStream(pa.PythonFile(file, mode="r"), compression)
