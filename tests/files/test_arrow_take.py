"""Promise: a column of a view type is scored, kept and sorted like any other, with its type."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from scorer.files.arrow_take import owned, take
from scorer.files.local_files import LocalFiles
from scorer.output import segments as seg
from scorer.output.merge import merge
from scorer.output.schema import (
    result_schema,
)
from scorer.output.tables import to_table
from scorer.types import (
    Result,
    Row,
    Score,
)

COLUMNS: dict[pa.DataType, list[Any]] = {
    pa.string_view(): ["a", None, "a text that is too long to stand in the view itself", ""],
    pa.binary_view(): [b"a", None, b"\xff" * 40, b""],
    pa.struct([("x", pa.string_view()), ("n", pa.int8())]): [{"x": "a", "n": 1}, None, {"x": None, "n": 2}, {}],
    pa.list_(pa.string_view()): [["a", None], None, [], ["b" * 20]],
    pa.large_list(pa.binary_view()): [[b"a", None], None, [], [b"b" * 20]],
    pa.list_(pa.string_view(), 2): [["a", "b"], None, [None, "c" * 20], ["d", "e"]],
    pa.map_(pa.string_view(), pa.string_view()): [[("k", "v")], None, [], [("k" * 20, None)]],
    pa.list_(pa.struct([("x", pa.list_(pa.string_view()))])): [[{"x": ["a"]}], None, [None], [{"x": None}]],
}


def array(kind: pa.DataType) -> pa.Array:
    return pa.array(COLUMNS[kind], owned(kind)).cast(kind)


@pytest.mark.parametrize("kind", COLUMNS, ids=str)
def test_take_keeps_the_type_of_every_column(kind: pa.DataType) -> None:
    column = array(kind)
    wanted = [column[2], column[0], column[1]]
    batch = pa.record_batch({"x": column, "n": pa.array(range(4))})
    for rows in (batch, pa.Table.from_batches([batch.slice(0, 1), batch.slice(1)])):
        taken = take(rows, pa.array([2, 0, 1]))
        assert taken.schema == batch.schema
        assert list(taken.column("x")) == wanted
        assert taken.column("n").to_pylist() == [2, 0, 1]


@pytest.mark.parametrize("kind", [pa.string(), pa.list_(pa.int8()), pa.dictionary(pa.int8(), pa.string())], ids=str)
def test_owned_leaves_other_types_unchanged(kind: pa.DataType) -> None:
    assert owned(kind) is kind or owned(kind) == kind


@pytest.mark.parametrize("kind", [pa.string_view(), pa.binary_view()], ids=str)
def test_merge_sorts_view_columns_by_row(tmp_path: Path, kind: pa.DataType) -> None:
    schema = result_schema(kept=[pa.field("kept", kind)])
    results = [
        Result(
            Row("s", n, {}, kept=(COLUMNS[kind][n],)), Score(1.0), None, None, None, None, None, None, 0, 0.0, 0.0, 0
        )
        for n in (2, 0, 3, 1)
    ]
    path = f"{tmp_path}/segment.parquet"
    with LocalFiles().create(path) as file:
        seg.write(file, iter([to_table(results, schema, "f")]), schema, {})
    whole = pa.concat_tables([table for _, _, table in merge(LocalFiles(), [(path, 0, 3)], schema)])
    assert whole.column("row").to_pylist() == [0, 1, 2, 3]
    assert whole.schema.field("kept").type == kind
    assert whole.column("kept").to_pylist() == COLUMNS[kind]
