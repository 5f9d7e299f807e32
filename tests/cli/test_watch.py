"""Promise: `scorer watch` ends as its run does and says how; its keys change the run, a cap only by a typed number."""

from __future__ import annotations

import itertools
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.command import ended, run_file, shard, started, wait_until
from support.inprocess import Run

from scorer.cli.app import _exit_code
from scorer.cli.watch_keys import Ask, Keys
from scorer.job.control import CONCURRENCY, MAX_TOKENS, MAX_USD, PAUSED
from scorer.job.control_socket import Answer
from scorer.rehearsal.process import RehearsalProcess

STANDING = Answer("id", False, (64, 1, 256), {MAX_USD: 5.0})


def keys(standing: Answer | None = STANDING) -> Keys:
    made = Keys()
    made.control = standing
    return made


def typed(made: Keys, text: str) -> list[Ask]:
    return [ask for key in text if (ask := made.take(key)) is not None]


# --- keys -------------------------------------------------------------------------------------------------------------


def test_keys_pause_and_resume_and_change_requests_in_flight_by_a_tenth() -> None:
    made = keys()
    assert typed(made, "p+=-") == [Ask(PAUSED, True), *[Ask(CONCURRENCY, 70)] * 2, Ask(CONCURRENCY, 58)]
    made.control = Answer("id", True, (1, 1, 4), {})
    assert typed(made, "p+-bt") == [Ask(PAUSED, False), Ask(CONCURRENCY, 2), Ask(CONCURRENCY, 1)]
    assert made.typed is None
    assert [part[0] for part in made.help] == ["p resume", "+/- requests in flight", "q quit"]


def test_keys_raise_a_cap_by_a_number_and_enter_alone() -> None:
    made = keys()
    assert typed(made, "b12x.5p+q") == []
    assert made.typed is not None
    assert made.typed[0] == "New limits.max_usd (now 5), Enter to raise it: 12.5_"
    assert typed(made, "\x7f75\r") == [Ask(MAX_USD, 12.75)]
    assert made.typed is None
    assert typed(made, "b\r") == typed(made, "b9\x1b") == typed(made, "t") == []
    assert typed(made, "b1.2.3\r") == []
    assert made.answer == "1.2.3 is no number, so limits.max_usd stays as it is."
    made.control = Answer("id", False, (0, 0, 0), {MAX_TOKENS: 10.0})
    assert typed(made, "t1,000\n") == [Ask(MAX_TOKENS, 1000)]
    assert not made.left


@given(text=st.text(alphabet="pq+-bt0123456789.\r\x1b\x7fxyz", max_size=40))
def test_keys_without_control_ask_for_nothing_and_no_cap_changes_without_enter(text: str) -> None:
    assert typed(keys(None), text) == []
    asked = typed(keys(), text.replace("\r", ""))
    assert not any(ask.key in (MAX_USD, MAX_TOKENS) for ask in asked)


def test_keys_leave_by_q_or_ctrl_c() -> None:
    for text, left in [("q", True), ("b1q", False), ("b1\x03", True)]:
        made = keys()
        typed(made, text)
        assert made.left is left
    made = keys(None)
    typed(made, "q")
    assert (made.left, made.help) == (True, (("q quit",),))


# --- runs that are over -----------------------------------------------------------------------------------------------


@pytest.fixture
def finished(tmp_path: Path) -> Run:
    run = Run(tmp_path, 6)
    run.run()
    return run


def says(capsys: pytest.CaptureFixture[str], out: str, code: int, *options: str) -> str:
    assert _exit_code(["watch", out, *options]) == code
    found = capsys.readouterr()
    return found.out + found.err


def change(run: Run, name: str, **values: object) -> None:
    path = Path(run.out, name)
    path.write_bytes(orjson.dumps({**orjson.loads(path.read_bytes()), **values}))


