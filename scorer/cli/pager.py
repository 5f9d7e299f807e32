"""Shows a long text a screen at a time where stdout is a terminal: with `less`, or what PAGER names."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from contextlib import suppress

from scorer.cli.stdio import escaped_to_stdout
from scorer.cli.styles import is_terminal


def page(text: str, *, marks: str = "") -> None:
    """Writes a text that is escaped already; with a pager where it is longer than the terminal is high.

    `marks` is a regular expression for the lines that the keys n and N of `less` go to. Raises StorageError where
    stdout cannot be written.
    """
    if not is_terminal() or text.count("\n") < shutil.get_terminal_size().lines - 1 or not (pager := _pager(marks)):
        escaped_to_stdout(text)
        return
    try:
        process = subprocess.Popen(pager, stdin=subprocess.PIPE, text=True, encoding="utf-8", errors="backslashreplace")
    except OSError:
        escaped_to_stdout(text)
        return
    with suppress(BrokenPipeError, KeyboardInterrupt):  # left before its end
        process.communicate(text)
    while process.poll() is None:
        with suppress(KeyboardInterrupt):  # it is the pager's to handle
            process.wait()


def _pager(marks: str) -> list[str]:
    """The command of the pager, empty where there is none."""
    given = os.environ.get("PAGER")
    if given is not None and given.split()[:1] != ["less"]:
        return shlex.split(given)
    less = shutil.which("less")
    if less is None:
        return []
    # R: colours as they are; F: no paging of what fits; X: the text stays on the screen; G: matches are not coloured;
    # j: what is found stands in the fourth line, so that the lines above the first row are seen
    return [less, "-RFXG", "-j4", *(["-p", marks] if marks else [])]
