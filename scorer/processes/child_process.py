"""A child process that ends with its parent: how it is started, read and stopped.

The parent holds the child's stdin open. However the parent ends, kill -9 included, the child reads the end of its stdin
and leaves. (Workers of a run are not started here: the event loop waits for them, see scorer/workers/subprocesses.py.)
"""

from __future__ import annotations

import subprocess
import tempfile
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import IO

from scorer.processes.search_path import child_command

STOP_S = 5.0
"""A child whose stdin is closed is killed after this long."""


class ChildProcess:
    """Runs a module of this installation of scorer, from the constructor to `stop`.

    With `keep_stderr` its stderr goes into a file for `last_words`, since a pipe has no reader meanwhile and a full one
    would stop it. Otherwise its stderr is the parent's. With `own_session` a Ctrl-C in the terminal does not reach it.
    Raises OSError where it cannot be started.
    """

    def __init__(
        self,
        module: str,
        *arguments: str,
        environment: Mapping[str, str],
        keep_stderr: bool = True,
        own_session: bool = False,
    ) -> None:
        self._stderr: IO[bytes] | None = tempfile.TemporaryFile() if keep_stderr else None  # noqa: SIM115 - `stop` closes it
        self._process = subprocess.Popen(
            child_command(module, *arguments),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            start_new_session=own_session,
            env=environment,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self.stdin: IO[bytes] = self._process.stdin
        self.stdout: IO[bytes] = self._process.stdout
        self.late = False
        """`first_line` killed it."""

    @property
    def pid(self) -> int:
        return self._process.pid

    def poll(self) -> int | None:
        """Its exit code; None while it runs."""
        return self._process.poll()

    def wait(self) -> int:
        """Waits for its end. Returns its exit code."""
        return self._process.wait()

    def kill(self) -> None:
        """Kills it. Does nothing where it has ended."""
        self._process.kill()

    def first_line(self, timeout_s: float) -> bytes:
        """The first line of its stdout. Empty where it ended without one; after `timeout_s` it is killed (`late`)."""

        def give_up() -> None:
            self.late = True
            self.kill()

        timer = threading.Timer(timeout_s, give_up)
        timer.start()
        try:
            return self.stdout.readline()
        finally:
            timer.cancel()

    def stop(self, *, now: bool = False) -> None:
        """Ends it by closing its stdin, and kills it after `STOP_S`, or at once (`now`). May be called again."""
        with suppress(OSError):
            self.stdin.close()
        if now:
            self.kill()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()
            self._process.wait()
        self.stdout.close()
        if self._stderr is not None:
            self._stderr.close()

    def last_words(self, lines: int = 3) -> str:
        """The last lines of its stderr, joined; `nothing` where it wrote none. Before `stop` only."""
        assert self._stderr is not None
        self._stderr.seek(0)
        said = [line.strip() for line in self._stderr.read().decode("utf-8", "replace").splitlines()]
        return " | ".join([line for line in said if line][-lines:]).rstrip(".") or "nothing"
