"""Glob patterns over object keys, with the meaning of local globs: `*` stays within a folder, `**` goes below it."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from scorer.files.local_globs import MATCHED, MATCHED_ELSE

T = TypeVar("T")
_WILD = re.compile(r"[*?\[]")


class Glob:
    """One pattern. `fixed` is the folder before the first wildcard."""

    def __init__(self, pattern: str) -> None:
        parts = pattern.split("/")
        first = next((n for n, part in enumerate(parts) if _WILD.search(part)), len(parts))
        self.wild = first < len(parts)
        self.deep = "**" in parts
        self.fixed = "/".join(parts[:first])
        self._folders = [re.compile(_part(part)) for part in parts[first:-1]]
        self._whole = re.compile(_whole(parts))

    def matches(self, key: str) -> bool:
        return self._whole.fullmatch(key) is not None

    def folders_among(self, names: Callable[[str], Iterable[str]]) -> list[str]:
        """The folders in which the pattern may match, without `**`. `names` gives those of the folders in a folder."""
        found = [self.fixed]
        for part in self._folders:
            found = [f"{folder}/{name}".lstrip("/") for folder in found for name in names(folder)
                     if part.fullmatch(name)]  # fmt: skip
        return found


def inputs_among(files: Sequence[T], name: Callable[[T], str]) -> list[T]:
    """Those of all files below a folder that the folder stands for: Parquet, or other formats where there is none."""
    parquet = [one for one in files if name(one).endswith(MATCHED)]
    return parquet or [one for one in files if name(one).endswith(MATCHED_ELSE)]


def _whole(parts: list[str]) -> str:
    text = ""
    for n, part in enumerate(parts):
        last = n == len(parts) - 1
        if part == "**":
            text += r"(?!\.)[^/]+(?:/(?!\.)[^/]+)*" if last else r"(?:(?!\.)[^/]+/)*"
        else:
            text += _part(part) + ("" if last else "/")
    return text


def _part(part: str) -> str:
    """One part between slashes; a leading wildcard does not match a leading dot."""
    pieces = re.split(r"(\[.[^\]]*\])", part)
    text = "".join(
        fnmatch.translate(piece).removeprefix("(?s:").removesuffix(r")\Z")
        if piece.startswith("[")
        else re.escape(piece).replace(r"\*", "[^/]*").replace(r"\?", "[^/]")
        for piece in pieces
    )
    return (r"(?!\.)" if _WILD.match(part) else "") + text
