"""One bucket as Files: reads by range, one atomic PUT for each file, a lease as its lock.

A written file is spooled first (in memory, beyond SPOOL_BYTES in a temporary file), so that its PUT can be repeated.
Nothing of it is visible before the last byte has arrived. Beyond CHUNK_BYTES it is a multipart upload. While this
process holds a folder's lock, each write into the folder first checks that it still does. router.py opens the store.
"""

from __future__ import annotations

import contextlib
import io
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import field
from typing import Any, BinaryIO, TypeVar, cast

import obstore
from obstore.exceptions import GenericError, NotSupportedError
from obstore.store import ObjectStore

from scorer.errors import StorageError
from scorer.files.append_parts import MOST_PARTS, WRITTEN_ONCE, Grown, Object, grown, part_key
from scorer.files.files import Lock, Stat
from scorer.files.lease import LEASE_S, Lease, LockTaker, alive
from scorer.files.lease_object import RENEWAL_PATIENCE_S, ObjectCell
from scorer.files.object_globs import Glob, inputs_among
from scorer.files.object_reader import TAIL_BYTES, ObjectReader, head_and_tail
from scorer.files.retry import PATIENCE_S, RetryWindow, is_beyond_the_end, with_retries
from scorer.frozen import dataclass

SPOOL_BYTES = 16 * 1024 * 1024
CHUNK_BYTES = 8 * 1024 * 1024
TRIED_PATIENCE_S = 5.0
READERS = 16

T = TypeVar("T")


