"""Waits a while for space when the disk is full, instead of failing the write. Knows no path."""

from __future__ import annotations

import errno
import io
import time
from collections.abc import Callable
from typing import Any, BinaryIO, TypeVar

T = TypeVar("T")

FULL_DISK_S, AGAIN_S = 60.0, 0.5
"""How long a write waits for space, and the pause between tries. The results that wait have been paid for."""


class Space:
    """Waits while a disk is full. After one wait of `FULL_DISK_S` in vain, further writes fail at once for as long."""

    def __init__(self) -> None:
        self._gave_up = float("-inf")

    def wait_for(self, act: Callable[[], T]) -> T:
        """Calls `act` until there is space for it and returns its result. Raises any other error, and a lasting ENOSPC.

        `act` must write nothing where it raises, and return how much it wrote, like write(2). Blocks the thread.
        """
        since: float | None = None
        while True:
            try:
                return act()
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                    raise
                now = time.monotonic()
                since = now if since is None else since
                if now - self._gave_up < FULL_DISK_S:
                    raise
                if now - since >= FULL_DISK_S:
                    self._gave_up = now
                    raise
            time.sleep(AGAIN_S)


class FullDiskRetry(io.RawIOBase):
    """A file whose writes wait for space. A failed fsync is not repeated: the kernel may have dropped the pages."""

    def __init__(self, file: BinaryIO, space: Space) -> None:
        super().__init__()
        self._file = file
        self._space = space

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._file.fileno()

    def write(self, data: Any) -> int:
        return self._space.wait_for(lambda: self._file.write(data))

    def close(self) -> None:
        super().close()
        self._file.close()
