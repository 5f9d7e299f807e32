"""Promise: a watched run's state follows from its folder alone: starting, running, silent, ending, ended or killed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import orjson
import pytest
from support.inprocess import Run

from scorer.errors import SpecError
from scorer.files.local_files import LocalFiles
from scorer.output.layout import Layout
from scorer.output.progress import snapshot_of
from scorer.output.status import status
from scorer.report.watch.ending import ending
from scorer.report.watch.source import FIRST_NEWS_S, SILENT_S, STALE_S, Seen, WatchedRun


class Watched:
    """A finished run whose progress and lock are set by hand, on a clock that is set by hand."""

    def __init__(self, root: Path) -> None:
        self.run = Run(root, 5)
        self.run.run()
        self.layout = Layout(self.run.out)
        self.now = 0.0
        self.watched = WatchedRun(LocalFiles(), self.run.out, lambda: self.now)

    def writes(self, state: str, at: float = 0.0) -> None:
        path = Path(self.layout.progress)
        path.write_bytes(orjson.dumps({**orjson.loads(path.read_bytes()), "state": state, "updated_at": at}))

    def look(self, after_s: float = 1.0) -> tuple[str, float | None]:
        self.now += after_s
        seen = self.watched.look()
        return seen.state, seen.silent_s


@contextmanager
def held(layout: Layout) -> Iterator[None]:
    """The folder's lock, as long as the block lasts."""
    lock = LocalFiles().lock(layout.lock, "me")
    try:
        yield
    finally:
        lock.release()


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path)


def test_run_under_way_is_running_then_silent_then_ending_then_ended(watched: Watched) -> None:
    with held(watched.layout):
        watched.writes("running", 1)
        assert watched.look() == ("running", None)
        watched.writes("running", 2)
        assert watched.look() == ("running", None)
        assert watched.look(STALE_S) == ("running", None)
        assert watched.look(SILENT_S) == ("running", STALE_S + SILENT_S)
        watched.writes("complete", 3)
        assert watched.look() == ("ending", None)
    assert watched.look() == ("complete", None)


def test_start_is_not_taken_for_the_run_before_it(watched: Watched) -> None:
    with held(watched.layout):
        watched.writes("interrupted", 1)
        assert watched.look() == ("starting", None)
        watched.writes("running", 2)
        assert watched.look() == ("running", None)


def test_start_after_a_kill_is_starting_once_no_progress_comes(watched: Watched) -> None:
    watched.writes("running", 1)
    with held(watched.layout):
        assert watched.look() == ("running", None)
        assert watched.look(FIRST_NEWS_S) == ("starting", None)


def test_run_whose_lock_is_free_is_killed_or_ended(watched: Watched) -> None:
    assert watched.look() == ("complete", None)
    watched.writes("running", 1)
    assert watched.look() == ("running", None)
    assert watched.look(STALE_S + 1) == ("killed", None)
    watched.writes("stopped", 2)
    assert watched.look() == ("stopped", None)
    Path(watched.layout.progress).write_bytes(b'{"state": 5')
    assert watched.look() == ("stopped", None)  # what was read last
    fresh = WatchedRun(LocalFiles(), watched.run.out, lambda: 0.0)
    seen = fresh.look()
    assert (seen.state, seen.snapshot, len(seen.run)) == ("killed", None, 16)


def test_folder_without_a_run_is_refused_and_one_that_is_locked_is_starting(tmp_path: Path) -> None:
    out = f"{tmp_path}/out"
    with pytest.raises(SpecError, match="holds no run"):
        WatchedRun(LocalFiles(), out, lambda: 0.0).look()
    with held(Layout(out)):
        assert WatchedRun(LocalFiles(), out, lambda: 0.0).look().state == "starting"


def test_progress_of_an_earlier_version_and_of_a_later_one_is_read(watched: Watched) -> None:
    found = orjson.loads(Path(watched.layout.progress).read_bytes())
    for name in ("limits", "latency_s", "paused", "last_change", "host", "error", "exit_code", "answered"):
        found.pop(name, None)
    old = snapshot_of(orjson.dumps({**found, "of_a_later_version": 1}))
    assert old is not None
    assert (old.rows, old.limits, old.paused) == (5, {}, False)
    assert snapshot_of(orjson.dumps({**found, "rows": "many"})) is None


@pytest.mark.parametrize(
    ("state", "changed", "says", "code"),
    [
        ("complete", {}, "The run has ended: every row is finished.", 0),
        ("killed", {"host": "judge-1"}, "on judge-1 was killed or its machine went down, last heard of at", 130),
        ("interrupted", {}, "The run was interrupted. Finished rows are stored; the same command resumes.", 130),
        (
            "stopped",
            {"error": "limits.max_usd\x1b = 5 is used up", "exit_code": 3},
            r"stopped: limits.max_usd\x1b =",
            3,
        ),
        ("stopped", {}, "ended before its last row (2 are left)", 130),
    ],
)
def test_ending_says_how_the_run_ended_with_its_exit_code(
    watched: Watched, state: str, changed: dict[str, object], says: str, code: int
) -> None:
    found = status(LocalFiles(), watched.run.out)
    if state != "complete":
        found = replace(found, state="interrupted", pending=2)
    snapshot = snapshot_of(Path(watched.layout.progress).read_bytes())
    assert snapshot is not None
    sentence, exit_code = ending(Seen("out", state, replace(snapshot, **changed)), found)  # type: ignore[arg-type]
    assert says in sentence
    assert exit_code == code


def test_ending_without_progress_does_not_guess(watched: Watched) -> None:
    found = replace(status(LocalFiles(), watched.run.out), state="interrupted", pending=2)
    assert "does not say how" in ending(Seen("out", "killed"), found)[0]


def test_ending_of_a_rehearsal_calls_it_one(watched: Watched) -> None:
    found = status(LocalFiles(), watched.run.out)
    assert ending(Seen("out", "complete", None, True), found)[0].startswith("The rehearsal has ended")
