"""The command `scorer watch`: a live view of a run, from any machine; on the run's own also pause, pace and caps."""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from scorer.cli.options import Out
from scorer.cli.stdio import to_stdout
from scorer.config.out_folder import folder_of
from scorer.errors import ScorerError

if TYPE_CHECKING:
    from scorer.job.control_socket import Answer, ControlClient
    from scorer.report.watch.source import Seen, WatchedRun


LOOK_S, REMOTE_LOOK_S = 1.0, 2.0
"""Seconds between two looks at the output folder. On object storage each look is a paid request."""
LEFT = 130
"""The exit code where the view is left before the run ends."""
KEY_S = 0.2
PLAIN_S = 10.0
UNREADABLE_S = 120.0
"""A folder that cannot be read for so long ends the view."""


def watch(
    out: Out,
    /,
    *,
    plain: Annotated[bool, Parameter(help="A line every 10 s, for logs and screen readers.", negative="")] = False,
) -> int:
    """Watch a run until it ends, from any machine that sees its output folder. Exits as the run does.

    On the machine of the run: p pauses and resumes it, + and - change the requests in flight, b raises the budget.

    Example: scorer watch out
    """
    from scorer.files.router import AnyFiles, is_remote
    from scorer.report.watch.source import WatchedRun

    out = folder_of(out).rstrip("/") or "/"
    looker = _Looker(WatchedRun(AnyFiles(), out, time.monotonic), REMOTE_LOOK_S if is_remote(out) else LOOK_S)
    seen = looker.look()
    if not seen.over:
        looker.start()
        try:
            seen = _plain(looker) if plain or not _is_terminal() else _live(looker, out)
        except KeyboardInterrupt:
            return LEFT
    return _ended(out, seen) if seen.over else LEFT


class _Looker:
    """Looks at the run on a thread of its own, so that keys are read while storage is slow."""

    def __init__(self, run: WatchedRun, every_s: float) -> None:
        self._run = run
        self._every_s = every_s
        self._failing_since: float | None = None
        self.error: BaseException | None = None
        self.seen: Seen

    def look(self) -> Seen:
        self.seen = self._run.look()
        return self.seen

    def start(self) -> None:
        """Looks until the run is over, or the folder cannot be read for `UNREADABLE_S`."""
        threading.Thread(target=self._go, daemon=True).start()

    def now(self) -> Seen:
        """What was seen last. Raises what ended the looking."""
        if self.error is not None:
            raise self.error
        return self.seen

    def _go(self) -> None:
        while not self.seen.over:
            time.sleep(self._every_s)
            try:
                self.seen = self._run.look()
                self._failing_since = None
            except (ScorerError, OSError) as error:
                self._failing_since = self._failing_since or time.monotonic()
                if time.monotonic() - self._failing_since > UNREADABLE_S:
                    self.error = error
                    return
                self.seen = self._run.problem(error)
            except Exception as error:  # noqa: BLE001 - a bug: the main thread raises it
                self.error = error
                return


def _is_terminal() -> bool:
    return sys.stdout is not None and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def _plain(looker: _Looker) -> Seen:
    """Prints a line every 10 s, and one at each change of state."""
    from scorer.report.watch.lines import plain_line

    last, said_at = None, 0.0
    while not (seen := looker.now()).over:
        mark = (seen.state, seen.snapshot.last_change if seen.snapshot is not None else None)
        if mark != last or time.monotonic() - said_at >= PLAIN_S:
            last, said_at = mark, time.monotonic()
            to_stdout(plain_line(seen))
        time.sleep(KEY_S)
    return seen


def _live(looker: _Looker, out: str) -> Seen:
    from scorer.cli.watch_keys import Keys
    from scorer.cli.watch_terminal import full_screen
    from scorer.report.watch.lines import Prompt, watch_lines

    keys, control = Keys(), _Control(out)
    with full_screen() as terminal:
        while not (seen := looker.now()).over and not keys.left:
            keys.control = control.answer(seen.run) if seen.state == "running" else None
            prompt = Prompt(keys.help, keys.typed, keys.answer)
            if not terminal.draw(watch_lines(seen, prompt, *terminal.size)):
                break
            for key in terminal.wait(KEY_S):
                if (wish := keys.take(key)) is not None:
                    keys.answer = control.change(seen.run, wish.key, wish.value)
                    keys.control = control.answer(seen.run)
    return seen


class _Control:
    """The control of the run where it runs on this machine, connected again where a new start of the run has it."""

    def __init__(self, out: str) -> None:
        self._out = out
        self._client: ControlClient | None = None
        self._answer: Answer | None = None
        self._asked_at = float("-inf")

    def answer(self, run: str) -> Answer | None:
        """How the run stands, asked at most once a second; None where it can only be looked at."""
        if time.monotonic() - self._asked_at >= LOOK_S:
            self._ask(run)
        return self._answer

    def change(self, run: str, key: str, value: object) -> str:
        """Asks for a change, and returns what the run says."""
        answer = self._ask(run, key, value)
        if answer is None:
            return "The run does not answer any more."
        return answer.refused or answer.said or ""

    def _ask(self, run: str, key: str | None = None, value: object = None) -> Answer | None:
        from scorer.job.control_socket import ControlClient

        self._asked_at = time.monotonic()
        try:
            self._client = self._client or ControlClient(run, self._out)
            self._answer = self._client.ask(key, value)
        except OSError:
            if self._client is not None:
                self._client.close()
            self._client = self._answer = None
        return self._answer


def _ended(out: str, seen: Seen) -> int:
    """Prints how the run stands and how it ended; returns the exit code of the run. Raises what it failed with."""
    from scorer.cli.run_text import summary_text
    from scorer.config.spec import Limits
    from scorer.files.router import AnyFiles
    from scorer.output.layout import Layout
    from scorer.output.manifest import load
    from scorer.output.status import status, within_share
    from scorer.report.watch.ending import ending

    files = AnyFiles()
    found = status(files, out)
    to_stdout(summary_text(out, found))
    sentence, code = ending(seen, found)
    if code == 0 and (manifest := load(files, Layout(out))) is not None:
        most = manifest.spec.get("limits", {}).get("max_failed_share", Limits().max_failed_share)
        within_share(found, most)
    to_stdout(sentence)
    return code
