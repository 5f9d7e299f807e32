"""Promise: wherever a kill falls in a run through batches, each row is scored, paid and in the ledger once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import pytest
from support.batch_provider import BatchProvider
from support.batch_runs import BatchRun
from support.outputs import Crash

from scorer.files.local_files import LocalFiles

FOLDERS = ("/batches/", "/ledger/", "/segments/", "/scores/")


class Dying(LocalFiles):
    """A disk whose process dies at its `step`-th change of what a run stores: before it is there, or right after."""

    def __init__(self, step: int, *, after: bool) -> None:
        super().__init__()
        self.left, self._after = step, after

    def _die(self, path: str, *, after: bool) -> None:
        if self._after is after and any(folder in path for folder in FOLDERS):
            self.left -= 1
            if self.left < 0:
                raise Crash

    @contextmanager
    def create(self, path: str) -> Iterator[BinaryIO]:
        with super().create(path) as file:
            yield file
            self._die(path, after=False)
        self._die(path, after=True)

    def append(self, path: str, data: bytes) -> None:
        self._die(path, after=False)
        super().append(path, data)
        self._die(path, after=True)

    def delete(self, path: str) -> None:
        self._die(path, after=False)
        super().delete(path)
        self._die(path, after=True)


def killed(root: Path, step: int, *, after: bool, names: bool) -> bool:
    """A run that is killed at that change, and started again. Returns False where it was over before."""
    provider = BatchProvider(names=names, takes_s=3, lag_s=1, unexecuted={1}, missing={4})
    provider.errors.update({2: 1})
    run = BatchRun(root, 6, provider=provider, max_requests=3, min_requests=1, poll_s=2, grace_s=4)
    disk = Dying(step, after=after)
    died = False
    try:
        run.run(disk)
    except Crash:
        died = True
        run.run()
    run.whole(maybe=1)  # the line that is in no file
    assert all(one.fetched for one in provider.made.values())
    return died


@pytest.mark.parametrize("step", range(0, 46, 4))
def test_kill_at_any_change_of_the_disk_loses_nothing_and_pays_nothing_twice(tmp_path: Path, step: int) -> None:
    killed(tmp_path, step, after=step % 8 == 0, names=step % 3 > 0)
