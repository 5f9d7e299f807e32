"""Rows that are an Arrow record batch: their values as Python objects, and as they can be written again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from scorer.files.arrow_take import owned, take
from scorer.inputs.column_paths import split, value_at


class ArrowRows:
    """`Rows` over a record batch."""

    __slots__ = ("_nbytes", "batch")
    problems: Sequence[str | None] = ()

    def __init__(self, batch: pa.RecordBatch) -> None:
        self.batch = batch
        self._nbytes: int | None = None

    @property
    def num_rows(self) -> int:
        return int(self.batch.num_rows)

    @property
    def nbytes(self) -> int:
        if self._nbytes is None:  # Arrow adds up every buffer
            self._nbytes = int(self.batch.nbytes)
        return self._nbytes

    def take(self, places: npt.NDArray[np.int64]) -> ArrowRows:
        return ArrowRows(take(self.batch, pa.array(places)))

    def slice(self, offset: int, length: int) -> ArrowRows:
        return self if (offset, length) == (0, self.num_rows) else ArrowRows(self.batch.slice(offset, length))

    def with_constant(self, name: str, value: str | None) -> ArrowRows:
        column = pa.repeat(pa.scalar(value, pa.string()), self.num_rows)
        return ArrowRows(self.batch.append_column(name, column))

    def values(self, path: str, bad: dict[int, str], *, typed: bool = False) -> list[Any]:
        root, steps = split(path, tuple(self.batch.schema.names))
        column = self.batch.column(root)
        while steps and isinstance(steps[0], str) and pa.types.is_struct(column.type):
            import pyarrow.compute as pc  # 20 ms, and columns without fields do without

            column, steps = pc.struct_field(column, [steps[0]]), steps[1:]
        found = _plain(column, path, bad)
        return [value_at(value, steps) for value in found] if steps else found

    def exact(self, name: str, bad: dict[int, str]) -> list[Any]:
        return _exact(self.batch.column(name), name, bad)

    def arrow(self, schema: pa.Schema) -> pa.RecordBatch:
        return pa.RecordBatch.from_arrays([self.batch.column(name) for name in schema.names], schema=schema)

    def own(self, names: Sequence[str], bad: dict[int, str]) -> pa.RecordBatch:
        return self.batch.select(list(names))

    def characters(self, path: str) -> int:
        if path not in self.batch.schema.names or pa.types.is_nested(self.batch.column(path).type):
            return sum(1 + len(str(value)) for value in self.values(path, {}) if value is not None)
        import pyarrow.compute as pc

        column = self.batch.column(path).cast(pa.large_string())
        try:
            lengths = pc.utf8_length(column)
        except pa.ArrowInvalid:  # no UTF-8
            lengths = pc.binary_length(column)
        return (pc.sum(lengths).as_py() or 0) + len(column) - int(column.null_count)


NOT_UTF8 = "column {!r} holds a text that is not UTF-8."


def _exact(column: pa.Array, name: str, bad: dict[int, str]) -> list[Any]:
    """Values that go back into the column's own type unchanged: scalars where Python has no exact object.

    `bad` gets the places of texts that are no UTF-8; they are None.
    """
    if isinstance(column.type, pa.Bool8Type):  # Arrow makes no array of this type from booleans
        numbers: list[Any] = column.storage.to_pylist()
        return numbers
    kind = owned(column.type)
    if pa.types.is_nested(kind) and kind != column.type:  # no list is made of scalars that are views
        column = column.cast(kind)
    if not (pa.types.is_temporal(kind) or pa.types.is_dictionary(kind) or pa.types.is_nested(kind)):
        return _plain(column, name, bad)
    if _beyond_scalars(kind):
        return _plain(column, name, bad)
    values = [scalar if scalar.is_valid else None for scalar in column]
    if not pa.types.is_temporal(kind) and not _is_utf8(column):
        for place, scalar in enumerate(column):
            if _python(scalar) is _NO_TEXT:
                bad[place], values[place] = NOT_UTF8.format(name), None
    return values


def _beyond_scalars(kind: pa.DataType) -> bool:
    """Whether Arrow makes no array of scalars of this type: it holds a type without any value, or lists in a list.

    `tool_calls` of messages often has a type without any value. A null list within a list is no part of a scalar.
    """
    if pa.types.is_null(kind):
        return True
    inner = [kind.field(place).type for place in range(kind.num_fields)]
    element = kind.item_type if pa.types.is_map(kind) else None if pa.types.is_struct(kind) else next(iter(inner), None)
    return (element is not None and _is_list(element)) or any(map(_beyond_scalars, inner))


def _is_list(kind: pa.DataType) -> bool:
    kinds = (pa.ListType, pa.LargeListType, pa.FixedSizeListType, pa.MapType)
    return isinstance(kind, kinds)


def _plain(column: pa.Array, name: str, bad: dict[int, str]) -> list[Any]:
    """Python objects; scalars of Arrow where there is none, as for nested nanoseconds. `bad` as for `_exact`."""
    if (pa.types.is_timestamp(column.type) or pa.types.is_time64(column.type)) and column.type.unit == "ns":
        return _times(column)
    try:
        values: list[Any] = column.to_pylist()
        return values
    except ValueError:
        values = [_python(scalar) for scalar in column]
    for place, value in enumerate(values):
        if value is _NO_TEXT:
            bad[place], values[place] = NOT_UTF8.format(name), None
    return values


def _times(column: pa.Array) -> list[Any]:
    """Python's times, and text in ISO 8601 for each that is no whole number of microseconds, whatever is installed."""
    import pyarrow.compute as pc

    kind = column.type
    micro = pa.time64("us") if pa.types.is_time(kind) else pa.timestamp("us", kind.tz)
    rounded = column.cast(micro, safe=False)
    values: list[Any] = rounded.to_pylist()
    exact = pc.equal(rounded.cast(kind), column).fill_null(True).to_pylist()
    for place, whole in enumerate(exact):
        if not whole:
            values[place] = column[place].cast(pa.string()).as_py().replace(" ", "T")
    return values


_NO_TEXT = object()
"""Marks a value with text that is not UTF-8."""


def _python(scalar: pa.Scalar) -> Any:
    try:
        return scalar.as_py()
    except UnicodeDecodeError:
        return _NO_TEXT
    except ValueError:
        return scalar


def _is_utf8(column: pa.Array) -> bool:
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True
