"""The lock of a folder on the local disk: `flock` on a file in it. Knows when that file is no longer there."""

from __future__ import annotations

import io
import os
import time
from contextlib import suppress

from scorer.errors import OutputError, StorageError

LOOK_S = 0.05
"""The path is looked at again after so many seconds, not for each request."""


class FolderGone(StorageError):
    """The folder was deleted while its owner wrote to it."""


class LocalLock:
    """A held lock: `file` is open, locked, and holds `owner`. It ends with `release`, or with the process."""

    def __init__(self, file: io.BufferedRandom, path: str, owner: str) -> None:
        self._file = file
        self._path = path
        self._owner = owner
        self._identity = _identity(path)
        self._look_at = 0.0

    def sure(self) -> bool:
        """True. Raises FolderGone once the file is deleted, OutputError once there is one of another process.

        A file that the system cannot look at for the moment is still the same one.
        """
        if (now := time.monotonic()) < self._look_at:
            return True
        self._look_at = now + LOOK_S
        folder = os.path.dirname(self._path)
        with suppress(OSError):
            try:
                same = _identity(self._path) == self._identity
            except (FileNotFoundError, NotADirectoryError):
                self._look_at = 0.0
                raise FolderGone(
                    f"{folder} was deleted, or its file {os.path.basename(self._path)}, while the run wrote to it. The "
                    "run has stopped: no further request was sent."
                ) from None
            if not same and (holder := _content(self._path)) != self._owner:
                self._look_at = 0.0
                raise OutputError(
                    f"{folder} was replaced while the run wrote to it, and belongs to {holder or 'another process'} "
                    "now. The run has stopped: no further request was sent."
                )
        return True

    def release(self) -> None:
        self._file.close()


def _identity(path: str) -> tuple[int, int]:
    found = os.stat(path)
    return found.st_dev, found.st_ino


def _content(path: str) -> str:
    with open(path, "rb") as file:
        return file.read(200).decode(errors="replace").strip()
