"""Checks that the kept columns of all shards can be read as one table."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from itertools import combinations

import pyarrow as pa

from scorer.errors import InputError, ShardChanged
from scorer.files.files import Files
from scorer.inputs.identity import schema_now
from scorer.types import Shard


def check_one_table(files: Files, known: Sequence[Shard], fresh: Sequence[Shard], kept: Sequence[str]) -> None:
    """Raises InputError where a kept column of a `fresh` shard has no type in common with that of another shard.

    One shard of each combination of types is read again.
    """
    alike = {shard.types: shard for shard in (*fresh, *known)}  # a known one of two that are alike
    if len(alike) < 2:
        return
    schemas: dict[str, pa.Schema] = {}
    for shard in alike.values():
        with suppress(OSError, ShardChanged):
            schemas[shard.path] = schema_now(files, shard)
    new = {shard.path for shard in fresh} - {shard.path for shard in known}
    if problems := uncommon_types(schemas, kept, new):
        raise InputError("\n".join(problems))


def uncommon_types(schemas: Mapping[str, pa.Schema], kept: Sequence[str], new: Collection[str]) -> list[str]:
    """One sentence for each two types of a kept column that no type holds, of shards of which one is `new`.

    A time with and one without a time zone are such types.
    """
    problems = []
    for name in kept:
        types: dict[pa.DataType, str] = {}
        for path, schema in schemas.items():
            if name in schema.names:
                types.setdefault(schema.field(name).type, path)
        problems += [
            f"Column {name!r} is {one} in {of_one} and {other} in {of_other}. No type holds both, so the results could "
            "not be read as one table. Cast it in one of them, or leave it out of input.keep."
            for (one, of_one), (other, of_other) in combinations(types.items(), 2)
            if (of_one in new or of_other in new) and not _has_common_type(one, other)
        ]
    return problems


def _has_common_type(one: pa.DataType, other: pa.DataType) -> bool:
    """Whether polars puts both into one column. True where it cannot take them from Arrow: then it is not known."""
    import polars as pl  # only where types differ

    try:
        frames = [pl.DataFrame(pl.from_arrow(pa.table({"x": pa.array([], kind)}))) for kind in (one, other)]
    except (pl.exceptions.PolarsError, pa.ArrowException, ValueError, TypeError):
        return True
    try:
        pl.concat(frames, how="diagonal_relaxed")
    except pl.exceptions.SchemaError:
        return False
    return True