def test_watch_of_a_finished_run_says_so_and_exits_0(finished: Run, capsys: pytest.CaptureFixture[str]) -> None:
    said = says(capsys, finished.out, 0)
    assert "6 scored" in said
    assert said.endswith("The run has ended: every row is finished.\n")


def test_watch_of_a_finished_rehearsal_calls_it_one(finished: Run, capsys: pytest.CaptureFixture[str]) -> None:
    change(finished, "run.json", id="rehearsal-0123456789abcdef")
    assert "The rehearsal has ended" in says(capsys, finished.out, 0)


def test_watch_of_a_run_with_too_many_failed_rows_exits_6(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = Run(tmp_path, 6)
    run.wire.refuses = {1, 2, 3}
    run.run()
    change(run, "run.json", spec={**orjson.loads(Path(run.out, "run.json").read_bytes())["spec"], "limits": {}})
    assert "3 of 6 rows failed (Refused 3)" in says(capsys, run.out, 6)


@pytest.mark.parametrize(
    ("progress", "code", "sentence"),
    [
        ({"state": "running"}, 130, "The run ended without a word: process"),
        ({"state": "interrupted"}, 130, "The run was interrupted. Finished rows are stored; the same command resumes."),
        (
            {"state": "stopped", "error": "limits.max_usd = 5 is used up", "exit_code": 3},
            3,
            "was stopped: limits.max_usd",
        ),
    ],
)
def test_watch_of_a_partial_run_says_how_it_ended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], progress: dict[str, object], code: int, sentence: str
) -> None:
    run = Run(tmp_path, 30)
    run.stop_after(8)
    change(run, "progress.json", **progress)
    assert sentence in says(capsys, run.out, code)


