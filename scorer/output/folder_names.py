"""Names of several output folders that are read as one table: NAME=OUT, else the part of the path that differs.

Light to import.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence

from scorer.config.out_folder import folder_of
from scorer.errors import SpecError

_NAMED = re.compile(r"([^\W\d][\w.-]*)=(.+)", re.DOTALL)


def named(table: str) -> tuple[str, str]:
    """The name and the path of NAME=OUT; the name is "" where `table` is a path alone, or names a file or folder."""
    found = _NAMED.fullmatch(table)
    if found is None or os.path.exists(table):
        return "", table
    return found[1], found[2]


def folder_names(tables: Sequence[str | os.PathLike[str]] | Mapping[str, str | os.PathLike[str]]) -> dict[str, str]:
    """The output folders by name, in the order given. A run file stands for its output folder.

    A folder without a name is called by the last part of its path in which all folders differ, or by as many last parts
    as it takes: runs/a/out and runs/b/out are a and b.
    Raises SpecError where a name or a folder is given twice.
    """
    if isinstance(tables, Mapping):
        pairs = [(name, str(path)) for name, path in tables.items()]
    else:
        pairs = [named(str(table)) for table in tables]
    outs = [folder_of(path) for _, path in pairs]
    derived = _differing([_parts(out) for out in outs])
    names = [name or other for (name, _), other in zip(pairs, derived, strict=True)]
    places = [_place(out) for out in outs]
    problems = [f"{out} is given twice." for n, out in enumerate(outs) if places[n] in places[:n]]
    if not problems:
        problems = [
            f"Two folders are called {name}: give them names of their own, NAME={out}."
            for n, (name, out) in enumerate(zip(names, outs, strict=True))
            if name in names[:n]
        ]
    if problems:
        raise SpecError(problems)
    return dict(zip(names, outs, strict=True))


def _place(out: str) -> str:
    return out.rstrip("/") if "://" in out else os.path.abspath(os.path.expanduser(out))


def _parts(out: str) -> list[str]:
    return [part for part in _place(out).split("/") if part]


def _differing(paths: Sequence[Sequence[str]]) -> list[str]:
    """A name for each path: one part, counted from the end, where all parts differ; else the last parts that do."""
    for back in range(1, min(map(len, paths), default=0) + 1):
        parts = [path[-back] for path in paths]
        if len(set(parts)) == len(parts):
            return parts
    for count in range(2, max(map(len, paths), default=0) + 1):
        names = ["/".join(path[-count:]) for path in paths]
        if len(set(names)) == len(names):
            return names
    return ["/".join(path) for path in paths]
