"""Promise: the reader gives each value of every type of column as it is in the file."""

from __future__ import annotations

import io
from datetime import UTC, datetime, time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.readers import reader, rows_of, values, write

from scorer.output import segments as seg
from scorer.output.schema import result_schema
from scorer.output.tables import to_table
from scorer.types import Result, Score

TEXTS = ["plain", None, "", "ünï ✓ 漢字 🦜", "x" * 100, "plain"]
TEXT_TYPES = {
    "string": pa.array(TEXTS, pa.string()),
    "large_string": pa.array(TEXTS, pa.large_string()),
    "string_view": pa.array(TEXTS, pa.string_view()),
    "dictionary": pa.array(TEXTS, pa.string()).dictionary_encode(),
    "large dictionary": pa.array(TEXTS, pa.large_string()).dictionary_encode(),
}


@pytest.mark.parametrize("kind", TEXT_TYPES)
def test_reader_reads_equal_text_from_every_text_type(tmp_path: Path, kind: str) -> None:
    shard = write(tmp_path / "s.parquet", pa.table({"text": TEXT_TYPES[kind]}))
    rows = rows_of(reader(["text"], kept=["text"], constant=100), shard)
    assert [row.number for row in rows] == list(range(6))
    assert values(rows, "text") == TEXTS
    assert [row.tokens for row in rows] == [100 + len(text or "") for text in TEXTS]
    assert all(row.size >= len(text or "") for row, text in zip(rows, TEXTS, strict=True))
    assert {row.shard for row in rows} == {shard.path}


def test_reader_row_size_counts_kept_columns(tmp_path: Path) -> None:
    shard = write(tmp_path / "s.parquet", pa.table({"text": ["ab"] * 4, "long": ["x" * 50_000] * 4}))
    assert all(50_000 <= row.size < 51_000 for row in rows_of(reader(["text"], kept=["long"]), shard))
    assert all(row.size < 100 for row in rows_of(reader(["text"]), shard))


@pytest.mark.parametrize("kind", TEXT_TYPES)
def test_reader_reads_chosen_rows_of_every_text_type(tmp_path: Path, kind: str) -> None:
    shard = write(tmp_path / "s.parquet", pa.table({"text": TEXT_TYPES[kind]}))
    rows = rows_of(reader(["text"], kept=["text"]), shard, np.array([False, True, False, True, True, False]))
    assert values(rows, "text") == [None, "ünï ✓ 漢字 🦜", "x" * 100]


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        (pa.timestamp("ns", "UTC"), ["1970-01-01T00:00:00.000000001Z", datetime(1970, 1, 1, 0, 0, 0, 2, UTC), None]),
        (pa.timestamp("ns"), ["1970-01-01T00:00:00.000000001", datetime(1970, 1, 1, 0, 0, 0, 2), None]),
        (pa.time64("ns"), ["00:00:00.000000001", time(0, 0, 0, 2), None]),
    ],
    ids=str,
)
def test_reader_reads_nanoseconds_as_text_where_python_lacks_a_type(
    tmp_path: Path, kind: pa.DataType, wanted: list[Any]
) -> None:
    given = pa.array([1, 2000, None], pa.int64()).cast(kind)
    rows = rows_of(reader(["when"]), write(tmp_path / "s.parquet", pa.table({"when": given})))
    assert values(rows, "when") == wanted
    assert all(type(value) in (str, datetime, time, type(None)) for value in values(rows, "when"))


def test_reader_reads_nanoseconds_in_a_list(tmp_path: Path) -> None:
    given = pa.array([[1], None], pa.list_(pa.int64())).cast(pa.list_(pa.timestamp("ns")))
    rows = rows_of(reader(["when"]), write(tmp_path / "s.parquet", pa.table({"when": given})))
    assert [row.values["when"] is None for row in rows] == [False, True]


