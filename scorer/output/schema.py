"""The columns of a result table: name, Arrow type, and how each is filled from a Result.

A new column is one entry of COLUMNS: the schema, the tables, verify and the test of
docs/reference/output.md read it there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from enum import Enum
from functools import lru_cache
from typing import Any

import pyarrow as pa

from scorer.frozen import dataclass
from scorer.types import Result

COPIED = "copied_from"
"""A column of runs with `judge.dedupe` alone."""
METRIC = "metric_"
"""How the columns of automatic metrics begin; they stand behind the others."""


class ResultLists:
    """Some results, and the row, score, error and usage of each."""

    __slots__ = ("errors", "results", "rows", "scores", "usages")

    def __init__(self, results: Sequence[Result]) -> None:
        self.results = results
        self.rows = [one.row for one in results]
        self.scores = [one.score for one in results]
        self.errors = [one.error for one in results]
        self.usages = [one.usage for one in results]


Values = Callable[[ResultLists], list[Any]]
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


_JUDGE, _SERVER = Origin.JUDGE, Origin.SERVER
_NO_USAGE = {"usage": None}

COLUMNS = (
    Column("shard", pa.string(), lambda of: [one.shard for one in of.rows], nullable=False),
    Column("row", pa.int64(), lambda of: [one.number for one in of.rows], nullable=False),
    # the id and the kept columns of the input stand here
    Column("score", pa.float64(), lambda of: [None if one is None else one.value for one in of.scores], _JUDGE),
    # the judge's own columns stand here; a row with an error has those that `error.fields` holds
    Column("reason", pa.string(), lambda of: [None if one is None else one.reason for one in of.scores], _JUDGE),
    Column("error", pa.string(), lambda of: [None if one is None else one.name for one in of.errors]),
    Column("error_detail", pa.string(), lambda of: [None if one is None else one.detail for one in of.errors]),
    Column(
        "finish_reason",
        pa.string(),
        lambda of: [one.finish_reason for one in of.results],
        _SERVER,
        without={"finish_reason": None},
    ),
    Column("raw", pa.list_(pa.string()), lambda of: [one.raw for one in of.results], _SERVER, without={"raw": None}),
    Column("judge_model", pa.string(), lambda of: [one.model for one in of.results], _SERVER, without={"model": None}),
    Column(
        "system_fingerprint",
        pa.string(),
        lambda of: [one.system_fingerprint for one in of.results],
        _SERVER,
        without={"system_fingerprint": None},
        added=True,
    ),
    Column("judge", pa.string(), None, nullable=False),
    Column("method", pa.string(), lambda of: [None if one is None else one.method for one in of.scores], _JUDGE),
    Column("samples", pa.int32(), lambda of: [0 if one is None else one.samples for one in of.scores], _JUDGE),
    Column(
        "prompt_tokens",
        pa.int64(),
        lambda of: [None if one is None else one.prompt_tokens for one in of.usages],
        _SERVER,
        without=_NO_USAGE,
    ),
    Column(
        "completion_tokens",
        pa.int64(),
        lambda of: [None if one is None else one.completion_tokens for one in of.usages],
        _SERVER,
        without=_NO_USAGE,
    ),
    Column(
        "cached_tokens",
        pa.int64(),
        lambda of: [None if one is None else one.cached_tokens for one in of.usages],
        _SERVER,
        without=_NO_USAGE,
    ),
    Column(
        "reasoning_tokens",
        pa.int64(),
        lambda of: [None if one is None else one.reasoning_tokens for one in of.usages],
        _SERVER,
        without=_NO_USAGE,
        added=True,
    ),
    Column(
        "tier",
        pa.string(),
        lambda of: [None if one is None else one.tier for one in of.usages],
        _SERVER,
        without=_NO_USAGE,
        added=True,
    ),
    Column(
        "batch", pa.string(), lambda of: [one.batch for one in of.results], _SERVER, without={"batch": None}, added=True
    ),
    Column(
        "cost_microusd",
        pa.int64(),
        lambda of: [None if one.cost_pico is None else -(-one.cost_pico // 10**6) for one in of.results],
        _SERVER,
        given=lambda of: [one.cost_pico for one in of.results],
        without={"cost_pico": None},
    ),
    Column("attempts", pa.int32(), lambda of: [one.attempts for one in of.results]),
    Column(
        "waited_s", pa.float64(), lambda of: [one.waited_s for one in of.results], _SERVER, without={"waited_s": 0.0}
    ),
    Column(
        "answered_s",
        pa.float64(),
        lambda of: [one.answered_s for one in of.results],
        _SERVER,
        without={"answered_s": 0.0},
    ),
    Column(
        "finished_at", pa.timestamp("us", tz="UTC"), lambda of: [one.finished_at for one in of.results], nullable=False
    ),
    Column("generation", pa.int32(), lambda of: [one.generation for one in of.rows], nullable=False),
    Column(COPIED, pa.string(), lambda of: [one.copied_from for one in of.results], dedupe=True),
)
"""The columns of every result table, in order. They are comprehensions: `attrgetter` takes twice as long."""

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
