"""Promise: equal columns of many batches take memory once, and every value stays what it was."""

from __future__ import annotations

import struct

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scorer.files.arrow_share import EqualColumns

FIELDS = {
    "text": (pa.string(), st.sampled_from(["", "a", "judge"])),
    "number": (pa.int32(), st.sampled_from([0, 1])),
    "score": (pa.float64(), st.sampled_from([0.0, -0.0, float("nan"), 1.0])),
    "flag": (pa.bool_(), st.booleans()),
    "list": (pa.list_(pa.float64()), st.sampled_from([[], [0.0], [-0.0]])),
}


def batch(columns: dict[str, list[object]]) -> pa.RecordBatch:
    schema = pa.schema([(name, FIELDS[name][0]) for name in columns], metadata={"k": "v"})
    return pa.RecordBatch.from_pydict(columns, schema=schema)


def plain(batch: pa.RecordBatch) -> str:
    """The values; -0.0 and the bits of NaN are told apart."""
    return repr(
        [[struct.pack("d", v) if isinstance(v, float) else str(v) for v in c.to_pylist()] for c in batch.columns]
    )


@st.composite
def batches(draw: st.DrawFn) -> list[pa.RecordBatch]:
    made = []
    for _ in range(draw(st.integers(1, 5))):
        names = draw(st.lists(st.sampled_from(list(FIELDS)), unique=True, min_size=1))
        rows = draw(st.integers(0, 4))
        values = {name: draw(st.lists(st.none() | FIELDS[name][1], min_size=rows, max_size=rows)) for name in names}
        whole = batch(values)
        made += [whole, whole.slice(draw(st.integers(0, rows)))]
    return made


@given(batches())
def test_shared_batches_have_the_same_values_and_schema(given_batches: list[pa.RecordBatch]) -> None:
    equal = EqualColumns()
    for one in given_batches:
        shared = equal.shared(one)
        shared.validate(full=True)
        assert shared.schema.equals(one.schema, check_metadata=True)
        assert plain(shared) == plain(one)


@pytest.mark.parametrize(("name", "values"), [("score", (0.0, -0.0)), ("list", ([0.0], [-0.0]))])
def test_the_sign_of_zero_stays(name: str, values: tuple[object, object]) -> None:
    equal = EqualColumns()
    for value in values:
        one = batch({name: [value, value]})
        assert plain(equal.shared(one)) == plain(one)


def test_equal_columns_take_memory_once() -> None:
    equal = EqualColumns()
    made = [batch({"text": ["judge"] * rows, "number": list(range(rows))}) for rows in (1000, 10, 1000, 999)]
    shared = pa.Table.from_batches([equal.shared(one) for one in made])
    assert shared.column("text").get_total_buffer_size() == made[0].column("text").get_total_buffer_size()
    assert shared.column("number").to_pylist() == [n for one in made for n in range(one.num_rows)]


def test_a_column_of_another_value_takes_the_place_of_the_one_before() -> None:
    equal = EqualColumns()
    texts = [["a"] * 5, ["b"] * 9, ["b"] * 7, ["a"] * 5]
    buffers = [equal.shared(batch({"text": text})).column("text").buffers()[2].address for text in texts]
    assert buffers[1] == buffers[2]
    assert len(set(buffers)) == 3


def test_a_column_of_many_values_is_not_held() -> None:
    equal = EqualColumns()
    before = pa.total_allocated_bytes()
    equal.shared(batch({"text": [f"{n}" * 100_000 for n in range(10)]}))
    assert pa.total_allocated_bytes() - before < 100_000
