"""The columns of a result table: name, Arrow type, and how each is filled from a Result.

A new column is one entry of COLUMNS: the schema, the tables, verify and the test of
docs/reference/output.md read it there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from enum import Enum
from functools import lru_cache
from operator import attrgetter
from typing import Any

import pyarrow as pa

from scorer.frozen import dataclass
from scorer.types import Result

COPIED = "copied_from"
"""A column of runs with `judge.dedupe` alone."""
METRIC = "metric_"
"""How the columns of automatic metrics begin; they stand behind the others."""


Values = Callable[[Sequence[Result]], list[Any]]
"""The values of a column, one for each result."""


class Origin(Enum):
    """The origin of a column's values. It decides what happens where the column cannot hold one."""

    SCORER = "scorer"
    """A bug: the run ends."""
    JUDGE = "judge"
    """The row ends as Unreadable."""
    SERVER = "server"
    """The value becomes what `Column.without` says, and the row keeps its score."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of every result table.

    `values` returns the values of some results; None where all rows have the fingerprint of the run. `given` returns
    the values that an error quotes, where they differ. `without` are the fields of a Result without a value in this
    column. `dedupe`: only runs with `judge.dedupe` have the column. `added`: files of format 1 lack the column, and it
    is null for their rows.
    """

    name: str
    type: pa.DataType
    values: Values | None
    origin: Origin = Origin.SCORER
    nullable: bool = True
    given: Values | None = None
    without: Mapping[str, Any] = field(default_factory=dict)
    dedupe: bool = False
    added: bool = False


def _each(path: str) -> Values:
    """An attribute of each result."""
    read = attrgetter(path)
    return lambda results: list(map(read, results))


def _of(part: str, name: str, otherwise: Any = None) -> Values:
    """An attribute of each result's `part`; `otherwise` where the result has none."""
    parts, read, both = attrgetter(part), attrgetter(name), attrgetter(f"{part}.{name}")

    def values(results: Sequence[Result]) -> list[Any]:
        try:
            return list(map(both, results))  # all have one, as nearly always: half the time
        except AttributeError:
            return [otherwise if one is None else read(one) for one in map(parts, results)]

    return values


