"""Events of a run as JSON lines on stderr, for log collectors. Their fields: docs/how-to/schedulers.md."""

from __future__ import annotations

import time
import traceback
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any

from scorer.cli.json_text import json_text
from scorer.cli.stdio import raw_to_stderr
from scorer.errors import ScorerError

if TYPE_CHECKING:
    from scorer.output.progress import Snapshot

EVERY_S = 10.0


class JsonLog:
    """Writes one JSON line for each event, and progress every 10 s.

    `quiet` leaves progress out. Each line has `time` (ISO 8601, UTC), `event` and `out`, the run's folder.
    """

    def __init__(self, out: str, *, quiet: bool = False) -> None:
        self._out = out
        self._quiet = quiet
        self._last = float("-inf")

    def __enter__(self) -> JsonLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def show(self, snapshot: Snapshot) -> None:
        now = time.monotonic()
        if self._quiet or (snapshot.state == "running" and now - self._last < EVERY_S):
            return
        self._last = now
        fields = {name: value for name, value in asdict(snapshot).items() if name != "history"}
        self.tell("progress", {**fields, "finished": snapshot.finished, "eta_s": snapshot.eta_s})

    def say(self, text: str) -> None:
        self.tell("said", {"message": text})

    def tell(self, name: str, fields: Mapping[str, Any]) -> None:
        log(name, {"out": self._out, **fields})


def log(name: str, fields: Mapping[str, Any]) -> None:
    """One line on stderr."""
    line = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": name, **fields}
    # What JSON has no place for can only come from a judge of somebody's own; it is shown as Python shows it.
    raw_to_stderr(json_text(line) + "\n")


def log_error(error: BaseException, exit_code: int) -> None:
    """The event `error`: what ended a command, and with which exit code; for a bug also where."""
    fields = {"exit_code": exit_code, "error": type(error).__name__, "message": str(error)}
    if exit_code == 1 and not isinstance(error, ScorerError):
        fields["traceback"] = "".join(traceback.format_exception(error))
    log("error", fields)
