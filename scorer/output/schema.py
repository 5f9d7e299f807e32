"""The columns of a result table, as an Arrow schema."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa


def result_schema(
    *,
    id_field: pa.Field | None = None,
    kept: Sequence[pa.Field] = (),
    judge_fields: Sequence[pa.Field] = (),
    metrics: Sequence[str] = (),
    copies: bool = False,
) -> pa.Schema:
    """The Arrow schema of one shard's results; `id_field` and `kept` have the input's types.

    `copies`: rows may be copies of others, and `copied_from` tells of which.
    """
    fields = [pa.field("shard", pa.string(), nullable=False), pa.field("row", pa.int64(), nullable=False)]
    if id_field is not None:
        fields.append(pa.field("id", id_field.type))
    fields.extend(pa.field(f.name, f.type) for f in kept)
    fields.append(pa.field("score", pa.float64()))
    fields.extend(pa.field(f.name, f.type) for f in judge_fields)  # a failed row has none of them
    fields += [
        pa.field("reason", pa.string()),
        pa.field("error", pa.string()),
        pa.field("error_detail", pa.string()),
        pa.field("finish_reason", pa.string()),
        pa.field("raw", pa.list_(pa.string())),
        pa.field("judge_model", pa.string()),
        pa.field("judge", pa.string(), nullable=False),
        pa.field("method", pa.string()),
        pa.field("samples", pa.int32()),
        pa.field("prompt_tokens", pa.int64()),
        pa.field("completion_tokens", pa.int64()),
        pa.field("cached_tokens", pa.int64()),
        pa.field("cost_microusd", pa.int64()),
        pa.field("attempts", pa.int32()),
        pa.field("waited_s", pa.float64()),
        pa.field("answered_s", pa.float64()),
        pa.field("finished_at", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("generation", pa.int32(), nullable=False),
        *([pa.field("copied_from", pa.string())] if copies else []),
    ]
    fields.extend(pa.field(f"metric_{name}", pa.float64()) for name in metrics)
    return pa.schema(fields)


RESULT_COLUMNS = frozenset(result_schema(copies=True).names)
"""Names that `input.keep` may not take."""


YOUNGER: frozenset[str] = frozenset()
"""Columns of `result_schema` that files of format 1 lack: null there, never damage. Each column added since is one."""


def modern(stored: pa.Schema) -> pa.Schema:
    """A result file's schema under today's names: format 1 has `judge_model` only where `model` is a kept column."""
    place = stored.get_field_index("model")
    if place < 0 or "judge_model" in stored.names:
        return stored
    return stored.set(place, stored.field(place).with_name("judge_model"))


def fitted(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """A result file's rows under `schema`; a column that the file is too old for is null.

    Raises ValueError where the file has other columns, or lacks one that is never null.
    """
    if table.schema.names != schema.names:
        table = table.rename_columns(modern(table.schema).names)
        has = set(table.schema.names)
        missing = [field.name for field in schema if field.name not in has and not field.nullable]
        if odd := [name for name in table.schema.names if name not in schema.names] + missing:
            raise ValueError(f"it has other columns: {', '.join(odd)}")
        columns = [table.column(f.name) if f.name in has else pa.nulls(table.num_rows, f.type) for f in schema]
        table = pa.table(columns, names=schema.names)
    return table.cast(schema)
