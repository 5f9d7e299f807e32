"""A disk whose process is killed at a given change of it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import BinaryIO

from scorer.files.local_files import LocalFiles


class Killed(BaseException):
    """kill -9."""


class Mortal(LocalFiles):
    """A disk whose process is killed before, within or after its `step`-th change, and changes nothing from then on."""

    def __init__(self, step: int, when: str) -> None:
        super().__init__()
        self._left, self._when = step, when
        self.dead = False

    def _reached(self, when: str) -> bool:
        if self.dead:
            raise Killed
        if when == self._when:
            self._left -= 1
            self.dead = self._left < 0
        return self.dead

    @contextlib.contextmanager
    def create(self, path: str) -> Iterator[BinaryIO]:
        if self._reached("before"):
            raise Killed
        with super().create(path) as file:
            yield file
            if self._reached("within"):
                raise Killed
        if self._reached("after"):
            raise Killed

    def link(self, path: str, name: str) -> bool:
        if self._reached("before"):
            raise Killed
        linked = super().link(path, name)
        if self._reached("after"):
            raise Killed
        return linked

    def append(self, path: str, data: bytes) -> None:
        if self._reached("before"):
            raise Killed
        torn = self._reached("within")
        super().append(path, data[: len(data) // 2] if torn else data)
        if torn or self._reached("after"):
            raise Killed

    def delete(self, path: str) -> None:
        if self._reached("before"):
            raise Killed
        super().delete(path)
        if self._reached("after"):
            raise Killed
