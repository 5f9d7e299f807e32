"""Reads the columns that a page needs, some shards at a time, into types as narrow as hold every value exactly."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import polars as pl

from scorer.analysis.reading import TEXTS
from scorer.report.collecting import collect_all
from scorer.report.run_table import RunTable


def read_rows(
    table: RunTable, wanted: Sequence[str], names: Collection[str], item: str | None, length: pl.Expr | None
) -> pl.DataFrame:
    """All rows that have a result, with the columns `wanted`, `item` and `length` beside `shard` and `row`.

    Values of `names` and all texts are Categorical; items are numbered from 0 in the order of their values, null where
    a row has none. Numbers have the smallest type of their kind that holds each of them exactly.
    """
    others = [*([item] if item is not None else []), *(length.meta.root_names() if length is not None else [])]
    shards, texts = pl.Enum(list(table.shards)), pl.Categories.random()

    def taken(name: str) -> pl.Expr:
        text = pl.col(name).cast(pl.String) if name in names else pl.col(name)
        return text.cast(pl.Categorical(texts)) if name in names or table.schema[name] in TEXTS else text

    chosen = [
        pl.col("shard").cast(shards),
        pl.col("row").cast(pl.UInt32),
        *(taken(name) for name in [*wanted, *([item] if item is not None else [])]),
        *([length] if length is not None else []),
    ]
    parts = [
        pl.DataFrame([narrow(values) for values in collect_all([part.select(chosen)])[0]])
        for part in table.parts(["shard", "row", *wanted, *others])
    ]
    rows = pl.concat(parts, how="vertical_relaxed")
    return rows if item is None else rows.with_columns(numbered(rows[item]))


def numbered(values: pl.Series) -> pl.Series:
    """The place of each value among the distinct ones in their order, from 0; null where there is none."""
    if not isinstance(values.dtype, pl.Categorical):
        return values.rank("dense").cast(pl.UInt32) - 1
    codes = values.to_physical()
    distinct = values.unique().drop_nulls()
    order = distinct.to_physical().gather(distinct.cast(pl.String).arg_sort()).to_numpy()
    place = np.zeros(int(order.max(initial=0)) + 1, dtype=np.uint32)
    place[order] = np.arange(len(order), dtype=np.uint32)
    return pl.Series(values.name, place).gather(codes) if len(order) else pl.Series(values.name, codes)


def with_enums(rows: pl.DataFrame, names: Collection[str]) -> pl.DataFrame:
    """The rows with the categories of texts as an Enum of those that occur, in their order; `names` may be none."""
    for name, kind in rows.schema.items():
        if name in names or isinstance(kind, pl.Categorical):
            categories = rows[name].unique().cast(pl.String).drop_nulls().sort()
            rows = rows.with_columns(rows[name].cast(pl.Enum(categories)))
    return rows


def narrow(values: pl.Series) -> pl.Series:
    """The same values in a smaller type, where it holds each of them exactly."""
    if values.dtype.is_integer():
        return values.shrink_dtype()
    if values.dtype != pl.Float64:
        return values
    small = values.cast(pl.Float32)
    return small if small.cast(pl.Float64).eq_missing(values).all() else values
