"""Promise: the value of a kept column goes back into the column's own type, whatever the type."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scorer.errors import InputError
from scorer.files.files import LocalFiles
from scorer.inputs.arrow_rows import ArrowRows
from scorer.inputs.shards import first_look
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


@pytest.mark.parametrize(("digits", "refused"), [(38, False), (39, True)])
def test_a_kept_decimal_that_results_cannot_hold_is_refused(tmp_path: Path, digits: int, *, refused: bool) -> None:
    column = pa.array([Decimal("1.10")], pa.decimal256(digits, 2) if refused else pa.decimal128(digits, 2))
    pq.write_table(pa.table({"text": ["a"], "price": column}), tmp_path / "s.parquet")
    stats = LocalFiles().find([str(tmp_path)])

    def look(kept: list[str]) -> int:
        return len(first_look(LocalFiles(), stats, {stats[0].path: "s"}, ["text", *kept], kept).shards)

    assert look([]) == 1
    if not refused:
        assert look(["price"]) == 1
        return
    with pytest.raises(InputError, match=r"column 'price' is decimal256\(39, 2\), and results keep 38 digits at most"):
        look(["price"])
