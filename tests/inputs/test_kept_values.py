"""Promise: the value of a kept column goes back into the column's own type, whatever the type."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pyarrow as pa
import pytest

from scorer.inputs.arrow_rows import ArrowRows
from scorer.output.tables import _array

MESSAGE = pa.struct([("role", pa.string()), ("content", pa.string()), ("tool_calls", pa.null())])
CASES: dict[pa.DataType, list[Any]] = {
    MESSAGE: [{"role": "user", "content": "Hi?", "tool_calls": None}, None],
    pa.list_(MESSAGE): [[{"role": "user", "content": "Hi?", "tool_calls": None}], [], None, [None]],
    pa.list_(pa.null()): [[None, None], [], None],
    pa.struct([("n", pa.null()), ("t", pa.timestamp("ns"))]): [{"n": None, "t": datetime(2026, 1, 2, 3)}],
    pa.map_(pa.string(), pa.null()): [[("k", None)], []],
    pa.null(): [None, None],
    pa.struct([("x", pa.list_(pa.int8()))]): [{"x": [1, None]}, {"x": None}],
}


@pytest.mark.parametrize("kind", CASES, ids=str)
def test_a_kept_value_is_written_again_in_its_own_type(kind: pa.DataType) -> None:
    column = pa.array(CASES[kind], kind)
    bad: dict[int, str] = {}
    rows = ArrowRows(pa.RecordBatch.from_arrays([column], names=["kept"]))
    assert _array(rows.exact("kept", bad), kind).equals(column)
    assert bad == {}


def test_a_nested_text_that_is_not_utf8_is_named_beside_a_field_without_values() -> None:
    kind = pa.struct([("x", pa.string()), ("n", pa.null())])
    wrong = pa.StructArray.from_arrays([pa.array([b"a", b"\xff"]).view(pa.string()), pa.nulls(2)], fields=list(kind))
    bad: dict[int, str] = {}
    values = ArrowRows(pa.RecordBatch.from_arrays([wrong], names=["kept"])).exact("kept", bad)
    assert values == [{"x": "a", "n": None}, None]
    assert bad == {1: "column 'kept' holds a text that is not UTF-8."}
