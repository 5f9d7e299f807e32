"""Lines of an append-only file: the CRC-32 of the rest in hex, a space, and a JSON object. Knows no file."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

import orjson


def line(entry: Mapping[str, Any]) -> bytes:
    """The line of an entry."""
    text = orjson.dumps(entry)
    return b"%08x %s\n" % (zlib.crc32(text), text)


def entry(line: bytes) -> dict[str, Any] | None:
    """The entry of a line; None where it is torn or damaged."""
    checksum, _, text = line.removesuffix(b"\n").partition(b" ")
    try:
        if text and int(checksum, 16) == zlib.crc32(text):
            found: dict[str, Any] = orjson.loads(text)
            return found
    except ValueError:
        pass
    return None
