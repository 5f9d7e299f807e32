"""The column types of formats that declare none, from their first values, and the values that fit such a type.

The rule, for `input.id` and `input.keep`: the values of the first 1,000 rows (or 16 MiB) that are not null decide. All
true or false: bool. All whole numbers of 64 bits: int64. All numbers: float64. Anything else, or nothing: text, in
which values that are no text stand as JSON. For `input.where` the rule holds within objects and lists, too: a column of
objects alone is a struct, one of lists alone a list.

CSV has no types: a column whose fields are all whole numbers, or all numbers, is int64 or float64, with empty fields as
null; a number with leading zeros is text, and so is a column with a whole number that neither type holds exactly.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

HEAD_ROWS, HEAD_BYTES = 1000, 16 * 1024 * 1024
"""The number of rows at the beginning of a file that decide its types."""

_WHOLE = re.compile(r"-?(?:0|[1-9][0-9]{0,18})")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]{1,3})?")
_EXACT_IN_FLOAT = 2**53


class TypeMismatch(ValueError):
    """A value that does not fit its column's type; the text names both."""


def json_types(records: Iterable[Mapping[str, Any]]) -> pa.Schema:
    """The columns of JSON objects, in the order in which they first appear, with the types that the rule gives."""
    return pa.schema([(name, _json_type(values)) for name, values in by_name(records).items()])


def nested_types(records: Iterable[Mapping[str, Any]]) -> dict[str, pa.DataType]:
    """The types of those columns of JSON objects that hold objects alone, or lists alone, for `input.where`."""
    found = {name: _nested_type(values) for name, values in by_name(records).items()}
    return {name: kind for name, kind in found.items() if pa.types.is_nested(kind)}


def csv_types(header: Sequence[str], records: Sequence[Sequence[str]]) -> pa.Schema:
    """The columns of a CSV file with the types that the rule gives."""
    return pa.schema(
        [(name, _csv_type([one[place] for one in records if one[place]])) for place, name in enumerate(header)]
    )


def shapes(records: Iterable[Mapping[str, Any]]) -> pa.Schema:
    """The same columns with their nested fields, as far as they agree; null is the type of what does not."""
    return pa.schema([(name, _shape(values)) for name, values in by_name(records).items()])


def by_name(records: Iterable[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """The values of each column that are not null."""
    found: dict[str, list[Any]] = {}
    for record in records:
        for name, value in record.items():
            values = found.setdefault(name, [])
            if value is not None:
                values.append(value)
    return found


def fitted(value: Any, kind: pa.DataType) -> Any:
    """The value as a column of that type holds it; a text of a CSV may be a number. Raises TypeMismatch."""
    if value is None:
        return None
    if pa.types.is_struct(kind) and isinstance(value, Mapping):
        return {field.name: fitted(value.get(field.name), field.type) for field in kind}
    if pa.types.is_list(kind) and isinstance(value, list):
        return [fitted(one, kind.value_type) for one in value]
    if pa.types.is_string(kind):
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    if isinstance(value, str) and not pa.types.is_boolean(kind):
        value = _number(value, kind)
    if pa.types.is_boolean(kind) and isinstance(value, bool):
        return value
    if pa.types.is_int64(kind) and not isinstance(value, bool):
        if isinstance(value, float) and value.is_integer() and abs(value) <= _EXACT_IN_FLOAT:
            return int(value)
        if isinstance(value, int) and -(2**63) <= value < 2**63:
            return value
    if pa.types.is_float64(kind) and not isinstance(value, bool):
        if isinstance(value, float):
            return value
        if isinstance(value, int) and abs(value) <= _EXACT_IN_FLOAT:
            return float(value)
    if value is None:
        return None
    raise TypeMismatch(f"holds {_shown(value)}, and it is {kind} by the first {HEAD_ROWS:,} rows of the file.")


def as_integer(value: Any) -> Any:
    """The integer that a text of CSV stands for, null where it is empty; any other value as it is."""
    if not isinstance(value, str):
        return value
    return (int(value) if _WHOLE.fullmatch(value) else value) if value else None


def _number(text: str, kind: pa.DataType) -> Any:
    if not text:
        return None
    if pa.types.is_int64(kind) and _WHOLE.fullmatch(text):
        return int(text)
    return float(text) if pa.types.is_float64(kind) and _NUMBER.fullmatch(text) and _exact_in_float(text) else text


def _exact_in_float(text: str) -> bool:
    """False for a whole number that loses digits as a float, as an id of 20 digits does."""
    return not text.removeprefix("-").isdecimal() or abs(int(text)) <= _EXACT_IN_FLOAT


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _json_type(values: Sequence[Any]) -> pa.DataType:
    if not values:
        return pa.string()
    if all(isinstance(value, bool) for value in values):
        return pa.bool_()
    if any(isinstance(value, bool) or not isinstance(value, int | float) for value in values):
        return pa.string()
    if all(isinstance(value, int) and -(2**63) <= value < 2**63 for value in values):
        return pa.int64()
    exact = all(isinstance(value, float) or abs(value) <= _EXACT_IN_FLOAT for value in values)
    return pa.float64() if exact else pa.string()


def _nested_type(values: Sequence[Any]) -> pa.DataType:
    if values and all(isinstance(value, dict) for value in values):
        fields = [(name, _nested_type(inner)) for name, inner in by_name(values).items()]
        return pa.struct(fields) if fields else pa.string()
    if values and all(isinstance(value, list) for value in values):
        return pa.list_(_nested_type([one for value in values for one in value if one is not None]))
    return _json_type(values)


def _csv_type(texts: Sequence[str]) -> pa.DataType:
    if texts and all(_WHOLE.fullmatch(text) and -(2**63) <= int(text) < 2**63 for text in texts):
        return pa.int64()
    if texts and all(
        _NUMBER.fullmatch(text) and math.isfinite(float(text)) and _exact_in_float(text) for text in texts
    ):
        return pa.float64()
    return pa.string()


def _shape(values: Sequence[Any]) -> pa.DataType:
    if not values:
        return pa.null()
    try:
        return pa.array(values).type
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        return pa.null()