def test_reader_reads_numbers_and_booleans_unchanged(tmp_path: Path) -> None:
    table = pa.table({"n": pa.array([1, None], pa.int64()), "x": [0.5, None], "b": [True, None]})
    shard = write(tmp_path / "s.parquet", table)
    rows = rows_of(reader(["n", "x", "b"]), shard)
    assert [row.values for row in rows] == [{"n": 1, "x": 0.5, "b": True}, {"n": None, "x": None, "b": None}]
    assert rows[0].tokens == len("1\n0.5\nTrue")


def test_reader_counts_tokens_of_judged_columns_only(tmp_path: Path) -> None:
    shard = write(tmp_path / "s.parquet", pa.table({"q": ["ab"], "a": ["cde"], "id": ["12345"]}))
    (row,) = rows_of(reader(["q", "a", "id"], judged=["q", "a"]), shard)
    assert row.tokens == len("ab\ncde")
    assert set(row.values) == {"q", "a", "id"}


def test_reader_reads_nested_columns_only_when_requested(tmp_path: Path) -> None:
    nested = [{"name": "x", "tags": ["a", None]}, None]
    table = pa.table({"meta": nested, "list": [[1, 2], []], "text": ["a", "b"]})
    shard = write(tmp_path / "s.parquet", table)
    assert [row.values for row in rows_of(reader(["text"]), shard)] == [{"text": "a"}, {"text": "b"}]
    asked = rows_of(reader(["text", "meta"]), shard)
    assert values(asked, "meta") == nested


def test_reader_takes_a_dot_as_part_of_a_column_name(tmp_path: Path) -> None:
    shard = write(tmp_path / "s.parquet", pa.table({"a.b": ["flat"], "a": [1]}))
    (row,) = rows_of(reader(["a.b"], kept=["a"]), shard)
    assert (row.values, row.kept) == ({"a.b": "flat"}, (1,))


def test_reader_yields_every_row_for_a_judge_without_columns(tmp_path: Path) -> None:
    shard = write(tmp_path / "s.parquet", pa.table({"text": ["a"] * 5}))
    rows = rows_of(reader(constant=3), shard)
    assert [(row.number, row.values, row.tokens) for row in rows] == [(n, {}, 3) for n in range(5)]


_KINDS = {
    "bool": st.booleans(),
    "int8": st.integers(-(2**7), 2**7 - 1),
    "uint64": st.integers(0, 2**64 - 1),
    "float32": st.floats(width=32, allow_nan=False),
    "float64": st.floats(allow_nan=False),
    "string": st.text(max_size=20),
    "large_string": st.text(max_size=20),
    "string_view": st.text(max_size=20),
    "binary": st.binary(max_size=20),
    "date32": st.integers(-(10**5), 10**5),
    "time64[ns]": st.integers(0, 86_400 * 10**9 - 1),
    "timestamp[s]": st.integers(-(10**9), 10**10),
    "timestamp[ns]": st.integers(-(2**62), 2**62),
    "timestamp[us, UTC]": st.integers(-(2**50), 2**50),
    "timestamp[us, Europe/Paris]": st.integers(-(2**50), 2**50),
    "duration[ns]": st.integers(-(2**62), 2**62),
    "decimal": st.decimals(-(10**7), 10**7, places=3),
    "dictionary": st.text(max_size=5),
    "list": st.lists(st.none() | st.integers(0, 9), max_size=3),
    "list of timestamp[ns]": st.lists(st.integers(-(2**62), 2**62), max_size=3),
    "list of string_view": st.lists(st.none() | st.text(max_size=20), max_size=3),
    "struct of binary_view": st.fixed_dictionaries({"x": st.none() | st.binary(max_size=20)}),
    "struct": st.fixed_dictionaries({"x": st.none() | st.integers(0, 9), "y": st.text(max_size=3)}),
    "map": st.lists(st.tuples(st.text(max_size=3), st.integers(0, 9)), max_size=3, unique_by=lambda item: item[0]),
}


