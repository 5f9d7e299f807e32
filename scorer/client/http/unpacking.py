"""Unpacks gzip and deflate bodies in steps of bounded size, so that a small body cannot become a large one unseen."""

from __future__ import annotations

import zlib
from collections.abc import Awaitable, Callable, Iterator, Sequence

from scorer.client.reply_bytes import FREE, check_size
from scorer.errors import Unreachable

STEP = 256 * 1024


class NotPacked(Exception):
    """The body is not what its content coding says, is cut off, or is followed by other bytes."""


def unpacked(parts: Sequence[bytes | bytearray], coding: str) -> Iterator[bytes]:
    """The body in pieces of at most `STEP` bytes; `coding` is gzip or deflate. Raises NotPacked.

    deflate means the zlib format (RFC 9110, 8.4.1.2); a body whose first byte cannot begin that is read as raw deflate,
    which some servers send.
    """
    first = next((part[0] for part in parts if part), None)
    if first is None:
        return
    packer = zlib.decompressobj(31 if coding == "gzip" else 15 if first & 15 == 8 else -15)
    try:
        for part in parts:
            if packer.eof and part:
                raise NotPacked(f"bytes follow the {coding} body")
            rest: bytes | bytearray = part
            while rest:
                yield packer.decompress(rest, STEP)
                rest = packer.unconsumed_tail
        while not packer.eof and (more := packer.decompress(b"", STEP)):
            yield more
    except zlib.error as error:
        raise NotPacked(f"the body is not {coding}: {error}") from None
    if packer.unused_data:
        raise NotPacked(f"bytes follow the {coding} body")
    if not packer.eof:
        raise NotPacked(f"the {coding} body is cut off")


async def unpacked_body(
    parts: Sequence[bytes | bytearray], coding: str, shown: str, room: Callable[[int], Awaitable[object]], taken: int
) -> bytes:
    """The whole body of a reply from `shown`; `room` is waited for beyond the `taken` bytes that it has already.

    Raises ServerFault where the body is too long, Unreachable (billed) where it is not what its coding says.
    """
    found, size = [], 0
    try:
        for part in unpacked(parts, coding):
            found.append(part)
            size += len(part)
            check_size(shown, size)
            if size > max(FREE, taken):
                more, taken = size - taken, size
                await room(more)
    except NotPacked as error:
        raise Unreachable(f"{shown} broke off: {error}", billed=True) from None
    return b"".join(found)