def _cost_microusd(results: Sequence[Result]) -> list[Any]:
    costs = [result.cost_pico for result in results]
    return [None if pico is None else -(-pico // 10**6) for pico in costs]


_JUDGE, _SERVER = Origin.JUDGE, Origin.SERVER
_NO_USAGE = {"usage": None}

COLUMNS = (
    Column("shard", pa.string(), _each("row.shard"), nullable=False),
    Column("row", pa.int64(), _each("row.number"), nullable=False),
    # the id and the kept columns of the input stand here
    Column("score", pa.float64(), _of("score", "value"), _JUDGE),
    # the judge's own columns stand here; a row with an error has those that `error.fields` holds
    Column("reason", pa.string(), _of("score", "reason"), _JUDGE),
    Column("error", pa.string(), _of("error", "name")),
    Column("error_detail", pa.string(), _of("error", "detail")),
    Column("finish_reason", pa.string(), _each("finish_reason"), _SERVER, without={"finish_reason": None}),
    Column("raw", pa.list_(pa.string()), _each("raw"), _SERVER, without={"raw": None}),
    Column("judge_model", pa.string(), _each("model"), _SERVER, without={"model": None}),
    Column(
        "system_fingerprint",
        pa.string(),
        _each("system_fingerprint"),
        _SERVER,
        without={"system_fingerprint": None},
        added=True,
    ),
    Column("judge", pa.string(), None, nullable=False),
    Column("method", pa.string(), _of("score", "method"), _JUDGE),
    Column("samples", pa.int32(), _of("score", "samples", 0), _JUDGE),
    Column("prompt_tokens", pa.int64(), _of("usage", "prompt_tokens"), _SERVER, without=_NO_USAGE),
    Column("completion_tokens", pa.int64(), _of("usage", "completion_tokens"), _SERVER, without=_NO_USAGE),
    Column("cached_tokens", pa.int64(), _of("usage", "cached_tokens"), _SERVER, without=_NO_USAGE),
    Column("reasoning_tokens", pa.int64(), _of("usage", "reasoning_tokens"), _SERVER, without=_NO_USAGE, added=True),
    Column("tier", pa.string(), _of("usage", "tier"), _SERVER, without=_NO_USAGE, added=True),
    Column("batch", pa.string(), _each("batch"), _SERVER, without={"batch": None}, added=True),
    Column("cost_microusd", pa.int64(), _cost_microusd, _SERVER, given=_each("cost_pico"), without={"cost_pico": None}),
    Column("attempts", pa.int32(), _each("attempts")),
    Column("waited_s", pa.float64(), _each("waited_s"), _SERVER, without={"waited_s": 0.0}),
    Column("answered_s", pa.float64(), _each("answered_s"), _SERVER, without={"answered_s": 0.0}),
    Column("finished_at", pa.timestamp("us", tz="UTC"), _each("finished_at"), nullable=False),
    Column("generation", pa.int32(), _each("row.generation"), nullable=False),
    Column(COPIED, pa.string(), _each("copied_from"), dedupe=True),
)
"""The columns of every result table, in order."""

RESULT_COLUMNS = frozenset(column.name for column in COLUMNS)
"""Names that `input.keep` may not take."""


def result_schema(
    *,
    id_field: pa.Field | None = None,
    kept: Sequence[pa.Field] = (),
    judge_fields: Sequence[pa.Field] = (),
    metrics: Sequence[str] = (),
    copies: bool = False,
) -> pa.Schema:
    """The Arrow schema of one shard's results; `id_field` and `kept` have the input's types.

    `copies`: rows may be copies of others, and `copied_from` names these.
    """
    return _result_schema(id_field, tuple(kept), tuple(judge_fields), tuple(metrics), copies)


@lru_cache(64)  # a run asks for the same one for each shard: 0.2 ms
def _result_schema(
    id_field: pa.Field | None,
    kept: tuple[pa.Field, ...],
    judge_fields: tuple[pa.Field, ...],
    metrics: tuple[str, ...],
    copies: bool,
) -> pa.Schema:
    inserted = {
        "row": [*([pa.field("id", id_field.type)] if id_field is not None else []), *kept],
        "score": judge_fields,
    }
    fields: list[pa.Field] = []
    for column in COLUMNS:
        if copies or not column.dedupe:
            fields.append(pa.field(column.name, column.type, nullable=column.nullable))
        fields.extend(pa.field(one.name, one.type) for one in inserted.get(column.name, ()))
    fields.extend(pa.field(f"{METRIC}{name}", pa.float64()) for name in metrics)
    return pa.schema(fields)


def kept_names(results: Sequence[str]) -> list[str]:
    """The id and kept columns among the names of a result table, in order."""
    return list(results[results.index("row") + 1 : results.index("score")])


def judge_names(results: Sequence[str]) -> list[str]:
    """The judge's own columns among the names of a result table, in order."""
    return list(results[results.index("score") + 1 : results.index("reason")])


def lacking(stored: pa.Schema, *, copies: bool) -> list[str]:
    """The columns that a result file of any format must have and `stored` lacks."""
    has = modern(stored).names
    return [
        column.name
        for column in COLUMNS
        if column.name not in has and not column.added and (copies or not column.dedupe)
    ]


def modern(stored: pa.Schema) -> pa.Schema:
    """A result file's schema under today's names: format 1 has `judge_model` only where `model` is a kept column."""
    place = stored.get_field_index("model")
    if place < 0 or "judge_model" in stored.names:
        return stored
    return stored.set(place, stored.field(place).with_name("judge_model"))


def fitted(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """A result file's rows under `schema`; a column that is younger than the file is null.

    Raises ValueError where the file has other columns, or lacks one that is never null.
    """
    if table.schema.equals(schema):  # a cast of 26 columns to their own types takes .3 ms
        return pa.Table.from_arrays(table.columns, schema=schema)
    if table.schema.names != schema.names:
        table = table.rename_columns(modern(table.schema).names)
        has = set(table.schema.names)
        missing = [field.name for field in schema if field.name not in has and not field.nullable]
        if odd := [name for name in table.schema.names if name not in schema.names] + missing:
            raise ValueError(f"it has other columns: {', '.join(odd)}")
        columns = [table.column(f.name) if f.name in has else pa.nulls(table.num_rows, f.type) for f in schema]
        table = pa.table(columns, names=schema.names)
    return table.cast(schema)
