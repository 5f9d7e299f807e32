"""Retries reads of the input while the operating system fails, and raises StorageError when that lasts."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from typing import TypeVar

from scorer.errors import StorageError

PATIENCE_S = 180.0
"""Seconds that a shard is read again while the system fails; object storage is waited for as long."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 10.0
_LASTING = (errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)

T = TypeVar("T")


def is_systems(error: BaseException) -> bool:
    """True for an error with a number of the operating system; pyarrow's errors about bytes have none."""
    return isinstance(error, OSError) and error.errno is not None


class ReadRetry:
    """The pauses between reads of `path` while the system fails."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._waited_s, self._pause_s = 0.0, FIRST_PAUSE_S

    def pause_s(self, error: Exception) -> float:
        """Seconds until the next try. Raises StorageError once they add up to more than `PATIENCE_S`."""
        if self._waited_s >= PATIENCE_S:
            raise StorageError(
                f"Cannot read {self._path}: {short(error)}, for {self._waited_s:.0f} s. Look at the disk or the "
                "network that it is on. What is scored is stored, and the same command resumes; "
                "--forget SHARD leaves a shard out that stays unreadable."
            ) from error
        pause, self._pause_s = self._pause_s, min(2 * self._pause_s, LONGEST_PAUSE_S)
        self._waited_s += pause
        return pause

    def over(self) -> None:
        """Call it after a successful read: the next failure starts anew."""
        self._waited_s, self._pause_s = 0.0, FIRST_PAUSE_S


def with_retries(path: str, act: Callable[[], T]) -> T:
    """What `act` returns, asked again while the system fails. Blocking. Raises StorageError where it goes on failing.

    What will not pass (no such file, no permission) is raised at once.
    """
    patience = ReadRetry(path)
    while True:
        try:
            return act()
        except OSError as error:
            if not is_systems(error) or error.errno in _LASTING:
                raise
            pause_s = patience.pause_s(error)
        time.sleep(pause_s)


def short(error: Exception) -> str:
    """The first line of the error's text."""
    return str(error).split("\n")[0][:200] or type(error).__name__