_ARROW = {
    "string_view": pa.string_view(),
    "binary": pa.binary(),
    "decimal": pa.decimal128(20, 3),
    "list": pa.list_(pa.int32()),
    "list of string_view": pa.list_(pa.string_view()),
    "struct of binary_view": pa.struct([("x", pa.binary_view())]),
    "struct": pa.struct([("x", pa.int8()), ("y", pa.string())]),
    "map": pa.map_(pa.string(), pa.int64()),
    "date32": pa.date32(),
    "time64[ns]": pa.time64("ns"),
    "timestamp[us, UTC]": pa.timestamp("us", "UTC"),
    "timestamp[us, Europe/Paris]": pa.timestamp("us", "Europe/Paris"),
}


def _arrow(kind: str, given: list[Any]) -> pa.Array:
    if kind == "dictionary":
        return pa.array(given, pa.string()).dictionary_encode()
    if kind == "list of timestamp[ns]":
        return pa.array(given, pa.list_(pa.int64())).cast(pa.list_(pa.timestamp("ns")))
    target = _ARROW.get(kind) or pa.type_for_alias(kind)
    if pa.types.is_temporal(target):
        whole = pa.int32() if kind == "date32" else pa.int64()
        return pa.array(given, whole).cast(target)
    return pa.array(given, target)


@st.composite
def _columns(draw: st.DrawFn) -> tuple[str, list[Any]]:
    kind = draw(st.sampled_from(sorted(_KINDS)))
    return kind, draw(st.lists(st.none() | _KINDS[kind], min_size=1, max_size=8))


@pytest.mark.slow
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(column=_columns())
def test_reader_kept_values_round_trip_with_type_and_value(tmp_path: Path, column: tuple[str, list[Any]]) -> None:
    """Slow: some examples for each of 24 types."""
    kind, given = column
    path = tmp_path / "s.parquet"
    shard = write(path, pa.table({"kept": _arrow(kind, given)}))
    before = pq.read_table(path)
    results = [
        Result(row, Score(1.0), None, None, None, None, None, None, 0, 0.0, 0.0, 0)
        for row in rows_of(reader(kept=["kept"]), shard)
    ]
    schema = result_schema(kept=[pq.read_schema(path).field("kept")])
    out = io.BytesIO()
    seg.write(out, iter([to_table(results, schema, "f")]), schema, {})
    after = pq.read_table(out).column("kept")
    assert after.type == before.column("kept").type
    assert after.combine_chunks().equals(before.column("kept").combine_chunks()) or (
        # Dictionaries may be numbered anew: the values count.
        after.to_pylist() == before.column("kept").to_pylist()
    )


def test_reader_makes_text_that_is_not_utf_8_a_problem_of_its_row(tmp_path: Path) -> None:
    text = pa.array([b"fine", b"\xff\xfe", b"too"], pa.binary()).view(pa.string())
    table = pa.table(
        {
            "text": text,
            "dictionary": text.dictionary_encode(),
            "list": pa.ListArray.from_arrays(pa.array([0, 1, 2, 3], pa.int32()), text),
            "other": ["a", "b", "c"],
        }
    )
    shard = write(tmp_path / "s.parquet", table)
    for column in ("text", "dictionary", "list"):
        for columns in ({"read": [column], "kept": ["other"]}, {"read": ["other"], "kept": [column, "other"]}):
            rows = rows_of(reader(**columns), shard)
            assert [row.problem is None for row in rows] == [True, False, True]
            assert rows[1].problem is not None
            assert rows[1].problem.name == "BadRow"
            assert f"column '{column}' holds a text that is not UTF-8" in rows[1].problem.detail
            assert [row.kept[-1] for row in rows] == ["a", "b", "c"]
            assert rows[1].values.get(column) is None
            assert len(rows[1].kept) == 1 or rows[1].kept[0] is None
            assert rows[0].values.get(column, "fine") in ("fine", ["fine"])
