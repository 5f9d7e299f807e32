"""Appends to a file in a bucket: a first object, and one more for each append, named by its offset.

    ledger/1790000000000-7                        the first 1,300 bytes
    ledger/1790000000000-7.part-000000001300      what the next append added
    ledger/1790000000000-7.part-000000001412      ...

Each is one whole PUT, so a torn tail cannot be. A part counts where it goes on exactly where the one before ended.
After MOST_PARTS appends the first object is written anew with everything in it; parts that it holds already are hidden
by their offset until they are deleted, so a crash anywhere in between changes nothing. Knows names and offsets, no
store.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

MOST_PARTS = 128
_PART = re.compile(r"(.+)\.part-(\d{12})")
WRITTEN_ONCE = (".parquet", ".json", ".jsonl", ".toml", ".txt", ".md", ".j2")
"""Endings of names that are never appended to: opening one spends no listing on its parts."""


@dataclass(frozen=True, slots=True)
class Object:
    """One object: its key, its bytes, its etag."""

    key: str
    size: int
    etag: str


@dataclass(slots=True)
class Grown:
    """A file: its first object, None where only parts are left, and its parts by offset."""

    first: Object | None = None
    parts: dict[int, Object] = field(default_factory=dict)

    def chain(self, held: int | None = None) -> list[Object]:
        """The parts that go on where the first object, of `held` bytes (None: its size), ends."""
        end, found = (self.first.size if self.first is not None else 0) if held is None else held, []
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
        """Changes with every write: the first object's etag, and the last part's where there are any."""
        chain = self.chain()
        first = self.first.etag if self.first is not None else ""
        return f"{first}+{len(chain)}{chain[-1].etag}" if chain else first


def part_key(key: str, offset: int) -> str:
    """The key of the object that continues another one from this byte on; keys sort as offsets do."""
    return f"{key}.part-{offset:012d}"


def grown(objects: Iterable[Object]) -> dict[str, Grown]:
    """The files that some objects are, by key."""
    files: dict[str, Grown] = {}
    for one in objects:
        match = _PART.fullmatch(one.key)
        if match is None:
            files.setdefault(one.key, Grown()).first = one
        else:
            files.setdefault(match[1], Grown()).parts[int(match[2])] = one
    return {key: file for key, file in files.items() if file.first is not None or 0 in file.parts}
