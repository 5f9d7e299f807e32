"""Which types a kept column may have: those that Parquet holds and polars reads."""

from __future__ import annotations

import pyarrow as pa

LARGEST_DECIMAL = 38
"""Digits of a decimal that polars, Delta and Iceberg can read."""
_UNKEPT = {
    "union": pa.types.is_union,
    "run_end_encoded": pa.types.is_run_end_encoded,
    "interval": pa.types.is_interval,
    "list_view": pa.types.is_list_view,
    "large_list_view": pa.types.is_large_list_view,
}


def unkept(kind: pa.DataType) -> str | None:
    """Why results cannot hold a value of this type; None where they can."""
    if isinstance(kind, pa.FixedShapeTensorType):
        return "results hold no tensors"
    if pa.types.is_decimal(kind) and kind.precision > LARGEST_DECIMAL:
        return f"results keep {LARGEST_DECIMAL} digits at most"
    if pa.types.is_fixed_size_binary(kind) and kind.byte_width == 0:
        return "results hold no binary of width 0"
    if pa.types.is_struct(kind) and not kind.num_fields:
        return "results hold no struct without a field"
    if pa.types.is_dictionary(kind):
        value = kind.value_type
        if pa.types.is_nested(value) or pa.types.is_decimal(value) or pa.types.is_null(value):
            return f"results hold no dictionary of {value}"
    if name := next((name for name, is_one in _UNKEPT.items() if is_one(kind)), None):
        return f"results hold no {name}"
    inner = [kind.field(place).type for place in range(kind.num_fields)]
    if any(isinstance(one, pa.BaseExtensionType) for one in inner):
        return "results hold an extension type only as a whole column"
    return next((why for one in inner if (why := unkept(one))), None)
