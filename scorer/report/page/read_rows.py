"""Reads the columns that a page needs, some shards at a time, into types as narrow as hold every value exactly."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import polars as pl

from scorer.analysis.packed import Packed, narrow
from scorer.analysis.reading import CODE, TEXTS, NamesRead
from scorer.report.collecting import collect_all
from scorer.report.run_table import RunTable


def read_rows(
    table: RunTable,
    wanted: Sequence[str],
    names: Collection[str],
    item: str | None,
    length: pl.Expr | None,
    more: pl.Expr | None = None,
) -> Packed:
    """All rows that have a result, with the columns `wanted`, `item` and `length` beside `shard` and `row`.

    Values of `names` and all texts are Enum; items are numbered from 0 in the order of their values, null where a row
    has none. Numbers have the smallest type of their kind that holds each of them exactly. `more` is a further column
    of numbers, of those wanted.
    """
    others = [*([item] if item is not None else []), *(length.meta.root_names() if length is not None else [])]
    texts = {
        name: NamesRead(name, pl.String() if name in names else table.schema[name])
        for name in wanted
        if name in names or table.schema[name] in TEXTS
    }
    items = {} if item is None else {item: NamesRead(item, table.schema[item])}
    chosen = [
        pl.col("shard").cast(pl.Enum(list(table.shards))),
        pl.col("row").cast(pl.UInt32),
        *(pl.col(name).cast(pl.String) if name in names else pl.col(name) for name in wanted),
        *(pl.col(name) for name in items),
        *([length] if length is not None else []),
        *([more] if more is not None else []),
    ]
    coded = {**texts, **items}

    def parts() -> Iterator[pl.DataFrame]:
        for part in table.parts(["shard", "row", *wanted, *others]):
            (rows,) = collect_all([part.select(chosen)])
            yield pl.DataFrame([coded[one.name].read(one) if one.name in coded else narrow(one) for one in rows])

    raw = Packed(parts())
    enums = {name: pl.Enum(one.distinct(raw).cast(pl.String)) for name, one in texts.items()}
    for one in items.values():
        one.distinct(raw)
    kept = [name.removeprefix(CODE) for name in raw.schema]

    def finished() -> Iterator[pl.DataFrame]:
        for part in raw.drained():
            found = {name: one.coded(part).rename(name) for name, one in coded.items()}
            found |= {name: found[name].cat.to(kind) for name, kind in enums.items()}
            yield pl.DataFrame([found[name] if name in found else part[name] for name in kept])

    schema = {**{name: raw.schema.get(name, pl.UInt8()) for name in kept}, **enums}
    return Packed(finished(), pl.DataFrame(schema=schema).schema if not raw.height else None)


def distinct(rows: Packed, name: str) -> int:
    """How many values an Enum has in the rows; one more where a row has none."""
    kind = rows.schema[name]
    assert isinstance(kind, pl.Enum)
    return len(kind.categories) + any(part[name].null_count() for part in rows.frames([name]))


def trimmed(rows: Packed) -> Packed:
    """The rows with Enums of those values alone that occur."""
    fewer = {}
    for name, kind in rows.schema.items():
        if isinstance(kind, pl.Enum) and name != "shard":
            there = pl.concat([part[name].unique().drop_nulls() for part in rows.frames([name])]).unique()
            if len(there) < len(kind.categories):
                fewer[name] = pl.Enum(there.cast(pl.String).sort())
    if not fewer:
        return rows
    changed = [pl.col(name).cast(pl.String).cast(kind) for name, kind in fewer.items()]
    return Packed(part.with_columns(changed) for part in rows.frames())
