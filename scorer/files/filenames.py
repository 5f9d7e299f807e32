"""File names: their longest length, and whether they are UTF-8. Opens nothing."""

from __future__ import annotations

import hashlib

NAME_BYTES = 255
"""What a file's name may take on nearly every file system, in bytes and not in characters."""


def short_name(name: str, most: int = NAME_BYTES) -> str:
    """The name, cut at its end to so many bytes and told apart by 8 hex digits of its hash where it is longer."""
    data = name.encode("utf-8", "surrogateescape")
    if len(data) <= most:
        return name
    return f"{cut(name, most - 9)}-{hashlib.sha256(data).hexdigest()[:8]}"


def not_utf8(name: str) -> str | None:
    """The name as it can be shown, with each byte that is no UTF-8 as \\xNN; None where it is UTF-8."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return None


def cut(text: str, most: int) -> str:
    """As many whole characters from the beginning as take no more than `most` bytes."""
    return text.encode("utf-8", "surrogateescape")[:most].decode("utf-8", "ignore")
