"""Keeps a bounded number of files open that are read again and again."""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO

MOST_OPEN = 32


class OpenFiles:
    """Files by name, at most `most` of them open: of more, the one that was read longest ago is closed.

    `opens` opens one. Not for several threads at once.
    """

    def __init__(self, opens: Callable[[str], BinaryIO], most: int = MOST_OPEN) -> None:
        self._opens = opens
        self._most = most
        self._open: dict[str, BinaryIO] = {}  # the one that was read last is last

    def get(self, name: str) -> BinaryIO:
        """The file, open at least until others are asked for. Raises what `opens` raises."""
        file = self._open.pop(name, None)
        if file is None:
            if len(self._open) >= self._most:
                self.close(next(iter(self._open)))
            file = self._opens(name)
        self._open[name] = file
        return file

    def close(self, name: str) -> None:
        """Does nothing where it is not open."""
        file = self._open.pop(name, None)
        if file is not None:
            file.close()

    def close_all(self) -> None:
        for name in [*self._open]:
            self.close(name)