def test_watch_of_no_run_says_what_to_give(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "holds no run" in says(capsys, str(tmp_path), 2)
    assert "holds no run" in says(capsys, str(tmp_path / "nowhere"), 2, "--plain")


# --- a run under way --------------------------------------------------------------------------------------------------


@pytest.fixture
def long(judge: RehearsalProcess, tmp_path: Path) -> Path:
    """A run that no test sees the end of: 30,000 rows at 20 a second."""
    shard(tmp_path / "in/a.parquet", 30_000)
    return run_file(tmp_path, judge.url, limits={"requests_per_minute": 1200, "max_usd": 5.0})


def test_watch_into_a_pipe_prints_lines_until_the_run_ends(long: Path) -> None:
    with started("run", long, "--quiet") as run:
        wait_until(lambda: (long.parent / "out/progress.json").exists())
        with started("watch", long) as watching:
            assert watching.stdout is not None
            first = watching.stdout.readline()
            run.send_signal(signal.SIGINT)
            found = ended(watching)
    assert " of 30,000 rows (" in first
    assert found.code == 130
    assert found.out.splitlines()[-1] == "The run was interrupted. Finished rows are stored; the same command resumes."
    assert "\x1b" not in first + found.out


class Screen:
    """A terminal in tmux in which `scorer watch` shows a run.

    Each has a server of its own: one that is told to end may still take a new session, and end with it.
    """

    def __init__(self, folder: Path) -> None:
        self._sockets = (folder / f"tmux-{number}" for number in itertools.count())
        self._socket = next(self._sockets)

    def tmux(self, *arguments: str) -> str:
        command = ["tmux", "-S", str(self._socket), "-f", "/dev/null", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def watch(self, run: Path, width: int, height: int) -> None:
        """Watches a run in a new terminal."""
        self._socket = next(self._sockets)
        watch = f"{shlex.quote(sys.executable)} -m scorer watch {shlex.quote(str(run))}"
        command = f"echo before; {watch}; echo exit code $?; sleep 600"
        self.tmux("new-session", "-d", "-s", run.parent.name, "-x", str(width), "-y", str(height), command)

    def type(self, *keys: str) -> None:
        for key in keys:
            self.tmux("send-keys", key)

    @property
    def shown(self) -> str:
        return self.tmux("capture-pane", "-p")

    def until(self, *texts: str) -> str:
        """The screen once it shows all of these texts."""
        wait_until(lambda: all(text in self.shown for text in texts))
        return self.shown


@pytest.fixture
def screen() -> Iterator[Screen]:
    if shutil.which("tmux") is None:
        pytest.skip("tmux is not installed")
    with tempfile.TemporaryDirectory() as folder:
        made = Screen(Path(folder))
        yield made
        with suppress(subprocess.CalledProcessError):
            made.tmux("kill-server")


def progress(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads((run.parent / "out/progress.json").read_bytes())
    return found


def nothing_is_sent(run: Path) -> None:
    """Requests in flight end, and no further one is sent for a while."""

    def rests() -> bool:
        sent = progress(run)["requests"]
        time.sleep(1.5)
        return bool(progress(run)["requests"] == sent)

    wait_until(lambda: progress(run)["paused"] and not progress(run)["in_flight"])
    wait_until(rests)  # what a worker sent before comes with its next report


@pytest.mark.slow
@pytest.mark.parametrize(("width", "height"), [(80, 24), (200, 50)])
def test_watch_in_a_terminal_pauses_resumes_raises_and_leaves_the_screen_as_it_was(
    long: Path, screen: Screen, width: int, height: int
) -> None:
    """Slow: a real run, watched in tmux."""
    with started("run", long, "--quiet") as run:
        wait_until(lambda: (long.parent / "out/progress.json").exists())
        screen.watch(long, width, height)
        found = screen.until("p pause", "requests/min")
        assert max(map(len, found.splitlines())) <= width
        screen.type("p")
        screen.until("p resume", "Paused: nothing is in flight")
        nothing_is_sent(long)
        screen.type("b", "7", ".", "5")
        screen.until("New limits.max_usd (now 5), Enter to raise it: 7.5_")
        screen.type("Enter")
        screen.until("limits.max_usd is 7.5 now, it was 5")
        screen.tmux("resize-window", "-x", "45", "-y", "12")
        wait_until(lambda: max(map(len, screen.shown.splitlines())) <= 45)
        screen.until("of 30,000 rows", "q quit")
        screen.type("p")
        screen.until("p pause")
        run.send_signal(signal.SIGINT)
        screen.until("exit code 130")
        found = screen.tmux("capture-pane", "-p", "-S", "-")  # with what has scrolled away
        assert ended(run).code == 130
    assert found.startswith("before")
    assert "The run was interrupted." in " ".join(found.split())
    assert "p pause" not in found
    changes = orjson.loads((long.parent / "out/run.json").read_bytes())["changes"]
    assert [(one["key"], one["after"]) for one in changes] == [(PAUSED, True), (MAX_USD, 7.5), (PAUSED, False)]


@pytest.mark.slow
def test_watch_tells_of_a_killed_run_and_the_next_start_with_workers_can_be_paused(long: Path, screen: Screen) -> None:
    """Slow: two starts of a real run."""
    with started("run", long, "--quiet") as run:
        wait_until(lambda: (long.parent / "out/progress.json").exists())
        screen.watch(long, 100, 30)
        screen.until("p pause")
        run.send_signal(signal.SIGKILL)
        screen.until("exit code 130", "ended without a word")
        screen.tmux("kill-server")
    with started("run", long, "--quiet", "--workers", "2") as run:
        wait_until(lambda: progress(long)["pid"] == run.pid)
        screen.watch(long, 100, 30)
        screen.until("p pause")
        screen.type("p")
        screen.until("Paused: nothing is in flight")
        nothing_is_sent(long)
        screen.type("p", "+")
        screen.until("limits.concurrency is 17 now, it was 16")
        wait_until(lambda: progress(long)["limits"]["concurrency"] == 17 and progress(long)["in_flight"] > 0)
        run.send_signal(signal.SIGINT)
        screen.until("exit code 130")
        assert ended(run).code == 130
