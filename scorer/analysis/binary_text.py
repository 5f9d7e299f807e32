"""Binary values as text and back: a UUID is a binary value of 16 bytes once polars has read it."""

from __future__ import annotations

from contextlib import suppress
from uuid import UUID


def binary_text(value: bytes) -> str:
    """UTF-8 as its text, other 16 bytes as a UUID, anything else in hexadecimal."""
    with suppress(UnicodeDecodeError):
        if (text := value.decode()).isprintable():
            return text
    return str(UUID(bytes=value)) if len(value) == 16 else value.hex()


def binary_values(text: str) -> list[bytes]:
    """The values of which `text` is the `binary_text`, at most one of each kind."""
    found = [text.encode()]
    with suppress(ValueError):
        found.append(UUID(text).bytes)
    with suppress(ValueError):
        found.append(bytes.fromhex(text))
    return [value for value in found if binary_text(value) == text]
