"""Promise: a run survives failed writes, a full disk, a second start and a clock that jumps; nothing is paid twice."""

from __future__ import annotations

import errno
import os
import re
import resource
import signal
import subprocess
from pathlib import Path
from random import Random
from typing import Any
from unittest import mock

import pytest
from support.command import COMMAND, run_file, scorer, scores, shard
from support.inprocess import Run
from support.stored_rows import rows_in

from scorer.errors import OutputError, StorageError
from scorer.files import durable, local_files
from scorer.files import full_disk as fulldisk
from scorer.files.local_files import LocalFiles
from scorer.output.layout import Layout
from scorer.output.status import status
from scorer.rehearsal.process import RehearsalProcess


class Failing:
    """`os` as `scorer.files` sees it, whose `number`-th change fails with `code`, as all after it do."""

    def __init__(self, number: int, code: int) -> None:
        self._left, self._code = number, code
        self.failed = False

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def _may_fail(self) -> None:
        self._left -= 1
        if self._left < 0:
            self.failed = True
            raise OSError(self._code, os.strerror(self._code))

    def fsync(self, handle: int) -> None:
        self._may_fail()
        os.fsync(handle)

    def fdatasync(self, handle: int) -> None:
        self._may_fail()
        os.fdatasync(handle)

    def replace(self, old: str, new: str) -> None:
        self._may_fail()
        os.replace(old, new)

    def mkdir(self, path: str, mode: int = 0o777) -> None:
        self._may_fail()
        os.mkdir(path, mode)

    def open_to_write(self, path: str, mode: str = "r", **options: Any) -> Any:
        if "r" not in mode:
            self._may_fail()
        return open(path, mode, **options)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "why", "step"),
    [(errno.ENOSPC, "the disk is full: free some space", 1), (errno.EROFS, "the disk is read-only", 5)],
)
def test_run_stops_at_any_failed_write_and_resume_asks_no_stored_row_again(
    tmp_path: Path, code: int, why: str, step: int
) -> None:
    """Slow: a run for each write of a run, and its resume."""
    for number in range(0, 200, step):
        root = tmp_path / str(number)
        root.mkdir()
        made, failing = Run(root, 6, 5), Failing(number, code)
        refusing = mock.patch.multiple(local_files, create=True, os=failing, open=failing.open_to_write)
        syncing = mock.patch.object(durable, "os", failing)
        with refusing, syncing, mock.patch.object(fulldisk, "FULL_DISK_S", 0.0):
            said = stopped(made)
        if not failing.failed:
            assert said is None
            assert number > 20
            break
        assert said is None or (why in said and "Everything stored before is intact" in said)
        stored = _stored(made)
        made.run()
        assert not made.twice() & stored, "a row that was stored was asked again"
        made.exact()
    else:
        pytest.fail("it never came to an end")


def stopped(made: Run) -> str | None:
    """What a start said of the disk; None where it came to its end: the last lines of the ledger may be missing."""
    try:
        made.run()
    except StorageError as error:
        return str(error)
    return None


def _stored(made: Run) -> set[int]:
    paths = [*Path(made.out).glob("scores/*.parquet"), *Path(made.out).glob("segments/*/*.parquet")]
    return set().union(*(rows_in(path) for path in paths)) if paths else set()


@pytest.mark.slow
def test_run_stops_with_exit_7_on_a_full_disk_and_resumes_with_room(judge: RehearsalProcess, tmp_path: Path) -> None:
    """Slow: two starts of the real command; the first may write no file over 10 kB, by the kernel's own limit."""
    shard(tmp_path / "in" / "a.parquet", 1000)
    path = run_file(tmp_path, judge.url, output={"path": f"{tmp_path}/out", "flush_rows": 1000})

    def small() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))

    command = [*COMMAND, "run", str(path)]
    env = {
        **os.environ,
        "PYTHONDONTWRITEBYTECODE": "1",
    }  # a cached module would be cut at that size, for all later starts
    stopped = subprocess.run(command, capture_output=True, text=True, timeout=120, preexec_fn=small, env=env)
    assert stopped.returncode == 7, stopped.stderr
    assert re.search(r"Cannot write .*: .*Everything stored before is intact", stopped.stderr)
    assert "Traceback" not in stopped.stderr
    assert scorer("run", path).code == 0
    assert [row["row"] for row in scores(tmp_path)] == list(range(1000))
    assert scorer("verify", f"{tmp_path}/out").code == 0


# --- two at once, and clocks ------------------------------------------------------------------------------------------


def test_lock_refuses_a_second_holder_and_leaves_the_run_undisturbed(tmp_path: Path) -> None:
    made = Run(tmp_path, 12)
    refused: list[str] = []

    def second() -> None:
        if made.wire.asked.total() == 6:
            with pytest.raises(OutputError) as caught:
                LocalFiles().lock(Layout(made.out).lock, "the second")
            refused.append(str(caught.value))

    made.wire.then = second
    made.run()
    assert len(refused) == 1
    assert f"is in use by process {os.getpid()} on " in refused[0]
    assert not made.twice()
    made.exact()


@pytest.mark.parametrize("seed", range(6))
def test_run_is_exact_when_the_clock_jumps(tmp_path: Path, seed: int) -> None:
    draw = Random(seed)
    jumps = [-3600.0, -1.0, 0.0, 0.0, 0.5, 3600.0, 365 * 86400.0, -365 * 86400.0]
    clock = [1_790_000_000.0]

    def wall_s() -> float:
        clock[0] = max(1.0, clock[0] + draw.choice(jumps))
        return clock[0]

    made = Run(tmp_path, 10, 10)
    made.wall_s = wall_s
    for _ in range(3):
        made.stop_after(4)
    found = made.run()
    assert (found.state, found.rows, found.requests) == ("complete", 20, made.wire.asked.total())
    assert found.rows_per_s >= 0.0
    assert not made.twice()
    made.exact()


def test_ledger_files_get_distinct_names_when_the_clock_goes_back(tmp_path: Path) -> None:
    made = Run(tmp_path, 10)
    made.stop_after(3)
    reported = status(LocalFiles(), made.out)
    made.wall_s = lambda: 1_700_000_000.0
    made.stop_after(3)
    assert status(LocalFiles(), made.out).requests == made.wire.asked.total() > reported.requests
    made.wall_s = lambda: 1_790_000_000.0
    made.run()
    assert status(LocalFiles(), made.out).requests == 10
    made.exact()
