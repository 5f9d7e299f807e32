"""Local files that paths, folders and globs match: each real file once, however many links lead to it.

A folder is entered once, so a link to a parent folder causes no loop. Opens no file.
"""

from __future__ import annotations

import glob as _glob
import os
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress

MATCHED = ".parquet"
"""Suffix of the files that a folder stands for."""
_TEXTS = (f"{end}{more}" for end in (".jsonl", ".ndjson", ".csv") for more in ("", ".gz", ".zst"))
MATCHED_ELSE = (*_TEXTS, ".arrow", ".arrows", ".feather", ".ipc")
"""Suffixes of the files that a folder stands for where it holds no Parquet file."""


def match(patterns: Sequence[str]) -> list[tuple[str, tuple[str, ...]]]:
    """Each file's path, sorted, with the other matched paths to the same file.

    Of several paths the first without a symbolic link names the file, else the first. Missing files are left out, and
    so are those that another process deletes meanwhile.
    """
    found: dict[tuple[int, int] | str, list[str]] = {}
    for pattern in patterns:
        for path in _paths(pattern):
            with suppress(FileNotFoundError):
                found.setdefault(_identity(path), []).append(path)
    named = []
    for paths in found.values():
        name = paths[0]
        if len(paths) > 1:
            name = next((path for path in paths if os.path.realpath(path) == os.path.abspath(path)), name)
        named.append((name, tuple(dict.fromkeys(path for path in paths if path != name))))
    return sorted(named)


def passed_over(patterns: Sequence[str]) -> Iterator[tuple[str, int, str]]:
    """Folders that stand for their Parquet files and hold others, too: the number of those, and one of them."""
    for pattern in patterns:
        if os.path.isdir(pattern) and next(_below(pattern, files=True), None) is not None:
            others = list(_below(pattern, files=True, suffix=MATCHED_ELSE))
            if others:
                yield pattern, len(others), others[0]


def unmatched(patterns: Sequence[str]) -> str | None:
    """A readable file below one of these folders, of any name; None where there is none."""
    found = (path for folder in patterns if os.path.isdir(folder) for path in _below(folder, files=True, suffix=""))
    return next((path for path in found if os.access(path, os.R_OK)), None)


def _paths(pattern: str) -> Iterator[str]:
    if os.path.isdir(pattern):
        yield from list(_below(pattern, files=True)) or _below(pattern, files=True, suffix=MATCHED_ELSE)
    elif os.path.exists(pattern):
        yield pattern
    else:
        for path in _deep(pattern) if "**" in pattern.split("/") else sorted(_glob.glob(pattern)):
            if os.path.isfile(path):
                yield path
            elif path.endswith(MATCHED):  # a table of many files, as Spark writes it
                yield from _below(path, files=True)


def _deep(pattern: str) -> Iterator[str]:
    """Matches `**` as glob does: any number of folders, none of them hidden."""
    before, _, after = pattern.partition("**")
    for folder in sorted(_glob.glob(before)) if _glob.has_magic(before) else [before]:
        within = after.removeprefix("/")
        if not within:
            yield from _below(folder or ".", files=True, suffix="", spelled=folder)
            continue
        for inner in _below(folder or ".", files=False, spelled=folder):
            rest = os.path.join(_glob.escape(inner), within) if inner else within
            yield from _deep(rest) if "**" in within.split("/") else sorted(_glob.glob(rest))


def _below(
    folder: str, *, files: bool, suffix: str | tuple[str, ...] = MATCHED, spelled: str | None = None
) -> Iterator[str]:
    """The files below a folder; or, without `files`, the folder and those below it. Linked folders come last."""
    entered: set[str] = set()
    waiting, linked = deque([folder if spelled is None else spelled]), deque[str]()
    while waiting or linked:
        inside = waiting.popleft() if waiting else linked.popleft()
        real = os.path.realpath(inside or ".")
        if real in entered:
            continue
        entered.add(real)
        if not files:
            yield inside
        try:
            with os.scandir(inside or ".") as entries:
                listed = sorted(entries, key=lambda entry: entry.name)
        except OSError:  # as glob does: what cannot be listed holds nothing
            continue
        for entry in listed:
            path = os.path.join(inside, entry.name)
            if entry.name.startswith("."):
                continue
            if os.path.isdir(path):  # False where links lead to nothing, or to one another
                (linked if os.path.islink(path) else waiting).append(path)
            elif files and entry.name.endswith(suffix) and os.path.isfile(path):
                yield path


def _identity(path: str) -> tuple[int, int] | str:
    """A value that is equal for all paths to one file: device and inode, or the resolved path without inodes."""
    found = os.stat(path)
    return (found.st_dev, found.st_ino) if found.st_ino else os.path.realpath(path)
