"""Promise: a column path reads the same value from every format, and a path without a value is reported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scorer.inputs.arrow_rows import ArrowRows
from scorer.inputs.column_paths import leaves, problem, roots, split, value_at
from scorer.inputs.formats.parquet import Parquet
from scorer.inputs.formats.protocol import Wanted
from scorer.inputs.pieces import Batch
from scorer.inputs.plain_rows import PlainRows

TALK = {"messages": [{"role": "user", "content": "a"}, {"role": "bot", "content": "b"}], "meta": {"x": {"y": 1}}}


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("a", ("a", ())),
        ("a.b", ("a.b", ())),
        ("a.b[0].c", ("a.b", (0, "c"))),
        ("a.c", ("a", ("c",))),
        ("a[-1]", ("a", (-1,))),
        ("a[0][1]", ("a", (0, 1))),
        ("ab", ("ab", ())),
        ("a..b", ("a..b", ())),
        ("a[x]", ("a[x]", ())),
        ("a.", ("a.", ())),
        ("odd name.x", ("odd name", ("x",))),
    ],
)
def test_split_prefers_the_longest_matching_column(path: str, wanted: tuple[str, tuple[Any, ...]]) -> None:
    assert split(path, ("a", "a.b", "odd name")) == wanted


def test_roots_are_the_columns_to_read() -> None:
    assert roots(["a.x", "a.y", "b", "c[0]"], ["a", "b", "c"]) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("messages[-1].content", "b"),
        ("messages[0].role", "user"),
        ("messages[2].content", None),
        ("messages[-3].content", None),
        ("meta.x.y", 1),
        ("meta.x", {"y": 1}),
        ("meta.z", None),
        ("meta.x.y.z", None),
        ("messages.role", None),
    ],
)
def test_column_path_reads_the_same_value_from_arrow_and_json(path: str, wanted: Any) -> None:
    columns = {name: [value, None] for name, value in TALK.items()}
    assert PlainRows(columns, {}, [None, None], 0).values(path, {}) == [wanted, None]
    if problem(path, pa.Table.from_pylist([TALK]).schema) is None:
        (batch,) = pa.table({name: pa.array(values) for name, values in columns.items()}).to_batches()
        assert ArrowRows(batch).values(path, {}) == [wanted, None]


def test_column_path_reads_maps_by_key_and_keeps_null() -> None:
    kind = pa.map_(pa.string(), pa.int64())
    batch = pa.record_batch({"m": pa.array([[("a", 1)], None, []], kind)})
    assert ArrowRows(batch).values("m.a", {}) == [1, None, None]
    assert problem("m.a", batch.schema) is None
    assert value_at({"a": None}, ("a", "b")) is None


def test_problem_accepts_a_path_into_a_null_column() -> None:
    assert problem("a.b[0]", pa.schema([("a", pa.null())])) is None


SCHEMA = pa.Table.from_pylist(
    [{"meta": {"x": {"y": 1, "z": 2}, "w": 3}, "talk": [{"role": "u"}], "a.b": 1, "a": {"b": 2}}]
).schema


@pytest.mark.parametrize(
    ("paths", "wanted"),
    [
        (["meta.x.y"], ["meta.x.y"]),
        (["meta.x.y", "meta.w", "meta.w"], ["meta.x.y", "meta.w"]),
        (["meta.x.y", "meta"], ["meta"]),
        (["talk[0].role", "meta.x"], ["talk", "meta.x"]),
        (["a.b", "a"], ["a.b", "a"]),
        (["a.c"], ["a"]),
    ],
)
def test_leaves_are_only_the_needed_fields(paths: list[str], wanted: list[str]) -> None:
    assert leaves(paths, SCHEMA) == wanted


def test_parquet_reads_only_the_needed_fields(tmp_path: Path) -> None:
    path = tmp_path / "s.parquet"
    pq.write_table(
        pa.table({"meta": [{"x": {"y": 1, "z": 2}, "w": 3}, None], "a.b": [5, 6], "a": [{"b": 7}, {"b": 8}]}), path
    )
    with path.open("rb") as file:
        (batch,) = Parquet().batches(file, Wanted(["meta.x.y", "a.b"], 2))
    assert isinstance(batch, Batch)
    assert batch.rows.values("meta.x.y", {}) == [1, None]
    assert batch.rows.values("a.b", {}) == [5, 6]
    assert isinstance(batch.rows, ArrowRows)
    assert batch.rows.batch.schema.field("meta").type == pa.struct([("x", pa.struct([("y", pa.int64())]))])
