"""File names: their longest length, and whether they are UTF-8. Opens nothing."""

from __future__ import annotations

import hashlib

NAME_BYTES = 255
"""The longest file name on nearly every file system, in bytes."""


def short_name(name: str, most: int = NAME_BYTES) -> str:
    """The name, shortened to `most` bytes where it is longer: its end is replaced by 8 hex digits of its hash."""
    data = name.encode("utf-8", "surrogateescape")
    if len(data) <= most:
        return name
    return f"{cut(name, most - 9)}-{hashlib.sha256(data).hexdigest()[:8]}"


def not_utf8(name: str) -> str | None:
    """A printable form of a name that is not UTF-8, with \\xNN for each invalid byte; None where it is UTF-8."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return None


def cut(text: str, most: int) -> str:
    """The longest prefix of whole characters that takes at most `most` bytes."""
    return text.encode("utf-8", "surrogateescape")[:most].decode("utf-8", "ignore")
