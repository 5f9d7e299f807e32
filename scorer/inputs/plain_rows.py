"""Rows of text formats, whose values are Python objects: JSON values, or the texts of CSV."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from scorer.inputs.column_paths import split, value_at
from scorer.inputs.value_types import TypeMismatch, as_integer, fitted


class PlainRows:
    """`Rows` over lists of Python objects, one list for each column.

    `kinds` are the types in which columns are written again, `nested` the types of those that hold objects or lists. A
    row with a problem has None in every column.
    """

    __slots__ = ("_columns", "_kinds", "_nested", "nbytes", "num_rows", "problems")

    def __init__(
        self,
        columns: Mapping[str, list[Any]],
        kinds: Mapping[str, pa.DataType],
        problems: Sequence[str | None],
        nbytes: int,
        nested: Mapping[str, pa.DataType] = MappingProxyType({}),
    ) -> None:
        self.num_rows = len(problems)
        self.problems = problems
        self.nbytes = nbytes
        self._columns = columns
        self._kinds = kinds
        self._nested = nested

    def take(self, places: npt.NDArray[np.int64]) -> PlainRows:
        at = places.tolist()
        columns = {name: [values[place] for place in at] for name, values in self._columns.items()}
        return self._part(columns, [self.problems[place] for place in at])

    def slice(self, offset: int, length: int) -> PlainRows:
        stop = offset + length
        if offset == 0 and stop >= self.num_rows:
            return self
        columns = {name: values[offset:stop] for name, values in self._columns.items()}
        return self._part(columns, self.problems[offset:stop])

    def _part(self, columns: dict[str, list[Any]], problems: Sequence[str | None]) -> PlainRows:
        size = self.nbytes * len(problems) // max(1, self.num_rows)
        return PlainRows(columns, self._kinds, problems, size, self._nested)

    def with_constant(self, name: str, value: str | None) -> PlainRows:
        columns = {**self._columns, name: [value] * self.num_rows}
        return PlainRows(columns, {**self._kinds, name: pa.string()}, self.problems, self.nbytes, self._nested)

    def values(self, path: str, bad: dict[int, str], *, typed: bool = False) -> list[Any]:
        root, steps = split(path, tuple(self._columns))
        found = self._columns[root]
        if typed and pa.types.is_int64(self._kinds.get(root, pa.null())):
            found = [as_integer(value) for value in found]
        return [value_at(value, steps) for value in found] if steps else found

    def exact(self, name: str, bad: dict[int, str]) -> list[Any]:
        return self._fitted(name, self._kinds.get(name, pa.string()), bad)

    def _fitted(self, name: str, kind: pa.DataType, bad: dict[int, str]) -> list[Any]:
        found: list[Any] = []
        for place, value in enumerate(self._columns[name]):
            try:
                found.append(fitted(value, kind))
            except TypeMismatch as error:
                bad[place] = f"column {name!r} {error}"
                found.append(None)
        return found

    def arrow(self, schema: pa.Schema) -> pa.RecordBatch:
        arrays = [pa.array(self.exact(field.name, {}), field.type) for field in schema]
        if not arrays:
            return pa.RecordBatch.from_struct_array(pa.array([{}] * self.num_rows, pa.struct([])))
        return pa.RecordBatch.from_arrays(arrays, schema=schema)

    def own(self, names: Sequence[str], bad: dict[int, str]) -> pa.RecordBatch:
        kinds = {**self._kinds, **self._nested}
        schema = pa.schema([(name, kinds.get(name, pa.string())) for name in names])
        arrays = [pa.array(self._fitted(field.name, field.type, bad), field.type) for field in schema]
        return pa.RecordBatch.from_arrays(arrays, schema=schema)

    def characters(self, path: str) -> int:
        return sum(1 + len(str(value)) for value in self.values(path, {}) if value is not None)
