"""Checksums of every byte of a result file, stored in the file itself, so that copies keep them.

Parquet's own page checksums cover values, but neither page headers nor the footer. So `Summed` computes a checksum of
each part (one or several row groups) and stores them in the key-value metadata `scorer.sums`. `scorer.sum` is the
checksum of the footer with zeros in its own place, as in an IP header. Files of earlier versions have neither. Knows
no rows.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from typing import BinaryIO

import orjson
import pyarrow.parquet as pq

from scorer.files.files import Files
from scorer.frozen import dataclass

FOOTER_SUM, PART_SUMS = "scorer.sum", "scorer.sums"
OURS = (FOOTER_SUM.encode(), PART_SUMS.encode())
"""The keys of the metadata that hold them."""
BLANK = "0" * 16
# The key, then a thrift compact string of 16 bytes (type 8, length 0x10).
_PLACE = re.compile(re.escape(FOOTER_SUM.encode()) + rb"\x18\x10([0-9a-f]{16})")
_TAIL = 8  # the footer's length and the magic word
_CHUNK = 1 << 20


class Summed(io.RawIOBase):
    """Writes bytes to `file` and computes their checksums. From `metadata` on it holds them back until `finish`."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__()
        self._file = file
        self._sum = _new()
        self._parts: list[tuple[int, int, str]] = []
        self._footer: bytearray | None = None
        self._at = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def write(self, data: object) -> int:
        view = memoryview(data)  # type: ignore[arg-type]  # pyarrow hands over bytes or a buffer
        self._at += view.nbytes
        if self._footer is None:
            self._sum.update(view)
            self._file.write(view)
        else:
            self._footer += view
        return view.nbytes

    def part(self, rows: int) -> None:
        """Ends a part: all that was written since the last one. The file has `rows` rows so far."""
        self._parts.append((rows, self._at, self._sum.hexdigest()))
        self._sum = _new()

    def metadata(self) -> dict[str, str]:
        """The metadata to write. After it only the footer may follow."""
        if not self._parts:
            self.part(0)
        self._footer = bytearray()
        return {PART_SUMS: orjson.dumps(self._parts).decode(), FOOTER_SUM: BLANK}

    def finish(self) -> None:
        """Writes the footer with its checksum in place."""
        assert self._footer is not None
        _sum_footer(self._footer)
        self._file.write(self._footer)


def blank_sums(rows: int, end: int) -> dict[str, str]:
    """The metadata of a file of one part that is made in memory: its `rows` rows are its first `end` bytes."""
    return {PART_SUMS: orjson.dumps([(rows, end, BLANK)]).decode(), FOOTER_SUM: BLANK}


def fill_sums(data: bytearray, rows: int, end: int) -> None:
    """Computes the checksums of such a file, whose metadata are `blank_sums`, in place."""
    with memoryview(data) as view:
        blank = blank_sums(rows, end)[PART_SUMS].encode()
        at = data.rindex(blank) + blank.index(BLANK.encode())
        view[at : at + len(BLANK)] = _new(view[:end]).hexdigest().encode()
        _sum_footer(view[end:])


@dataclass(frozen=True, slots=True)
class Part:
    """The rows of a file from position `first` to `stop` - 1, and whether their bytes match their checksum."""

    first: int
    stop: int
    whole: bool


def check(files: Files, path: str) -> list[Part] | None:
    """The parts of a file; None where it has no checksums. Reads every byte.

    Raises ValueError where the footer is not what was written, or what pyarrow raises where it cannot be read.
    """
    with files.open(path) as file:
        return check_open(file, pq.read_metadata(file).metadata or {})


def check_open(file: BinaryIO, metadata: Mapping[bytes, bytes]) -> list[Part] | None:
    """The same of an open file, whose metadata is known."""
    start = check_footer(file, metadata)
    return None if start is None else list(_parts(file, orjson.loads(metadata[OURS[1]]), start))


def check_footer(file: BinaryIO, metadata: Mapping[bytes, bytes]) -> int | None:
    """The position of the footer; None where the file has no checksums. Raises ValueError where it is damaged."""
    written = [name.decode() for name in OURS if name in metadata]
    if not written:
        return None
    if len(written) == 1:
        raise ValueError(f"its footer lacks one of its checksums ({written[0]} is there)")
    size = file.seek(0, io.SEEK_END)
    file.seek(size - _TAIL)
    start = size - _TAIL - int.from_bytes(file.read(4), "little")
    file.seek(start)
    footer = bytearray(file.read())
    places = list(_PLACE.finditer(footer))
    if len(places) != 1:
        raise ValueError("its footer has no legible checksum")
    found = places[0][1].decode()
    footer[places[0].start(1) : places[0].end(1)] = BLANK.encode()
    if _new(footer).hexdigest() != found:
        raise ValueError("its footer is not what was written")
    return start


def _parts(file: BinaryIO, sums: list[tuple[int, int, str]], footer: int) -> Iterator[Part]:
    first = at = 0
    for rows, end, written in sums:
        file.seek(at)
        found = _new()
        while at < end and (data := file.read(min(_CHUNK, end - at))):
            found.update(data)
            at += len(data)
        yield Part(first, rows, found.hexdigest() == written)
        first, at = rows, end
    if at != footer:
        raise ValueError("there are unknown bytes before its footer")


def _sum_footer(footer: bytearray | memoryview) -> None:
    """Writes the checksum of a footer into its place in it, which is blank."""
    (place,) = _PLACE.finditer(footer)
    footer[place.start(1) : place.end(1)] = _new(footer).hexdigest().encode()


def _new(data: bytes | bytearray | memoryview = b"") -> blake2b:
    return blake2b(data, digest_size=8)