class ObjectFiles:
    """The files of one bucket; `root` is its URI without a trailing slash.

    Writing raises StorageError after `patience_s` of retries, and OutputError where a lock was lost. Reading raises
    FileNotFoundError, and StorageError where the store fails: an outage never counts as damage.
    """

    def __init__(
        self,
        root: str,
        store: ObjectStore,
        locks: ObjectStore,
        *,
        patience_s: float = PATIENCE_S,
        lease_s: float = LEASE_S,
    ) -> None:
        self._root = root
        self._locks = locks
        self._store = store
        self._patience_s = patience_s
        self._lease_s = lease_s
        self._takers: dict[str, LockTaker] = {}
        self._leases: dict[str, Lease] = {}
        self._growing: dict[str, _Growing] = {}
        self._appending = threading.Lock()
        self._down = False
        self._patience = RetryWindow()

    def hurry(self, seconds: float) -> None:
        """Ends all retries after `seconds` more, those under way included."""
        self._patience.hurry(seconds)

    # --- reading ------------------------------------------------------------------------------------------------------

    def find(self, patterns: Sequence[str]) -> list[Stat]:
        found: dict[str, Stat] = {}
        for pattern in patterns:
            for one in self._found(self._key(pattern)):
                path = self._path(one.key)
                found[path] = Stat(path, one.size, one.etag)
        return [found[path] for path in sorted(found)]

    def _found(self, key: str) -> list[Object]:
        if key and (one := self._head(key)) is not None:
            return [one]
        glob = Glob(key)
        if not glob.wild:
            return inputs_among(self._below(key), lambda one: one.key)
        if glob.deep:
            return [one for one in self._below(glob.fixed) if glob.matches(one.key)]
        folders = glob.folders_among(lambda folder: self._within(folder)[1])
        return [one for folder in folders for one in self._within(folder)[0] if glob.matches(one.key)]

    def listing(self, folder: str) -> list[Stat]:
        files = grown(self._within(self._key(folder))[0])
        return [Stat(self._path(key), file.size, file.version) for key, file in sorted(files.items())]

    def folders(self, folder: str) -> list[str]:
        return sorted(self._within(self._key(folder))[1])

    def open(self, path: str) -> BinaryIO:
        """The file. Later reads return the version that was opened, or raise OSError where it is gone."""
        key = self._key(path)
        if not key.endswith(WRITTEN_ONCE):
            return io.BytesIO(self._whole(path, key))
        return cast(BinaryIO, self._ask("read", path, lambda: self._opened(path, key)))

    def _opened(self, path: str, key: str) -> io.IOBase:
        """One request returns the size, the version and the last bytes: all of a small file, the footer of Parquet."""
        try:
            found = obstore.get(self._store, key, options={"range": {"suffix": TAIL_BYTES}})
            tail = bytes(found.bytes())
        except GenericError as error:
            if not is_beyond_the_end(error):
                raise
            return io.BytesIO()
        except NotSupportedError:  # Azure has no ranges from the end
            meta, tail = head_and_tail(self._store, key)
        else:
            meta = found.meta
        if len(tail) == meta["size"]:
            return io.BytesIO(tail)
        return ObjectReader(self._store, path, key, meta, tail, self._ask)

    def _whole(self, path: str, key: str) -> bytes:
        """All bytes of a file that may have parts; read again where it is rewritten meanwhile."""
        while True:
            file = self._grown(key)
            if file is None:
                raise FileNotFoundError(path)
            try:
                data = self._get(path, file.first.key) if file.first is not None else b""
                with ThreadPoolExecutor(READERS) as pool:
                    return data + b"".join(pool.map(lambda one: self._get(path, one.key), file.chain(len(data))))
            except FileNotFoundError:
                continue

    def _get(self, path: str, key: str) -> bytes:
        return self._ask("read", path, lambda: bytes(obstore.get(self._store, key).bytes()))

    def _grown(self, key: str) -> Grown | None:
        return grown(self._within(key.rpartition("/")[0])[0]).get(key)

    def _head(self, key: str) -> Object | None:
        try:
            return _object(self._ask("read", self._path(key), lambda: obstore.head(self._store, key)))
        except FileNotFoundError:
            return None

    def _within(self, folder: str) -> tuple[list[Object], list[str]]:
        """The objects directly in a folder, and the names of the folders in it."""
        found = self._ask(
            "list", self._path(folder), lambda: obstore.list_with_delimiter(self._store, prefix=folder or None)
        )
        objects = [_object(meta) for meta in found["objects"] if meta["path"] != folder]
        return objects, [prefix.rstrip("/").rpartition("/")[2] for prefix in found["common_prefixes"]]

    def _below(self, folder: str) -> list[Object]:
        """Every object under a folder."""
        return self._ask(
            "list",
            self._path(folder),
            lambda: [_object(meta) for page in obstore.list(self._store, prefix=folder or None) for meta in page],
        )

    # --- writing ------------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def create(self, path: str) -> Iterator[BinaryIO]:
        key = self._key(path)
        with tempfile.SpooledTemporaryFile(SPOOL_BYTES) as file:
            try:
                yield cast(BinaryIO, file)
            except OSError as error:
                raise StorageError(
                    f"Cannot write {path}: it is gathered in {tempfile.gettempdir()} first, and the system says: "
                    f"{error.strerror or error}. Free some space there or set TMPDIR. Everything stored before is "
                    "intact; the same command resumes."
                ) from error
            self._put(path, key, cast(BinaryIO, file))
        if not key.endswith(WRITTEN_ONCE):
            with self._appending:
                self._growing.pop(key, None)
                if (stale := self._grown(key)) is not None and stale.parts:
                    self._delete(path, [part.key for part in stale.parts.values()])

    def _put(self, path: str, key: str, file: BinaryIO) -> None:
        size = file.seek(0, io.SEEK_END)

        def put() -> None:
            file.seek(0)
            obstore.put(self._store, key, file, use_multipart=size > CHUNK_BYTES, chunk_size=CHUNK_BYTES)

        self._ask("write", path, put, before=lambda: self._still_ours(path))

    def link(self, path: str, name: str) -> bool:
        return False

    def together(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()  # each PUT is durable by itself

    def append(self, path: str, data: bytes) -> None:
        key = self._key(path)
        if key.endswith(WRITTEN_ONCE):
            raise ValueError(f"{path} has the name of a file that is written once")
        with self._appending:
            file = self._growing.get(key)
            if file is None:
                stored = self._whole(path, key) if self._grown(key) is not None else None
                file = self._growing[key] = _Growing(bytearray(stored or b""), begun=stored is not None)
            if not file.begun:
                self._put(path, key, io.BytesIO(data))
                file.begun = True
            elif data:
                name = part_key(key, len(file.data))
                self._put(path, name, io.BytesIO(data))
                file.parts.append(name)
            file.data += data
            if len(file.parts) >= MOST_PARTS:
                self._put(path, key, io.BytesIO(file.data))
                self._delete(path, file.parts)
                file.parts = []

    def delete(self, path: str) -> None:
        key = self._key(path)
        if key.endswith(WRITTEN_ONCE):
            self._delete(path, [key])
            return
        with self._appending:
            self._growing.pop(key, None)
            if (file := self._grown(key)) is not None:
                self._delete(path, [part.key for part in file.parts.values()])
            self._delete(path, [key])

    def _delete(self, path: str, keys: list[str]) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._ask("delete", path, lambda: obstore.delete(self._store, keys), before=lambda: self._still_ours(path))

    def sweep(self, folder: str, part: str = "") -> None:
        """Does nothing: an interrupted upload is never visible; the bucket's lifecycle rule removes its parts."""

    def drop_folder(self, folder: str) -> None:
        """Does nothing: a bucket has no empty folders."""

    # --- locks --------------------------------------------------------------------------------------------------------

    def lock(self, path: str, owner: str) -> Lock:
        """Takes the lock where it is free; else raises InUse, whose `again_s` says when to try again."""
        folder = path.rpartition("/")[0]
        patience_s, cell, renewed = self._patience_s, self._cell(path, self._patience_s), self._cell(path)
        made = LockTaker(cell, folder, renewed=renewed, patience_s=patience_s, lease_s=self._lease_s)
        taker = self._takers.setdefault(path, made)
        lease = taker.take(owner)
        del self._takers[path]
        self._leases[f"{folder}/"] = lease
        return lease

    def locked(self, path: str) -> bool:
        """Watches for a renewal: takes up to 2.5 beats of a lease where the holder is dead; returns at once if free."""
        return alive(self._cell(path))

    def _still_ours(self, path: str) -> None:
        for folder, lease in list(self._leases.items()):
            if path.startswith(folder):
                lease.wait(lambda: self._patience.over)

    def _cell(self, path: str, patience_s: float = RENEWAL_PATIENCE_S) -> ObjectCell:
        return ObjectCell(self._locks, path, self._key(path), patience_s)

    # --- names --------------------------------------------------------------------------------------------------------

    def _ask(self, verb: str, path: str, act: Callable[[], T], before: Callable[[], None] | None = None) -> T:
        """`with_retries`; after one failure with few retries, so that a run that cannot write ends soon."""
        patience_s = min(self._patience_s, TRIED_PATIENCE_S) if self._down else self._patience_s
        try:
            answer = with_retries(verb, path, act, patience_s=patience_s, before=before, patience=self._patience)
            self._down = False
            return answer
        except StorageError:
            self._down = True
            raise

    def _key(self, path: str) -> str:
        return path.removeprefix(self._root).strip("/")

    def _path(self, key: str) -> str:
        return f"{self._root}/{key}"


@dataclass(slots=True)
class _Growing:
    """A file that this process appends to: its bytes, and the keys of parts that the first object does not contain."""

    data: bytearray
    begun: bool
    parts: list[str] = field(default_factory=list)


def _object(meta: Any) -> Object:
    return Object(meta["path"], meta["size"], meta["e_tag"] or meta["version"] or str(meta["last_modified"]))
