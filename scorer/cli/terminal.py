"""The progress of a run on stderr: three lines redrawn in place on a terminal, a line every 10 s elsewhere."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

from scorer.cli.redrawn_lines import Block, size
from scorer.cli.stdio import to_stderr
from scorer.cli.text_table import wrapped
from scorer.escapes import printable
from scorer.output.cost_text import cost_text
from scorer.output.progress_lines import duration, limited_by, three_lines

if TYPE_CHECKING:
    from scorer.output.progress import Snapshot

EVERY_S = 10.0
MOST_WHY = 240
"""So many characters of a failure stand on the progress line; `scorer status` has all."""


class TerminalView:
    """Shows snapshots: three lines drawn in place on a terminal, one plain line every 10 s elsewhere.

    It never fails a run: a stderr that is closed, full or no longer read loses what is written to it.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._block: Block | None = None
        self._last = float("-inf")
        self._problem = ""

    def __enter__(self) -> TerminalView:
        if not self._quiet and _is_terminal():
            self._block = Block()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._block = None  # its last state stays

    def show(self, snapshot: Snapshot) -> None:
        if self._quiet:
            return
        if self._block is not None:
            self._block.draw(three_lines(snapshot, size()[0] - 1))
        elif time.monotonic() - self._last >= EVERY_S or snapshot.state != "running":
            self._last = time.monotonic()
            to_stderr(line(snapshot))

    def say(self, text: str) -> None:
        """A line that stays."""
        if self._block is not None:
            lines = printable(text).split("\n")
            self._block.above("\n".join(wrapped(one, indent=0, most=size()[0]) for one in lines))
        elif not self._quiet:
            to_stderr(text)

    def tell(self, name: str, fields: Mapping[str, Any]) -> None:
        """Shows an event: a failed publication, once for each message."""
        if name == "publish_failed" and fields["message"] != self._problem:
            self._problem = fields["message"]
            self.say(self._problem)


def _is_terminal() -> bool:
    """Whether lines can be drawn in place on stderr."""
    try:
        return sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    except ValueError:  # closed
        return False


def line(s: Snapshot) -> str:
    """A snapshot of a run in one line."""
    parts = [
        f"{s.finished:,} of {s.rows_total:,} rows",
        f"{s.rows_per_s:,.1f} rows/s",
        f"{s.tokens_per_minute:,.0f}{f' of {s.tokens_limit:,.0f}' if s.tokens_limit else ''} tokens/min",
        cost_text(s.cost_usd, priced=s.priced)
        + (f" (+{s.maybe_billed_usd:.4f} possibly billed)" if s.maybe_billed_usd else ""),
    ]
    if s.errors:
        parts.append("failed: " + ", ".join(f"{name} {count}" for name, count in sorted(s.errors.items())))
    if s.copied:
        parts.append(f"{s.copied:,} copied")
    if s.publish_problem is not None:
        parts.append(f"{s.to_publish} shards not published")
    if s.eta_s is not None and s.state == "running":
        parts.append(f"{duration(s.eta_s)} to go")
    if s.paused:
        parts.append("paused")
    elif s.outage_s is not None:
        parts.append(f"the judge does not answer for {duration(s.outage_s)}: one probe at a time, no row is failed")
        if s.why is not None:
            parts.append(f"the failure: {_cut(s.why)}")
    elif s.why is not None and s.state != "stopped":  # the error that stopped it follows
        parts.append(f"the judge does not answer: {_cut(s.why)}")
    elif held := limited_by(s.held_back_by):
        parts.append(held)
    return " | ".join(parts)


def _cut(text: str) -> str:
    return text if len(text) <= MOST_WHY else text[: MOST_WHY - 1] + "…"
