"""Paths into nested columns: `meta.instruction`, `messages[-1].content`. A column of exactly that name comes first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import pyarrow as pa

from scorer.patterns import pattern

Step = str | int
"""A field's name, or an index into a list; -1 is the last element."""

_STEP = pattern(r"\.([^.\[\]]+)|\[(-?\d{1,9})\]")


@lru_cache(maxsize=1024)
def split(path: str, names: tuple[str, ...]) -> tuple[str, tuple[Step, ...]]:
    """The column of a path and the steps within it; the longest matching column name counts.

    The path itself and no step where no column fits.
    """
    for name in sorted(names, key=len, reverse=True):
        if path == name:
            return name, ()
        if path.startswith(name) and (steps := _steps(path[len(name) :])):
            return name, steps
    return path, ()


def _steps(text: str) -> tuple[Step, ...]:
    found: list[Step] = []
    at = 0
    while at < len(text):
        match = _STEP.match(text, at)
        if match is None:
            return ()
        found.append(int(match[2]) if match[1] is None else match[1])
        at = match.end()
    return tuple(found)


def roots(paths: Sequence[str], names: Sequence[str]) -> list[str]:
    """The columns that hold the values of these paths, each once."""
    known = tuple(names)
    return list(dict.fromkeys(split(path, known)[0] for path in paths))


def leaves(paths: Sequence[str], schema: pa.Schema) -> list[str]:
    """What of a Parquet file holds the values of these paths: columns, or fields within columns as `column.field`.

    A column with a dot in one of its names is taken as a whole, for Parquet's names of leaves are split at dots.
    """
    names = tuple(schema.names)
    if all(path in names for path in paths):
        return list(dict.fromkeys(paths))
    found: dict[str, list[str]] = {}
    for path in paths:
        root, steps = split(path, names)
        wanted, kind = [root], schema.field(root).type if names.count(root) == 1 else pa.null()
        for step in steps:
            if not pa.types.is_struct(kind) or (index := kind.get_field_index(str(step))) < 0:
                break
            kind = kind.field(index).type
            wanted.append(str(step))
        dotted = any("." in name for name in (*wanted, *(name for name in names if name.startswith(f"{root}."))))
        found.setdefault(root, []).append(root if dotted else ".".join(wanted))
    return [leaf for root, those in found.items() for leaf in ([root] if root in those else dict.fromkeys(those))]


def value_at(value: Any, steps: Sequence[Step]) -> Any:
    """The value at the end of the steps; None where a row has none."""
    for step in steps:
        if isinstance(step, int):
            if not isinstance(value, list | tuple) or not -len(value) <= step < len(value):
                return None
            value = value[step]
        elif isinstance(value, Mapping):
            value = value.get(step)
        elif isinstance(value, list) and value and all(isinstance(item, tuple) for item in value):
            value = dict(value).get(step)  # a map column comes as a list of pairs
        else:
            return None
    return value


def problem(path: str, schema: pa.Schema) -> str | None:
    """Why no row of a file can have a value at this path, as its column types tell; None where one may.

    A column of type null tells nothing.
    """
    root, steps = split(path, tuple(schema.names))
    if root not in schema.names:
        return f"no column {path!r}"
    if schema.names.count(root) > 1:
        return None
    kind, sofar = schema.field(root).type, root
    for step in steps:
        if pa.types.is_null(kind):
            return None
        if isinstance(step, int):
            if not _is_list(kind):
                return f"no list at {sofar!r}, which is {kind}, so nothing at {path!r}"
            kind, sofar = kind.value_type, f"{sofar}[{step}]"
        elif pa.types.is_map(kind):
            kind, sofar = kind.item_type, f"{sofar}.{step}"
        elif not pa.types.is_struct(kind):
            return f"no fields in {sofar!r}, which is {kind}, so nothing at {path!r}"
        elif (index := kind.get_field_index(step)) < 0:
            fields = ", ".join(kind.field(place).name for place in range(min(20, kind.num_fields)))
            return f"no {path!r}: the fields of {sofar!r} are {fields}"
        else:
            kind, sofar = kind.field(index).type, f"{sofar}.{step}"
    return None


def _is_list(kind: pa.DataType) -> bool:
    tests = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list, pa.types.is_list_view)
    return any(test(kind) for test in (*tests, pa.types.is_large_list_view))
