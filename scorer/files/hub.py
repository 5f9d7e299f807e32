"""Datasets of the Hugging Face Hub as Files, for reading alone: `hf://datasets/org/name/path`, also with `@revision`.

The library that names and reads them is huggingface_hub; the token is its own to find (HF_TOKEN, `hf auth login`).
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, BinaryIO, NoReturn, TypeVar, cast

from huggingface_hub import HfFileSystem
from huggingface_hub.errors import HfHubHTTPError, HFValidationError

from scorer.errors import InputError, SpecError, StorageError
from scorer.files.files import Lock, Stat
from scorer.files.object_globs import Glob, inputs_among

SCHEME = "hf"
ROOT = f"{SCHEME}://"
BLOCK_BYTES = 4 * 1024 * 1024
"""Read at once; the file's two newest blocks are held."""

T = TypeVar("T")


class HubFiles:
    """Files of datasets on the Hub, or on the server that HF_ENDPOINT names. Whatever writes raises SpecError."""

    def __init__(self) -> None:
        self._hub: Any = HfFileSystem(
            endpoint=os.environ.get("HF_ENDPOINT") or None, skip_instance_cache=True, use_listings_cache=False
        )

    def hurry(self, seconds: float) -> None:
        """Nothing: reads end by themselves."""

    def find(self, patterns: Sequence[str]) -> list[Stat]:
        self._hub.invalidate_cache()
        found: dict[str, Stat] = {}
        for pattern in patterns:
            try:
                stats = self._listed(pattern)
            except OSError as error:
                raise StorageError(
                    f"Cannot list {pattern}: {error.strerror}. Look at the network, HTTPS_PROXY and HF_ENDPOINT. "
                    "Nothing was sent; the same command goes on."
                ) from error
            found.update((stat.path, stat) for stat in stats)
        return [found[path] for path in sorted(found)]

    def _listed(self, pattern: str) -> list[Stat]:
        stats: list[Stat] = []
        with contextlib.suppress(FileNotFoundError):
            stats = _asked(pattern, partial(self._found, pattern))
        if not stats:
            _asked(pattern, partial(self._check_dataset, pattern))
        return stats

    def _check_dataset(self, pattern: str) -> None:
        """Raises InputError where the dataset itself is not to be seen."""
        dataset = "/".join(pattern.removeprefix(ROOT).split("/")[:3])
        try:
            self._hub.info(dataset)
        except FileNotFoundError as error:
            raise InputError(
                f"{ROOT}{dataset} is not on the Hub, or may not be read. Look at its name and revision; for a private "
                "dataset set HF_TOKEN, or log in with `hf auth login`; a gated one needs its terms accepted first."
            ) from error

    def _found(self, pattern: str) -> list[Stat]:
        name = pattern.removeprefix(ROOT).rstrip("/")
        try:
            info = self._hub.info(name)
        except FileNotFoundError:
            if Glob(name).wild:
                return [_stat(one) for one in self._hub.glob(name, detail=True).values() if one["type"] == "file"]
            return []
        if info["type"] == "file":
            return [_stat(info)]
        below = [_stat(one) for one in self._hub.find(name, detail=True).values() if one["type"] == "file"]
        return inputs_among(below, lambda one: one.path)

    def listing(self, folder: str) -> list[Stat]:
        return []

    def folders(self, folder: str) -> list[str]:
        return []

    def open(self, path: str) -> BinaryIO:
        name = path.removeprefix(ROOT)
        return cast(BinaryIO, _HubFile(path, _asked(path, lambda: self._hub.open(name, "rb", block_size=BLOCK_BYTES))))

    def create(self, path: str) -> AbstractContextManager[BinaryIO]:
        _refuse(path)

    def link(self, path: str, name: str) -> bool:
        return False

    def together(self) -> AbstractContextManager[None]:
        return contextlib.nullcontext()

    def append(self, path: str, data: bytes) -> None:
        _refuse(path)

    def delete(self, path: str) -> None:
        _refuse(path)

    def sweep(self, folder: str, part: str = "") -> None:
        _refuse(folder)

    def drop_folder(self, folder: str) -> None:
        _refuse(folder)

    def lock(self, path: str, owner: str) -> Lock:
        _refuse(path)

    def locked(self, path: str) -> bool:
        return False


class _HubFile(io.RawIOBase):
    """A file that is read by ranges; what the network does to a read is an error of the system."""

    def __init__(self, path: str, file: Any) -> None:
        self._path = path
        self._file = file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return int(self._file.tell())

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return int(self._file.seek(offset, whence))

    def read(self, size: int | None = -1) -> bytes:
        wanted = self._file.size - self._file.tell() if size is None or size < 0 else size
        return _asked(self._path, lambda: bytes(self._file.read(wanted))) if wanted else b""

    def readall(self) -> bytes:
        return self.read()

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            with contextlib.suppress(OSError):
                self._file.close()
        super().close()


def _asked(path: str, act: Callable[[], T]) -> T:
    """What `act` returns. Raises FileNotFoundError, InputError for what no waiting helps, OSError with EIO for else."""
    try:
        return act()
    except FileNotFoundError:
        raise
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else 0
        if status in (401, 403):
            raise InputError(
                f"{path} cannot be read: the Hub answers {status}. Set HF_TOKEN to a token that may read this dataset, "
                "or log in with `hf auth login`; a gated dataset needs its terms accepted first."
            ) from error
        raise OSError(errno.EIO, f"the Hub answers {status or str(error)[:200]}", path) from error
    except (HFValidationError, NotImplementedError, ValueError) as error:
        raise InputError(
            f"{path} is no path on the Hub ({str(error).partition(chr(10))[0][:200]}). It is "
            "hf://datasets/organisation/name/path, with @revision behind the name where one is meant."
        ) from error
    except OSError as error:
        if error.errno is not None:
            raise
        raise OSError(errno.EIO, str(error).partition("\n")[0][:200] or type(error).__name__, path) from error
    except Exception as error:
        if not type(error).__module__.startswith("httpx"):
            raise
        raise OSError(errno.EIO, str(error).partition("\n")[0][:200] or type(error).__name__, path) from error


def _stat(info: Any) -> Stat:
    lfs = info.get("lfs") or {}
    return Stat(f"{ROOT}{info['name']}", info["size"], str(lfs.get("sha256") or info.get("blob_id") or info["size"]))


def _refuse(path: str) -> NoReturn:
    raise SpecError([f"{path}: datasets of the Hub are only read. Give an output.path of this machine or in a bucket."])
