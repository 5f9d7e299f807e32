"""Output to stdout and stderr: control characters escaped, and a failing stream fails no run.

A judge, a shard's name or a server's error may hold escape sequences that move the cursor, restyle the screen, forge a
link or reverse the text. `plain` shows them as they are written in Python (`\\x1b[31m`). Everything that scorer writes
to stdout or stderr passes here.
"""

from __future__ import annotations

import math
import os
import re
import sys
import unicodedata
from contextlib import suppress
from typing import Any, TextIO

import orjson

from scorer.errors import StorageError

# Categories of Unicode (UAX #44): controls, format characters (bidirectional overrides, zero width, tags), surrogates,
# and the separators of lines and paragraphs.
_HARMFUL = ("Cc", "Cf", "Cs", "Zl", "Zp")
_MAY_HARM = re.compile(r"[^\x20-\x7e\n\t]")
_MAY_HARM_IN_LINE = re.compile(r"[^\x20-\x7e]")


def plain(text: str) -> str:
    """The text with every control and invisible character but line breaks and tabs written as an escape."""
    return _MAY_HARM.sub(_escaped, text)


def plain_line(text: str) -> str:
    """The same with line breaks and tabs escaped too: for a name or a cell, which must stay in its line."""
    return _MAY_HARM_IN_LINE.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    character = found[0]
    if unicodedata.category(character) not in _HARMFUL:
        return character
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


def json_text(value: Any, *, indent: bool = False) -> str:
    """The value as JSON in which no control or invisible character stands unescaped; the value read back is the same.

    NaN becomes null. What JSON has no type for is shown as Python shows it, a lone surrogate as its escape in JSON.
    """
    option = orjson.OPT_INDENT_2 if indent else 0
    try:
        text = orjson.dumps(value, default=repr, option=option).decode()
    except TypeError:  # a lone surrogate: the name of a file that is not UTF-8
        import json

        return json.dumps(_finite(value), default=repr, indent=2 if indent else None)
    return re.sub(r"[^\x20-\x7e\n]", _escaped_in_json, text)


def _finite(value: Any) -> Any:
    """The value with None for each number that JSON has no form for."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _finite(inner) for name, inner in value.items()}
    return [_finite(inner) for inner in value] if isinstance(value, list | tuple) else value


def _escaped_in_json(found: re.Match[str]) -> str:
    character = found[0]
    if unicodedata.category(character) not in _HARMFUL:
        return character
    units = character.encode("utf-16-be")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))


# --- the streams ------------------------------------------------------------------------------------------------------


def hold_streams() -> None:
    """Keeps the numbers 0, 1 and 2 from being given to a file or a connection where the caller closed them."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one


def to_stderr(text: str) -> None:
    """Writes a whole text and shows it at once. A stderr that is closed, full or unread loses it, and nothing else."""
    raw_to_stderr(plain(text) + "\n")


def raw_to_stderr(text: str) -> None:
    """The same for a text that is safe already."""
    if sys.stderr is not None:
        with suppress(OSError, ValueError):  # full, hung up, its reader is gone; closed
            _write(sys.stderr, text)


def to_stdout(text: str) -> None:
    """Writes an answer, which is made safe. One whose reader has gone (`| head`) is not missed.

    Raises StorageError where it could not be written: what asked for it must not take it for an empty one.
    """
    if sys.stdout is None:
        return
    try:
        _write(sys.stdout, plain(text) + "\n")
    except BrokenPipeError:
        _to_nowhere(sys.stdout)
    except (OSError, ValueError) as error:
        _to_nowhere(sys.stdout)
        raise StorageError(
            f"The answer could not be written to standard output ({getattr(error, 'strerror', None) or error}). What "
            "the command did is done; free some space, or write the answer elsewhere."
        ) from error


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
    """Lets what the stream still holds, and all that follows, vanish."""
    try:
        number = stream.fileno()
    except (OSError, ValueError):  # closed, or no file
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, number)
    os.close(nowhere)


# --- widths -----------------------------------------------------------------------------------------------------------


def cells(text: str) -> int:
    """The columns that a text of one line takes on a terminal (UAX #11: wide characters take two, marks none)."""
    if text.isascii():
        return len(text)
    return sum(_cells_of(character) for character in text)


def cropped(text: str, width: int) -> str:
    """The text, or as much of it as fits with "…" at its end."""
    if cells(text) <= width:
        return text
    taken, used = [], 0
    for character in text:
        used += _cells_of(character)
        if used > width - 1:
            break
        taken.append(character)
    return "".join(taken) + "…" if width > 0 else ""


def _cells_of(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
