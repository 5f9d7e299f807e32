"""Frees what the traceback of an error holds: for errors that end a row or are answered by a retry."""

from __future__ import annotations

from typing import TypeVar

E = TypeVar("E", bound=BaseException)


def without_frames(error: E) -> E:
    """The error itself, without its traceback and without the errors that led to it.

    A traceback holds the frames that the error went through, and these hold the row's texts and its reply. A frame that
    keeps the error in a variable is a cycle: its memory is freed by the cycle collector, thousands of rows later.
    """
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)
