"""Promise: a child process starts from this installation, says why it ended, and never outlives `stop`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.command import PATIENCE_S

from scorer.processes import child_process
from scorer.processes.child_process import ChildProcess
from scorer.processes.search_path import child_environment


@pytest.fixture
def child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], ChildProcess]]:
    """Starts a module with this code."""
    monkeypatch.syspath_prepend(tmp_path)
    started: list[ChildProcess] = []

    def start(code: str) -> ChildProcess:
        (tmp_path / "told.py").write_text(code)
        started.append(ChildProcess("told", environment=child_environment()))
        return started[-1]

    yield start
    for process in started:
        process.stop(now=True)


def test_child_process_stop_closes_stdin_and_ends_child(
    child: Callable[[str], ChildProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child_process, "STOP_S", PATIENCE_S)
    process = child("import sys\nprint('ready', flush=True)\nsys.stdin.read()\nsys.exit(7)\n")
    assert process.first_line(PATIENCE_S) == b"ready\n"
    assert (process.poll(), process.late) == (None, False)
    process.stop()
    assert process.poll() == 7
    process.stop()


def test_child_process_without_first_line_in_time_is_killed(child: Callable[[str], ChildProcess]) -> None:
    process = child("import sys\nsys.stdin.read()\n")
    assert process.first_line(0.2) == b""
    assert process.late
    assert process.wait() == -9


@pytest.mark.parametrize(("said", "words"), [("a\\n\\nb.\\nc\\nd.\\n", "b. | c | d"), ("", "nothing")])
def test_child_process_last_words_are_last_lines_of_stderr(
    said: str, words: str, child: Callable[[str], ChildProcess]
) -> None:
    process = child(f"import sys\nsys.stderr.write('{said}')\nsys.exit(3)\n")
    assert process.first_line(PATIENCE_S) == b""
    assert (process.wait(), process.late, process.last_words()) == (3, False, words)
