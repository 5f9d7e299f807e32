"""Takes rows of Arrow tables by index, also from columns of a view type, for which Arrow has no `take` kernel."""

from __future__ import annotations

from functools import lru_cache
from typing import TypeVar

import pyarrow as pa

Rows = TypeVar("Rows", pa.Table, pa.RecordBatch)


def take(rows: Rows, places: pa.Array) -> Rows:
    """The rows at `places`, in that order, under the same schema."""
    if all(owned(kind) == kind for kind in rows.schema.types):
        return rows.take(places)
    return type(rows).from_arrays([_taken(column, places) for column in rows.columns], schema=rows.schema)


@lru_cache(4096)
def owned(kind: pa.DataType) -> pa.DataType:
    """The type with `large_string` for `string_view` and `large_binary` for `binary_view`, at any depth."""
    if kind == pa.string_view():
        return pa.large_string()
    if kind == pa.binary_view():
        return pa.large_binary()
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(owned(field.type)) for field in kind])
    if pa.types.is_map(kind):
        return pa.map_(kind.key_field.with_type(owned(kind.key_type)), _item(kind.item_field), kind.keys_sorted)
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(_item(kind.value_field), kind.list_size)
    if pa.types.is_large_list(kind):
        return pa.large_list(_item(kind.value_field))
    return pa.list_(_item(kind.value_field)) if pa.types.is_list(kind) else kind


def _item(field: pa.Field) -> pa.Field:
    return field.with_type(owned(field.type))


def _taken(column: pa.Array | pa.ChunkedArray, places: pa.Array) -> pa.Array | pa.ChunkedArray:
    kind = owned(column.type)
    return column.take(places) if kind == column.type else column.cast(kind).take(places).cast(column.type)
