"""Writes to stdout and stderr: control characters escaped, and a failing stream fails no run.

Everything that scorer writes to stdout or stderr passes here.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TextIO

from scorer.errors import StorageError
from scorer.escapes import printable


def hold_streams() -> None:
    """Opens file descriptors 0, 1 and 2 where the caller closed them: no other file may get these numbers."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one


def to_stderr(text: str) -> None:
    """Writes a text and flushes it. A stderr that is closed, full or unread loses the text, and nothing else fails."""
    raw_to_stderr(printable(text) + "\n")


def raw_to_stderr(text: str) -> None:
    """The same for a text that is already escaped."""
    if sys.stderr is not None:
        with suppress(OSError, ValueError):  # full, hung up, its reader is gone; closed
            _write(sys.stderr, text)


def raw_to_stdout(text: str) -> bool:
    """Writes an already escaped text to stdout and flushes it. False where stdout is closed, or has no reader."""
    if sys.stdout is None:
        return False
    try:
        _write(sys.stdout, text)
    except (OSError, ValueError):
        _to_nowhere(sys.stdout)
        return False
    return True


def to_stdout(text: str) -> None:
    """Writes an answer, escaped. A reader that has gone (`| head`) is no error.

    Raises StorageError where it could not be written: the caller must not take it for an empty answer.
    """
    escaped_to_stdout(printable(text) + "\n")


def escaped_to_stdout(text: str) -> None:
    """The same for a text that is already escaped."""
    if sys.stdout is None:
        return
    try:
        _write(sys.stdout, text)
    except BrokenPipeError:
        _to_nowhere(sys.stdout)
    except (OSError, ValueError) as error:
        _to_nowhere(sys.stdout)
        raise not_written(error) from error


def not_written(error: OSError | ValueError) -> StorageError:
    """The error of an answer that standard output did not take."""
    return StorageError(
        f"The answer could not be written to standard output ({getattr(error, 'strerror', None) or error}). What "
        "the command did is done; free some space, or write the answer elsewhere."
    )


def end_streams() -> None:
    """Flushes both streams before the interpreter does, which would exit with 120 where one of them fails."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            try:
                stream.flush()
            except (OSError, ValueError):
                _to_nowhere(stream)


def _write(stream: TextIO, text: str) -> None:
    encoding = stream.encoding or "utf-8"
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding))  # a terminal that is not UTF-8
    stream.flush()


def _to_nowhere(stream: TextIO) -> None:
    """Discards what the stream still holds, and all that follows."""
    try:
        number = stream.fileno()
    except (OSError, ValueError):  # closed, or no file
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, number)
    os.close(nowhere)
