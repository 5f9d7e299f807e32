"""Waits a while for space when the disk is full, instead of failing the write. Knows no path."""

from __future__ import annotations

import errno
import io
import time
from collections.abc import Callable
from typing import Any, BinaryIO, TypeVar

T = TypeVar("T")

FULL_DISK_S, AGAIN_S = 60.0, 0.5
"""A full disk is waited for so long, and tried again so often: what waits to be written is paid for."""


class Space:
    """Waits while a disk is full. Who waited in vain for all of `FULL_DISK_S` spares the next ones the same."""

    def __init__(self) -> None:
        self._gave_up = float("-inf")

    def wait_for(self, act: Callable[[], T]) -> T:
        """What `act` returns, once there is space for it. Raises what it raises for any other reason, or for too long.

        `act` writes nothing where it raises, or says how much it wrote, as write(2) does. Blocks its thread.
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
    """A file whose writes wait for space. An fsync that fails is not tried again: what it lost stays lost."""

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
