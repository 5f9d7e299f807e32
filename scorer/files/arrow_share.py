"""Holds columns of many Arrow batches that are equal once: one value for all rows takes no memory for each batch."""

from __future__ import annotations

import pyarrow as pa

_COMPARED = (
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_integer,
    pa.types.is_boolean,
    pa.types.is_timestamp,
)


class EqualColumns:
    """Batches, each with a column of an earlier batch in place of its own where that one begins with the same values.

    It holds the last batch of each column that began and ended with one value: a column of one value does. Columns of
    floating point stay their own, since 0.0 and -0.0 are equal to Arrow, and nested ones may hold such.
    """

    def __init__(self) -> None:
        self._schema: pa.Schema | None = None
        self._earlier: dict[int, pa.Array | None] = {}

    def shared(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The same rows under the same schema. Batches of another schema share nothing with those before."""
        schema, rows, columns = batch.schema, batch.num_rows, batch.columns
        if self._schema is None or not schema.equals(self._schema):
            places = (n for n, kind in enumerate(schema.types) if any(test(kind) for test in _COMPARED))
            self._schema, self._earlier = schema, dict.fromkeys(places)
        for place, earlier in self._earlier.items():
            column = columns[place]
            if earlier is not None and rows <= len(earlier) and (begin := earlier.slice(0, rows)).equals(column):
                columns[place] = begin
            else:
                self._earlier[place] = column if rows and column[0].equals(column[-1]) else None
        return pa.RecordBatch.from_arrays(columns, schema=schema)
