"""The headers of a reply as a mapping that is parsed when somebody looks one up: most replies are never asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping


class RawHeaders(Mapping[str, str]):
    """Headers by lower-case name, from the bytes of a head. Lookups ignore case; of a repeated header the first counts.

    `head` is a status line and header lines, each ended by CRLF, and an empty line. It must be valid HTTP/1.1. `lower`
    is the same in lower case: what does not stand in it is in no header, and is looked up there without parsing.
    """

    __slots__ = ("_head", "_parsed", "lower")

    def __init__(self, head: bytes, lower: bytes) -> None:
        self._head = head
        self.lower = lower
        self._parsed: dict[str, str] | None = None

    def __getitem__(self, name: str) -> str:
        return self._all[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)

    @property
    def _all(self) -> dict[str, str]:
        if self._parsed is None:
            parsed: dict[str, str] = {}
            for line in self._head.split(b"\r\n")[1:]:
                if line:
                    name, _, value = line.partition(b":")
                    text = value.strip(b" \t").decode("utf-8", "surrogateescape")
                    parsed.setdefault(name.decode("latin-1").lower(), text)
            self._parsed = parsed
        return self._parsed
