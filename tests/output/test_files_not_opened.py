"""Promise: a stored file that cannot be opened for want of handles or permission is not damaged, nor paid again."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import BinaryIO

import pytest
from support.inprocess import Run

from scorer.errors import StorageError
from scorer.files.local_files import LocalFiles


class Lacking(LocalFiles):
    """A system that opens no segment for reading."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self._number = number

    def open(self, path: str) -> BinaryIO:
        if "/segments/" in path:
            raise OSError(self._number, os.strerror(self._number), path)
        return super().open(path)


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EACCES])
def test_a_segment_that_cannot_be_opened_is_kept_and_its_rows_are_not_asked_again(tmp_path: Path, number: int) -> None:
    run = Run(tmp_path, 40)
    with pytest.raises(StorageError, match=r"Cannot read .*segments"):
        run.run(Lacking(number))
    assert run.segments()
    assert run.damaged() == []
    run.run()
    run.exact()
    assert run.twice() == set()
