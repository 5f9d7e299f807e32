"""The results of one batch in a file, found by line, in whatever order they came; a line that came twice is one."""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO

import numpy as np

from scorer.batch.types import BatchApi, ResultLine
from scorer.output.chunk import Chunk


class Results:
    """Where each line's result stands in a file. Blocking: it reads the file once from end to end.

    `file` returns the file, open, each time that it is read. Twelve bytes a line are held. Lines of other chunks, and
    what is no result, are passed over.
    """

    def __init__(self, api: BatchApi, chunk: Chunk, file: Callable[[], BinaryIO]) -> None:
        self._api, self._file = api, file
        self._at = np.full(chunk.requests, -1, dtype=np.int64)
        self._size = np.zeros(chunk.requests, dtype=np.int32)
        whole, at = file(), 0
        whole.seek(0)
        for text in whole:
            for found in api.read((text,)):
                line = chunk.line_of(found.custom_id)
                if line is not None and self._at[line] < 0:
                    self._at[line], self._size[line] = at, len(text)
            at += len(text)

    @property
    def found(self) -> int:
        """How many lines have a result, of whatever kind."""
        return int((self._at >= 0).sum())

    def of(self, line: int) -> ResultLine | None:
        """The result of a line; None where there is none."""
        if self._at[line] < 0:
            return None
        file = self._file()
        file.seek(int(self._at[line]))
        return next(iter(self._api.read((file.read(int(self._size[line])),))))
