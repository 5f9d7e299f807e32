"""Splits a stream of bytes into lines, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator

from scorer.inputs.formats.byte_stream import CHUNK, Source

CAREFUL_CHUNK = 4096
"""Bytes per read where the stream is damaged, so that few lines before the damage are lost."""
LINE_BYTES = 64 * 1024 * 1024
"""The longest line that is kept, in bytes; it exceeds one read. Of a longer line only the number is known."""
BOM = b"\xef\xbb\xbf"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


class Lines:
    """The lines of a stream without their line feeds; None for each that is longer than `LINE_BYTES`.

    A byte order mark at the beginning is left out. `tail` is what stands behind the last line feed, known once all
    lines were read: b"" where the stream ends with one, None where it is too long. Raises ValueError for UTF-16.
    """

    def __init__(self, stream: Source, *, longest: int = LINE_BYTES, chunk: int = CHUNK) -> None:
        self.tail: bytes | None = b""
        self._stream = stream
        self._longest = longest
        self._chunk = chunk

    def __iter__(self) -> Iterator[list[bytes | None]]:
        """Lists of lines, each from about one portion of the stream."""
        held: list[bytes] = []
        size, started = 0, False
        while data := self._stream.read(self._chunk):
            if not started:
                while len(data) < len(BOM) and (more := self._stream.read(self._chunk)):
                    data += more
                if data.startswith(_UTF16):
                    raise ValueError("it is UTF-16; write it as UTF-8")
                data, started = data.removeprefix(BOM), True
            first, *others = data.split(b"\n")
            held = [] if size + len(first) > self._longest else [*held, first]
            size += len(first)
            if others:
                line = b"".join(held) if size <= self._longest else None
                last = others.pop()
                held, size = [last], len(last)
                yield [line, *others]
        self.tail = b"".join(held) if size <= self._longest else None
