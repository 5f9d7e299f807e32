"""The terminal of `scorer watch`: the whole screen is drawn in place, and keys are read one by one."""

from __future__ import annotations

import os
import select
import signal
import sys
import termios
import tty
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from scorer.cli.redrawn_lines import size
from scorer.cli.stdio import raw_to_stdout
from scorer.report.watch.lines import Line

ENTER_SCREEN, LEAVE_SCREEN = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
STYLES = {"bold": "\x1b[1m", "dim": "\x1b[2m", "warn": "\x1b[33m", "bad": "\x1b[31m"}


class WatchTerminal:
    """The screen while the view lasts. `keys` is False where stdin is no terminal."""

    def __init__(self, *, keys: bool) -> None:
        self._keys = keys
        self._colour = not os.environ.get("NO_COLOR")
        self._shown = ""

    @property
    def size(self) -> tuple[int, int]:
        return size(sys.stdout)

    def draw(self, lines: Sequence[Line]) -> bool:
        """Shows these lines in place of what was there. False where the terminal is gone."""
        rows = [f"{STYLES[line.style]}{line.text}\x1b[0m" if self._styled(line) else line.text for line in lines]
        frame = "\x1b[H" + "\x1b[K\r\n".join(rows) + "\x1b[K\x1b[J"
        if frame == self._shown:
            return True
        self._shown = frame
        return raw_to_stdout(frame)

    def _styled(self, line: Line) -> bool:
        return bool(line.style) and (self._colour or line.style in ("bold", "dim"))

    def wait(self, seconds: float) -> str:
        """The keys that were typed within so many seconds; "" where none was. An escape sequence is left out."""
        try:
            ready = select.select([sys.stdin] if self._keys else [], [], [], seconds)[0]
            data = os.read(sys.stdin.fileno(), 1024) if ready else b""
        except OSError:
            return ""
        if ready and not data:  # the terminal hung up
            return "\x03"
        text = data.decode("utf-8", "replace")
        return "\x1b" if text == "\x1b" else "" if text.startswith("\x1b") else text


@contextmanager
def full_screen() -> Iterator[WatchTerminal]:
    """The terminal's other screen for as long as the block lasts; what was there before is back afterwards."""
    keys = sys.stdin is not None and sys.stdin.isatty()
    before = termios.tcgetattr(sys.stdin) if keys else None
    handlers = {number: signal.signal(number, _leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    stopped = signal.signal(signal.SIGTSTP, signal.SIG_IGN)  # a view in the background would garble the shell
    try:
        if keys:
            tty.setcbreak(sys.stdin)
        raw_to_stdout(ENTER_SCREEN)
        yield WatchTerminal(keys=keys)
    finally:
        raw_to_stdout(LEAVE_SCREEN)
        if before is not None:
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
        for number, handler in {**handlers, signal.SIGTSTP: stopped}.items():
            signal.signal(number, handler)


def _leave(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)
