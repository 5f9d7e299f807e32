"""Chooses the Files of a path by its scheme: local disk or bucket. Every command uses `AnyFiles()`.

    AnyFiles().find(["data/*.parquet", "s3://bucket/more/*.parquet"])

credentials.py opens the store of a bucket.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, BinaryIO

from scorer.errors import SpecError
from scorer.files.credentials import open_store
from scorer.files.files import Files, Lock, Stat
from scorer.files.lease import LEASE_S
from scorer.files.local_files import LocalFiles

if TYPE_CHECKING:
    from scorer.files.hub import HubFiles
    from scorer.files.object_store import ObjectFiles

PATIENCE_S = 180.0
"""Seconds that a write or a read is repeated while the store is down. retry.py has the same default."""
HURRY_S = 2.0
"""Seconds of retries that failing storage gets after the second signal; unwritten results are lost then."""
LOCK_REQUEST_S = 4.0
"""Timeout of requests for a lock: short, so that a hanging server does not cost the lease."""


class AnyFiles:
    """Files for local paths and buckets. A bucket is opened at its first use; this object holds the locks in it."""

    def __init__(self, *, patience_s: float = PATIENCE_S, lease_s: float = LEASE_S) -> None:
        self._patience_s = patience_s
        self._lease_s = lease_s
        self._local = LocalFiles()
        self._buckets: dict[str, ObjectFiles | HubFiles] = {}

    def of(self, path: str) -> Files:
        """The Files of a path. Raises SpecError for an unknown scheme, and where the extra is not installed."""
        scheme, separator, rest = path.partition("://")
        if not separator:
            return self._local
        root = f"{scheme}://{rest.partition('/')[0]}"
        if root not in self._buckets:
            self._buckets[root] = self._open(root)
        return self._buckets[root]

    def _open(self, root: str) -> ObjectFiles | HubFiles:
        if root.startswith("hf://"):
            return _hub(root)
        try:
            from scorer.files.object_store import ObjectFiles
        except ImportError as error:
            raise SpecError(
                [f"{root}: object storage needs the extra lake. Install it: pip install 'batch-scorer[lake]' ({error})"]
            ) from error
        locks = open_store(root, request_s=min(LOCK_REQUEST_S, self._lease_s))
        return ObjectFiles(root, open_store(root), locks, patience_s=self._patience_s, lease_s=self._lease_s)

    def hurry(self, seconds: float) -> None:
        """Ends the retries of all buckets after `seconds` more."""
        for bucket in list(self._buckets.values()):
            bucket.hurry(seconds)

    def find(self, patterns: Sequence[str]) -> list[Stat]:
        asked: dict[Files, list[str]] = {}  # one call for each storage, which finds two spellings of one file
        for pattern in patterns:
            asked.setdefault(self.of(pattern), []).append(pattern)
        found = {stat.path: stat for place, its in asked.items() for stat in place.find(its)}
        return [found[path] for path in sorted(found)]

    def listing(self, folder: str) -> list[Stat]:
        return self.of(folder).listing(folder)

    def folders(self, folder: str) -> list[str]:
        return self.of(folder).folders(folder)

    def open(self, path: str) -> BinaryIO:
        return self.of(path).open(path)

    def create(self, path: str) -> AbstractContextManager[BinaryIO]:
        return self.of(path).create(path)

    def link(self, path: str, name: str) -> bool:
        storage = self.of(name)
        return storage is self.of(path) and storage.link(path, name)

    def together(self) -> AbstractContextManager[None]:
        return self._local.together()

    def append(self, path: str, data: bytes) -> None:
        self.of(path).append(path, data)

    def delete(self, path: str) -> None:
        self.of(path).delete(path)

    def sweep(self, folder: str, part: str = "") -> None:
        self.of(folder).sweep(folder, part)

    def drop_folder(self, folder: str) -> None:
        self.of(folder).drop_folder(folder)

    def lock(self, path: str, owner: str) -> Lock:
        return self.of(path).lock(path, owner)

    def locked(self, path: str) -> bool:
        return self.of(path).locked(path)


def _hub(root: str) -> HubFiles:
    try:
        from scorer.files.hub import HubFiles
    except ImportError as error:
        raise SpecError(
            [f"{root}: the Hub needs the extra hub. Install it: pip install 'batch-scorer[hub]' ({error})"]
        ) from error
    return HubFiles()


def is_remote(path: str) -> bool:
    """True for a URI: s3://, gs://, az://, hf://."""
    return "://" in path
