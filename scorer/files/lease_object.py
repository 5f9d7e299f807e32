"""Reads the object of a lock, and writes it only if it still has the version that was read (compare-and-swap)."""

from __future__ import annotations

from typing import Any

import obstore
from obstore.exceptions import AlreadyExistsError, PreconditionError
from obstore.store import ObjectStore

from scorer.files.lease import Conflict, Version
from scorer.files.retry import with_retries

RENEWAL_PATIENCE_S = 1.0
"""Seconds that the requests of a renewal are repeated. Short, because the next renewal repeats them."""


class ObjectCell:
    """A lock's object, whose requests are repeated for `patience_s` seconds."""

    def __init__(self, store: ObjectStore, path: str, key: str, patience_s: float) -> None:
        self._store = store
        self._patience_s = patience_s
        self._path = path
        self._key = key

    def read(self) -> tuple[bytes, Version] | None:
        def get() -> tuple[bytes, Version]:
            found = obstore.get(self._store, self._key)
            return bytes(found.bytes()), _version(found.meta)

        try:
            return with_retries("read", self._path, get, patience_s=self._patience_s)
        except FileNotFoundError:
            return None

    def swap(self, data: bytes, version: Version | None) -> Version:
        mode: Any = "create" if version is None else dict(version)
        try:
            put = lambda: obstore.put(self._store, self._key, data, mode=mode)  # noqa: E731
            return _version(with_retries("write", self._path, put, patience_s=self._patience_s))
        except (AlreadyExistsError, PreconditionError, FileNotFoundError):
            raise Conflict from None


def _version(meta: Any) -> Version:
    return {name: meta[name] for name in ("e_tag", "version") if meta.get(name) is not None}
