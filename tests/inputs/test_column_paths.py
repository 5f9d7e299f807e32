"""Promise: a path leads to the same value in every format, and one that leads nowhere is told."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from scorer.inputs.arrow_rows import ArrowRows
from scorer.inputs.column_paths import problem, roots, split, value_at
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
def test_the_longest_column_that_fits_comes_first(path: str, wanted: tuple[str, tuple[Any, ...]]) -> None:
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
def test_a_path_leads_to_the_same_value_in_arrow_and_in_json(path: str, wanted: Any) -> None:
    columns = {name: [value, None] for name, value in TALK.items()}
    assert PlainRows(columns, {}, [None, None], 0).values(path, {}) == [wanted, None]
    if problem(path, pa.Table.from_pylist([TALK]).schema) is None:
        (batch,) = pa.table({name: pa.array(values) for name, values in columns.items()}).to_batches()
        assert ArrowRows(batch).values(path, {}) == [wanted, None]


def test_a_map_is_read_by_its_keys_and_null_within_stays_null() -> None:
    kind = pa.map_(pa.string(), pa.int64())
    batch = pa.record_batch({"m": pa.array([[("a", 1)], None, []], kind)})
    assert ArrowRows(batch).values("m.a", {}) == [1, None, None]
    assert problem("m.a", batch.schema) is None
    assert value_at({"a": None}, ("a", "b")) is None


def test_a_column_of_type_null_tells_nothing() -> None:
    assert problem("a.b[0]", pa.schema([("a", pa.null())])) is None
