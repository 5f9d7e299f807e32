"""Promise: the value of a kept column goes back into the column's own type, whatever the type."""

from __future__ import annotations

import io
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scorer.errors import InputError
from scorer.files.local_files import LocalFiles
from scorer.inputs.arrow_rows import ArrowRows
from scorer.inputs.kept_types import unkept
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
    pa.list_(pa.list_(pa.string())): [[["a", None], [], None], None],
    pa.map_(pa.string(), pa.large_list(pa.date32())): [[("k", None)], [("j", [None])], None],
    pa.struct([("f", pa.list_(pa.map_(pa.string(), pa.int8())))]): [{"f": [None, [("k", 1)]]}, None],
    pa.list_(pa.list_(pa.decimal128(5, 2)), 1): [[None], None],
    pa.uuid(): [UUID(int=1).bytes, None],
    pa.bool8(): [1, 0, None],
    pa.json_(): ['{"a": 1}', None],
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


SUITABLE = [
    pa.decimal128(38, 2),
    pa.decimal32(5, 2),
    pa.uuid(),
    pa.json_(),
    pa.float16(),
    pa.dictionary(pa.int8(), pa.string()),
    pa.list_(pa.dictionary(pa.int8(), pa.string())),
    pa.list_(pa.string_view()),
    pa.list_(pa.int8(), 2),
    pa.struct([("a", pa.map_(pa.string(), pa.duration("ns")))]),
]
UNSUITABLE = [
    pa.decimal256(39, 2),
    pa.list_(pa.decimal256(39, 2)),
    pa.struct([("a", pa.list_view(pa.int8()))]),
    pa.large_list_view(pa.int8()),
    pa.dense_union([pa.field("a", pa.int8())]),
    pa.month_day_nano_interval(),
    pa.struct([]),
    pa.list_(pa.run_end_encoded(pa.int32(), pa.string())),
    pa.dictionary(pa.int8(), pa.decimal128(5, 2)),
    pa.fixed_shape_tensor(pa.int8(), (2, 2)),
    pa.struct([("a", pa.uuid())]),
    pa.binary(0),
]


@pytest.mark.parametrize("kind", SUITABLE, ids=str)
def test_a_type_that_may_be_kept_goes_through_parquet_to_polars(kind: pa.DataType) -> None:
    assert unkept(kind) is None
    sink = io.BytesIO()
    pq.write_table(pa.table({"kept": _array([None], kind)}), sink)
    sink.seek(0)
    assert pl.read_parquet(sink)["kept"].to_list() == [None]


@pytest.mark.parametrize("kind", UNSUITABLE, ids=str)
def test_a_kept_column_that_results_cannot_hold_is_refused(tmp_path: Path, kind: pa.DataType) -> None:
    schema = pa.schema([("text", pa.string()), ("kept", kind)])
    with pa.ipc.new_file(str(tmp_path / "s.arrow"), schema):
        pass
    stats = LocalFiles().find([str(tmp_path / "s.arrow")])

    def look(kept: list[str]) -> int:
        return len(first_look(LocalFiles(), stats, {stats[0].path: "s"}, ["text", *kept], kept).shards)

    assert look([]) == 1
    with pytest.raises(InputError, match=r"column 'kept' is .*, and results .* Leave it out of input\.keep"):
        look(["kept"])


@pytest.mark.parametrize("name", ["*", "^.*$"])
def test_a_kept_column_whose_name_is_a_pattern_is_refused(tmp_path: Path, name: str) -> None:
    pq.write_table(pa.table({"text": ["a"], name: ["b"]}), tmp_path / "s.parquet")
    stats = LocalFiles().find([str(tmp_path)])
    with pytest.raises(InputError, match="polars reads its name as a pattern"):
        first_look(LocalFiles(), stats, {stats[0].path: "s"}, ["text", name], [name])
