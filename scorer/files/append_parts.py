"""Appends to a file in a bucket: a first object, and one more for each append, named by its offset.

    ledger/1790000000000-7                        the first 1,300 bytes
    ledger/1790000000000-7.part-000000001300      what the next append added
    ledger/1790000000000-7.part-000000001412      ...

Each append is one PUT, so there are no partial writes. A part counts where its offset is the end of the part before it.
After MOST_PARTS appends the first object is rewritten with all bytes. Parts that it contains are ignored by their
offset until they are deleted, so a crash in between loses nothing. Knows names and offsets; no store.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import field

from scorer.files.local_globs import MATCHED, MATCHED_ELSE
from scorer.frozen import dataclass

MOST_PARTS = 128
_PART = re.compile(r"(.+)\.part-(\d{12})")
WRITTEN_ONCE = (MATCHED, *MATCHED_ELSE, ".json", ".toml", ".txt", ".md", ".j2")
"""Suffixes of files that are never appended to: no listing of parts is needed to open one."""


@dataclass(frozen=True, slots=True)
class Object:
    """One object: its key, its bytes, its etag."""

    key: str
    size: int
    etag: str


@dataclass(slots=True)
class Grown:
    """A file: its first object (None where only parts exist) and its parts by offset."""

    first: Object | None = None
    parts: dict[int, Object] = field(default_factory=dict)

    def chain(self, start: int | None = None) -> list[Object]:
        """The consecutive parts from offset `start` on (None: from the end of the first object)."""
        end, found = (self.first.size if self.first is not None else 0) if start is None else start, []
        for offset, part in sorted(self.parts.items()):
            if offset == end:
                found.append(part)
                end += part.size
            elif offset > end:
                break
        return found

    @property
    def size(self) -> int:
        return (self.first.size if self.first is not None else 0) + sum(part.size for part in self.chain())

    @property
    def version(self) -> str:
        """Changes with every write: the etags of the first object and of the last part."""
        chain = self.chain()
        first = self.first.etag if self.first is not None else ""
        return f"{first}+{len(chain)}{chain[-1].etag}" if chain else first


def part_key(key: str, offset: int) -> str:
    """The key of the part at a byte offset. Keys sort in the order of offsets."""
    return f"{key}.part-{offset:012d}"


def grown(objects: Iterable[Object]) -> dict[str, Grown]:
    """Groups objects into files, by key."""
    files: dict[str, Grown] = {}
    for one in objects:
        match = _PART.fullmatch(one.key)
        if match is None:
            files.setdefault(one.key, Grown()).first = one
        else:
            files.setdefault(match[1], Grown()).parts[int(match[2])] = one
    return {key: file for key, file in files.items() if file.first is not None or 0 in file.parts}
