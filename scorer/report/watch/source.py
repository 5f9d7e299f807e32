"""Watches a run by its output folder alone, from any machine: `run.json`, `progress.json` and whether the lock is held.

Decides what state a run is in, also of one that was killed. Writes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from scorer.errors import ScorerError
from scorer.files.files import Files, read
from scorer.output.layout import Layout
from scorer.output.manifest import Manifest, load, no_run
from scorer.output.progress import Snapshot, snapshot_of

STALE_S = 3.0
"""A run that has written no progress for so long is asked for its lock."""
SILENT_S = 10.0
"""After so long without progress the view says so."""
FIRST_NEWS_S = 5.0
"""A progress that does not change so long after the first look is of an earlier start."""
OVER = ("complete", "stopped", "interrupted", "killed")


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen of a run. `state` is starting, running, ending (it publishes what is left), or one of OVER.

    `run` is the id of the run. `snapshot` is the last one, None before the first. `silent_s` is how long a running run
    has written none, None where that is short. `problem` says why the folder could not be read just now.
    """

    out: str
    state: str
    snapshot: Snapshot | None = None
    rehearsal: bool = False
    silent_s: float | None = None
    problem: str | None = None
    run: str = ""

    @property
    def over(self) -> bool:
        return self.state in OVER


class WatchedRun:
    """Looks at a run again and again. `clock` is monotonic, in seconds. Clocks of other machines do not matter."""

    def __init__(self, files: Files, out: str, clock: Callable[[], float]) -> None:
        self._files = files
        self._layout = Layout(out)
        self._clock = clock
        self._data: bytes | None = None
        self._news_at = clock()
        self._news = False
        """A snapshot was written while this was looking."""
        self._manifest: Manifest | None = None
        self._snapshot: Snapshot | None = None

    def look(self) -> Seen:
        """The run as it is now.

        Raises SpecError where the folder holds no run, OutputError where `run.json` is damaged, and StorageError or
        OSError where the folder cannot be read.
        """
        if self._manifest is None:
            self._manifest = load(self._files, self._layout)
        if self._manifest is None:
            if self._files.locked(self._layout.lock):
                return self._seen("starting")
            raise no_run(self._files, self._layout)
        self._read()
        snapshot, silent_s = self._snapshot, self._clock() - self._news_at
        if self._news and silent_s < STALE_S and snapshot is not None and snapshot.state == "running":
            return self._seen("running")
        if self._files.locked(self._layout.lock):
            if snapshot is None or (not self._news and (snapshot.state != "running" or silent_s >= FIRST_NEWS_S)):
                return self._seen("starting")
            if snapshot.state != "running":
                return self._seen("ending")
            return self._seen("running", silent_s if silent_s >= SILENT_S else None)
        self._read()  # what it wrote between the last look and its end
        snapshot = self._snapshot
        return self._seen("killed" if snapshot is None or snapshot.state == "running" else snapshot.state)

    def problem(self, error: ScorerError | OSError) -> Seen:
        """The run as it was last seen, and why it cannot be seen now."""
        seen = self._seen("running" if self._news else "starting")
        return replace(seen, problem=f"The output folder cannot be read just now: {error}")

    def _seen(self, state: str, silent_s: float | None = None) -> Seen:
        rehearsal, run = (self._manifest.rehearsal, self._manifest.id) if self._manifest is not None else (False, "")
        return Seen(self._layout.out, state, self._snapshot, rehearsal, silent_s, run=run)

    def _read(self) -> None:
        try:
            data = read(self._files, self._layout.progress)
        except FileNotFoundError:
            return
        if data != self._data:
            self._news = self._data is not None
            self._data, self._news_at = data, self._clock()
            self._snapshot = snapshot_of(data) or self._snapshot
