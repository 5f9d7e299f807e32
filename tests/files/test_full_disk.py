"""Promise: a disk that is full for a while costs time; one that stays full costs two flushes a worker at most."""

from __future__ import annotations

import asyncio
import errno
import itertools
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO
from unittest import mock

import pytest
from support.clock import run as in_virtual_time
from support.inprocess import Run

from scorer.build.assemble import make_client
from scorer.errors import StorageError
from scorer.files import full_disk as fulldisk
from scorer.files import local_files
from scorer.files.full_disk import AGAIN_S, FULL_DISK_S, Space
from scorer.files.local_files import LocalFiles
from scorer.job.job import Job

FULL = OSError(errno.ENOSPC, "No space left on device")


class Clock:
    """Stands for the module `time`; sleeping is free."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(fulldisk, "time", made)
    return made


class Disk:
    """`open` of a disk on which a write goes through where `space()` says how many bytes may; none raises."""

    def __init__(self, space: Callable[[], int]) -> None:
        self._space = space

    def __call__(self, path: str, mode: str = "r", **options: Any) -> Any:
        file = open(path, mode, **options)  # noqa: SIM115 - it is the caller's
        if "r" in mode or "+" in mode:
            return file
        write = file.write

        def limited(data: Any) -> int:
            if (most := self._space()) == 0:
                raise FULL
            return write(memoryview(data)[:most])

        wrapped = mock.Mock(wraps=file)
        wrapped.write = limited
        wrapped.__enter__ = lambda _: wrapped
        wrapped.__exit__ = lambda *_: file.close()
        return wrapped


def mounted(space: Callable[[], int]) -> Any:
    return mock.patch.object(local_files, "open", Disk(space), create=True)


# --- one file ---------------------------------------------------------------------------------------------------------


def write_whole(files: LocalFiles, path: str, data: bytes) -> None:
    with files.create(path) as file:
        file.write(data)


@pytest.mark.parametrize("write", [write_whole, LocalFiles.append])
def test_full_disk_retry_waits_for_space_and_continues_the_write(
    tmp_path: Path, clock: Clock, write: Callable[[LocalFiles, str, bytes], None]
) -> None:
    space = itertools.chain([5, 0, 0, 7, 0], itertools.repeat(1 << 20))
    data = bytes(range(256)) * 100
    with mounted(lambda: next(space)):
        write(LocalFiles(), f"{tmp_path}/file", data)
    assert (tmp_path / "file").read_bytes() == data
    assert clock.now == pytest.approx(3 * AGAIN_S)


@pytest.mark.parametrize("write", [write_whole, LocalFiles.append])
def test_space_fails_at_once_after_one_wait_in_vain(
    tmp_path: Path, clock: Clock, write: Callable[[LocalFiles, str, bytes], None]
) -> None:
    files = LocalFiles()
    with mounted(lambda: 0):
        for _ in range(3):
            with pytest.raises(StorageError, match="the disk is full: free some space"):
                write(files, f"{tmp_path}/file", b"x" * 100_000)
            assert FULL_DISK_S <= clock.now <= FULL_DISK_S + 2 * AGAIN_S
    write(files, f"{tmp_path}/file", b"whole")  # there is space again: it is had at once
    assert (tmp_path / "file").read_bytes() == b"whole"
    clock.now += 2 * FULL_DISK_S
    since = clock.now
    with mounted(lambda: 0), pytest.raises(StorageError):
        write(files, f"{tmp_path}/other", b"x")
    assert clock.now >= since + FULL_DISK_S  # full anew: waited for anew


def test_space_raises_other_errors_at_once(clock: Clock) -> None:
    def fails() -> None:
        raise OSError(errno.EIO, "Input/output error")

    with pytest.raises(OSError, match="Input/output"):
        Space().wait_for(fails)
    assert clock.now == 0.0


# --- a run ------------------------------------------------------------------------------------------------------------

FLUSH_ROWS, IN_FLIGHT = 10, 4


class Files(LocalFiles):
    """A disk that is full for results from the `at`-th segment on."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self._left = at

    def create(self, path: str) -> Any:
        if "/segments/" in path:
            self._left -= 1
            if self._left < 0:
                raise StorageError(f"Cannot write {path}: the disk is full: free some space.")
        return super().create(path)


@pytest.mark.parametrize("at", range(6))
def test_run_on_a_full_disk_loses_at_most_two_flushes_and_rows_in_flight(tmp_path: Path, at: int) -> None:
    """The number in README's honest limits: for one worker 2 x flush_rows, and the requests in flight."""
    given = Run(tmp_path, *[40] * 3, flush_rows=FLUSH_ROWS, flush_s=0.5)
    post = given.wire.post

    async def answered(call: Any) -> Any:
        await asyncio.sleep(0.1)
        return await post(call)

    def slow(fn: Callable[..., Any], *args: Any) -> asyncio.Task[Any]:
        async def work() -> Any:
            await asyncio.sleep(3.0 if "_publish" in getattr(fn, "__name__", "") else 0.0)
            return fn(*args)

        return asyncio.ensure_future(work())

    with mock.patch.object(given.wire, "post", answered):
        job = Job(
            given.job().plan, Files(at), offload=slow, wall_s=given.wall_s,
            connect=partial(make_client, transport=given.wire),
        )  # fmt: skip
        with pytest.raises(StorageError, match="the disk is full"):
            in_virtual_time(job.run())
    given.run()
    assert given.wire.asked.total() - 120 <= 2 * FLUSH_ROWS + IN_FLIGHT
    given.exact()


def test_run_on_a_disk_that_is_full_for_a_while_loses_no_row(tmp_path: Path, clock: Clock) -> None:
    calls = itertools.count()
    given = Run(tmp_path, *[20] * 3, flush_rows=FLUSH_ROWS)
    with mounted(lambda: 0 if 10 < next(calls) % 60 < 40 else 1 << 20):
        assert given.run().scored == 60
    assert clock.now > 10.0
    assert given.twice() == set()
    given.exact()


__all__ = ["BinaryIO"]
