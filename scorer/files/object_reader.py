"""Reads an object by ranges as a file, always the version that was opened. Knows no retries."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import obstore
from obstore.exceptions import PreconditionError
from obstore.store import ObjectStore

TAIL_BYTES = 256 * 1024
"""Bytes that are read when a file is opened: most segments, and the footer of most shards, are smaller."""
MOST_BYTES = 8 * 1024 * 1024
"""Largest range of one request, so that it fits into a request's time limit."""


class ObjectReader(io.RawIOBase):
    """A file whose `tail` is in memory; each other range is a request.

    A read raises OSError where the object was replaced since it was opened, so bytes of two versions never mix.
    """

    def __init__(
        self, store: ObjectStore, path: str, key: str, meta: Any, tail: bytes, ask: Callable[..., bytes]
    ) -> None:
        self._store = store
        self._path = path
        self._key = key
        self._etag: str | None = meta["e_tag"]
        self._size: int = meta["size"]
        self._tail = tail
        self._ask = ask
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        wanted = self._size - self._at if size is None or size < 0 else size
        start, end = self._at, min(self._at + wanted, self._size)
        if start >= end:
            return b""
        tail_from = self._size - len(self._tail)
        pieces = [
            self._range(first, min(first + MOST_BYTES, end, tail_from))
            for first in range(start, min(end, tail_from), MOST_BYTES)
        ]
        if end > tail_from:
            pieces.append(self._tail[max(0, start - tail_from) : end - tail_from])
        self._at = end
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def readall(self) -> bytes:
        return self.read()

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def _range(self, start: int, end: int) -> bytes:
        options: Any = {"range": (start, end)}
        if self._etag is not None:
            options["if_match"] = self._etag
        try:
            return self._ask(
                "read", self._path, lambda: bytes(obstore.get(self._store, self._key, options=options).bytes())
            )
        except PreconditionError:
            raise OSError(f"{self._path} was replaced while it was read") from None


def head_and_tail(store: ObjectStore, key: str) -> tuple[Any, bytes]:
    """The metadata and the last bytes of an object, in two requests: for stores without suffix ranges (Azure)."""
    meta = obstore.head(store, key)
    size, etag = meta["size"], meta["e_tag"]
    options: Any = {"range": (max(0, size - TAIL_BYTES), size), **({"if_match": etag} if etag else {})}
    return meta, bytes(obstore.get(store, key, options=options).bytes()) if size else b""
