"""Promise: a refused thread or process is a sentence that says what to raise, with exit code 7, and costs no row.

From Python it is the StorageError with the same sentence.
"""

from __future__ import annotations

import asyncio
import errno
import os
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from support.command import JUDGE, run_file, shard, whole

from scorer.api.runs import rehearse, run, run_async
from scorer.cli.app import _exit_code
from scorer.errors import StorageError
from scorer.rehearsal.process import RehearsalProcess

ROWS = 40
REFUSAL = "can't start new thread"
"""The message of Python's RuntimeError."""


def refuse_threads(monkeypatch: pytest.MonkeyPatch, named: Callable[[str], bool]) -> None:
    start = threading.Thread.start

    def refused(thread: threading.Thread) -> None:
        if named(thread.name):
            raise RuntimeError(REFUSAL)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refused)


def test_a_run_without_a_thread_keeps_what_is_stored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shard(tmp_path / "in/a.parquet", ROWS)
    with RehearsalProcess(JUDGE) as judge:
        path = str(run_file(tmp_path, judge.url))
        assert _exit_code(["run", path, "--sample", "15"]) == 0
        asked = judge.stats()["ok"]
        assert 0 < asked < ROWS
        for threads in (0, 1):
            with pytest.MonkeyPatch.context() as patched:
                refuse_threads(patched, lambda name, threads=threads: name == f"scorer_{threads}")  # type: ignore[misc]
                capsys.readouterr()
                assert _exit_code(["run", path]) == 7
            said = capsys.readouterr().err
            assert "The system refused a further thread" in said
            assert "`ulimit -u`" in said
            assert "Traceback" not in said
        assert _exit_code(["run", path]) == 0
        assert judge.stats()["ok"] == ROWS
    whole(tmp_path, ROWS)


@pytest.mark.parametrize(
    ("message", "code"), [(REFUSAL, 7), (f"a worker failed:\nRuntimeError: {REFUSAL}", 7), ("something else", 1)]
)
def test_no_other_error_is_taken_for_it(
    message: str, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def command() -> int:
        raise RuntimeError(message)

    monkeypatch.setattr("scorer.cli.app.plain_run", lambda _: command)
    assert _exit_code(["run", "run.toml"]) == code
    assert ("This is a bug of scorer" in capsys.readouterr().err) == (code == 1)


async def run_in_a_notebook(path: str) -> None:
    """A loop already runs in this thread."""
    run(path)


@pytest.mark.parametrize(
    ("call", "thread"),
    [
        (run, "scorer_0"),
        (lambda path: asyncio.run(run_async(path)), "scorer_0"),
        (lambda path: asyncio.run(run_in_a_notebook(path)), "scorer_0"),
        (lambda path: asyncio.run(run_in_a_notebook(path)), "scorer-run"),
    ],
)
def test_from_python_it_is_a_storage_error(
    call: Callable[[str], object], thread: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shard(tmp_path / "in/a.parquet", 3)
    path = str(run_file(tmp_path, "http://127.0.0.1:9/v1"))
    refuse_threads(monkeypatch, lambda name: name == thread)
    with pytest.raises(StorageError, match="refused a further thread"):
        call(path)


@pytest.fixture
def no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system refuses every process, as fork does beyond RLIMIT_NPROC."""

    def refused(*_: object, **__: object) -> None:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(subprocess, "Popen", refused)
    monkeypatch.setattr(asyncio, "create_subprocess_exec", refused)


@pytest.mark.usefixtures("no_process")
@pytest.mark.parametrize("command", [["rehearse"], ["run", "--workers", "2"]])
def test_a_refused_process_is_said_as_well(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shard(tmp_path / "in/a.parquet", 3)
    path = str(run_file(tmp_path, "http://127.0.0.1:9/v1"))
    assert _exit_code([command[0], path, *command[1:]]) == 7
    said = capsys.readouterr().err
    assert "The system refused a further thread or process" in said
    assert "Traceback" not in said


@pytest.mark.usefixtures("no_process")
def test_a_refused_process_is_a_storage_error_from_python(tmp_path: Path) -> None:
    shard(tmp_path / "in/a.parquet", 3)
    path = str(run_file(tmp_path, "http://127.0.0.1:9/v1"))
    with pytest.raises(StorageError, match="thread or process"):
        rehearse(path)
    with pytest.raises(StorageError, match="thread or process"):
        run(path, workers=2)
