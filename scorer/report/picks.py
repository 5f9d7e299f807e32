"""Picks rows to look at: random, worst, best, disagreement with people or between judges, flips, failed ones.

All picks are found in one pass over few columns, some shards at a time, and each counts its rows over the whole table.
Texts are read afterwards, of the picked rows only (`row_texts`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from scorer.analysis.columns import missing_columns
from scorer.analysis.reading import first_line
from scorer.errors import SpecError
from scorer.inputs.where import Where
from scorer.report.collecting import collect_all
from scorer.report.pick_kinds import KINDS, Measured, PickKind
from scorer.report.row_hash import row_hash
from scorer.report.run_table import RowKey, RunTable

_RANDOM, _ORDER = "\0random", "\0order"


@dataclass(frozen=True, slots=True)
class Wanted:
    """A pick of at most `n` rows of a kind (see `pick_kinds.KINDS`), among those for which `condition` is true."""

    kind: str
    n: int
    condition: pl.Expr | None = None


@dataclass(frozen=True, slots=True)
class Picked:
    """The rows of a pick, in its order.

    `count` counts all rows of the kind, not only those picked. `by` has the value that each row was picked by (the
    score, the distance to the human value), None where there is none, and `unit` says in what it is measured. `weight`
    is one over the inclusion probability of each row; None for other picks than random ones. `missing` says why the
    table can have no such rows, and is None where it can.
    """

    kind: str
    rows: Sequence[RowKey]
    count: int
    by: Sequence[float | None] = ()
    unit: str = ""
    weight: float | None = None
    missing: str | None = None


def pick_rows(
    table: RunTable, wanted: Sequence[Wanted], *, where: str | None = None, seed: int = 0, called: str = "--where"
) -> list[Picked]:
    """The picked rows: one `Picked` for each of `wanted`, in their order.

    `where` is a SQL condition over the columns of one row that all picks keep to; `called` is its name in a message.
    Random rows are drawn without replacement, the same ones for the same `seed`; rows that a kind cannot tell apart are
    in an order drawn likewise. Raises SpecError for a condition that does not fit the table.
    """
    keep = None if where is None else condition(where, table, called)
    measured = Measured(table)
    made = {one.kind: KINDS[one.kind](table, measured) for one in wanted}
    far = measured.distance if {"too_high", "too_low"} & set(made) else None
    asked = [one.condition for one in wanted] + [keep]
    read = {name for expression in asked if expression is not None for name in expression.meta.root_names()}
    read |= {name for kind in made.values() for name in kind.columns}
    each = [(one, made[one.kind], _belongs(one, made[one.kind])) for one in wanted]
    parts = []
    for frame in table.parts(["shard", "row", *read]) if wanted else ():
        frame = frame if keep is None else frame.filter(keep)
        frame = frame if far is None else far.prepare(frame)
        counts = frame.select(belongs.sum().cast(pl.Int64).alias(str(n)) for n, (_, _, belongs) in enumerate(each))
        parts.append(collect_all([counts, *(_query(frame, table, *one, seed) for one in each)]))
    return [
        _picked(one, kind, sum(part[0].row(0)[n] or 0 for part in parts), pl.concat(part[n + 1] for part in parts))
        for n, (one, kind, _) in enumerate(each)
    ]


def condition(where: str, table: RunTable, called: str = "--where") -> pl.Expr:
    """A SQL condition over the columns of one row of the table, of results and input; false where it is null.

    Raises SpecError where it is none, names columns that are not there, or gives something else than true or false.
    """
    made = Where(where, called)
    if problems := missing_columns(table.schema, made.columns, "the results or the input"):
        raise SpecError([f"{made.shown}: {problem}" for problem in problems])
    empty = pl.DataFrame(schema={name: table.schema[name] for name in made.columns})
    try:
        kind = empty.select(made.expression.alias("belongs")).schema["belongs"]
    except pl.exceptions.PolarsError as error:
        types = ", ".join(f"{name} is {table.schema[name]}" for name in made.columns)
        raise SpecError([f"{made.shown} cannot be evaluated: {first_line(error)}. There {types}."]) from error
    if kind not in (pl.Boolean, pl.Null):
        raise SpecError([f"{made.shown} gives {kind}, not true or false. Compare it with a value."])
    return made.expression.cast(pl.Boolean).fill_null(False)


def _belongs(one: Wanted, kind: PickKind) -> pl.Expr:
    belongs = pl.col("row").is_not_null()
    for condition in (kind.belongs, one.condition):
        belongs = belongs if condition is None else belongs & condition
    return belongs.fill_null(False)


def _query(
    frame: pl.LazyFrame, table: RunTable, one: Wanted, kind: PickKind, belongs: pl.Expr, seed: int
) -> pl.LazyFrame:
    """The rows of a pick with the columns by which they are ordered."""
    chance = row_hash(table, "random" if one.kind == "random" else "ties", seed).alias(_RANDOM)
    order = pl.lit(0.0) if kind.order is None else kind.order
    by = pl.lit(None, pl.Float64) if kind.by is None else kind.by
    read = kind.columns if kind.measure is not None else ()
    rows = frame.filter(belongs).select("shard", "row", order.alias(_ORDER), chance, by.alias("by"), *read)
    return rows.bottom_k(_most(one, kind), by=[_ORDER, _RANDOM])


def _most(one: Wanted, kind: PickKind) -> int:
    """How many rows are taken before they are measured, where they are."""
    return kind.pool if kind.measure is not None and one.n > 0 else max(0, one.n)


def _picked(one: Wanted, kind: PickKind, count: int, rows: pl.DataFrame) -> Picked:
    rows = rows.sort(_ORDER, _RANDOM).head(_most(one, kind))
    if kind.measure is not None:
        found = pl.Series(kind.measure(rows), dtype=pl.Float64)
        rows = rows.with_columns(by=found).filter(pl.col("by") > 0).sort("by", descending=True, maintain_order=True)
        rows = rows.head(max(0, one.n))
    keys = list(zip(rows["shard"].to_list(), rows["row"].to_list(), strict=True))
    weight = count / len(keys) if one.kind == "random" and keys else None
    drawn = f", among {kind.pool:,} of them drawn by chance" if kind.measure is not None and count > kind.pool else ""
    return Picked(one.kind, keys, count, rows["by"].to_list(), kind.unit + drawn, weight, kind.missing)
