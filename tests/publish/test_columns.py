"""Every Arrow type becomes a type of the table that holds all its values, or is refused by name."""

from __future__ import annotations

import datetime
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scorer.build.plan import check
from scorer.config.loader import read_toml
from scorer.errors import SpecError
from scorer.publish.columns import DELTA, ICEBERG, Format, added, lake_schema, lake_type, same_partitions

FORMATS = pytest.mark.parametrize("form", [DELTA, ICEBERG], ids=lambda form: form.name)

UTC = datetime.UTC
VALUES: list[tuple[pa.DataType, list[Any]]] = [
    (pa.int8(), [-128, 127]),
    (pa.uint8(), [0, 255]),
    (pa.int16(), [-(2**15), 2**15 - 1]),
    (pa.uint16(), [0, 2**16 - 1]),
    (pa.uint32(), [0, 2**32 - 1]),
    (pa.uint64(), [0, 2**64 - 1]),
    (pa.float16(), [0.5, -2.0]),
    (pa.float32(), [0.5]),
    (pa.bool_(), [True, False]),
    (pa.large_string(), ["", "x"]),
    (pa.string_view(), ["", "x"]),
    (pa.large_binary(), [b"", b"x"]),
    (pa.binary(2), [b"ab"]),
    (pa.date32(), [datetime.date(2026, 11, 24)]),
    (pa.date64(), [datetime.date(2026, 11, 24)]),
    (pa.timestamp("s"), [datetime.datetime(2026, 11, 24)]),
    (pa.timestamp("ms", "Europe/Berlin"), [datetime.datetime(2026, 11, 24, tzinfo=UTC)]),
    (pa.timestamp("ns", "UTC"), [datetime.datetime(2026, 11, 24, 1, 2, 3, 456_789, tzinfo=UTC)]),
    (pa.decimal128(5, 2), [Decimal("123.45")]),
    (pa.decimal256(38, 2), [Decimal("123.45")]),
    (pa.dictionary(pa.int8(), pa.string()), ["a", "b", "a"]),
    (pa.list_(pa.uint8()), [[1, None], []]),
    (pa.large_list(pa.large_string()), [["x"], [None]]),
    (pa.list_(pa.int32(), 2), [[1, 2]]),
    (pa.struct([("a", pa.uint16()), ("b", pa.large_string())]), [{"a": 65535, "b": "x"}, {"a": None, "b": None}]),
    (pa.map_(pa.string(), pa.uint32()), [[("k", 2**32 - 1)]]),
]


@FORMATS
@pytest.mark.parametrize(
    ("kind", "values"), VALUES, ids=lambda value: str(value) if isinstance(value, pa.DataType) else ""
)
def test_lake_type_keeps_every_value(form: Format, kind: pa.DataType, values: list[Any]) -> None:
    array = pa.array([*values, None], kind)
    target = lake_type(kind, form)
    assert target is not None
    cast = array.cast(target)
    assert [_plain(value) for value in cast.to_pylist()] == [_plain(value) for value in array.to_pylist()]
    assert lake_type(target, form) == target, "the table's own type stays as it is"


def _plain(value: Any) -> Any:
    """Decimals and instants by their value, whatever their scale or zone."""
    if isinstance(value, datetime.datetime) and value.tzinfo is not None:
        return value.astimezone(UTC)
    return int(value) if isinstance(value, Decimal) and value == int(value) else value


@FORMATS
@pytest.mark.parametrize(
    "kind", [pa.duration("us"), pa.month_day_nano_interval(), pa.decimal256(50, 2), pa.list_(pa.duration("s"))], ids=str
)
def test_lake_schema_refuses_a_type_without_an_equivalent_by_name(form: Format, kind: pa.DataType) -> None:
    schema = pa.schema([("row", pa.int64()), ("took", kind), ("other", kind)])
    with pytest.raises(SpecError) as raised:
        lake_schema(schema, form)
    assert [problem.split()[1] for problem in raised.value.problems] == ["took", "other"], "all at once"
    assert f"a {form.name} table has no place for" in raised.value.problems[0]


def test_lake_type_of_a_time_of_day_exists_in_iceberg_only() -> None:
    assert lake_type(pa.time32("s"), ICEBERG) == pa.time64("us")
    assert lake_type(pa.time32("s"), DELTA) is None


def test_lake_type_widens_small_integers_for_iceberg_only() -> None:
    assert lake_type(pa.uint8(), DELTA) == pa.int16()
    assert lake_type(pa.uint8(), ICEBERG) == pa.int32()


@FORMATS
def test_lake_schema_leaves_out_untyped_columns_and_refuses_names_that_differ_in_case(form: Format) -> None:
    assert lake_schema(pa.schema([("a", pa.int64()), ("b", pa.null())]), form).names == ["a"]
    with pytest.raises(SpecError, match="Columns Model and model differ in case only"):
        lake_schema(pa.schema([("Model", pa.string()), ("model", pa.string())]), form)


TABLE = pa.schema(
    [("scorer_run", pa.string()), ("shard", pa.large_string()), ("row", pa.int64()), ("generation", pa.int32())]
)


def test_added_columns_are_nullable_and_existing_ones_must_fit() -> None:
    new = pa.schema([*TABLE, pa.field("score", pa.float64(), nullable=False)])
    wanted = lake_schema(new, DELTA)
    assert added(TABLE, wanted, DELTA, "delta://t") == [pa.field("score", pa.float64())]
    other = pa.schema([*TABLE, pa.field("score", pa.string()), pa.field("must", pa.string(), nullable=False)])
    with pytest.raises(SpecError) as raised:
        added(other, wanted, DELTA, "delta://t")
    assert "has a column score of type string, and these scores have one of type double" in raised.value.problems[0]
    assert "wants a value in must" in raised.value.problems[1]


def test_same_partitions_refuses_other_partitions() -> None:
    same_partitions(["task"], [], "delta://t")
    same_partitions(["task"], ["task"], "delta://t")
    with pytest.raises(SpecError, match="is partitioned by nothing, and --partition-by asks for task"):
        same_partitions([], ["task"], "delta://t")


# Dictionaries stay at the top: pyarrow 26 cannot cast an empty one in a struct (ArrowIndexError, reported).
TOP = st.sampled_from([kind for kind, _ in VALUES] + [pa.duration("us"), pa.null()])
PLAIN = st.sampled_from([kind for kind, _ in VALUES if not pa.types.is_dictionary(kind)] + [pa.duration("us")])
TYPES = TOP | st.recursive(
    PLAIN,
    lambda inner: (
        st.builds(pa.list_, inner)
        | st.builds(lambda kind: pa.struct([("x", kind), ("y", pa.int8())]), inner)
        | st.builds(lambda kind: pa.map_(pa.string(), kind), inner)
    ),
    max_leaves=3,
)


@pytest.mark.slow
@FORMATS
@given(kind=TYPES)
def test_lake_type_of_any_column_is_a_fixed_point_and_castable(form: Format, kind: pa.DataType) -> None:
    """Slow: a hundred types."""
    target = lake_type(kind, form)
    if target is not None:
        assert lake_type(target, form) == target
        assert pa.array([None], kind).cast(target).to_pylist() == [None]


def test_the_run_file_in_the_documentation_is_one() -> None:
    text = (Path(__file__).resolve().parents[2] / "docs/how-to/publishing.md").read_text()
    blocks = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    assert len(blocks) == 1
    output = check(read_toml("publishing.md", blocks[0])).spec.output
    assert (output.publish, output.partition_by) == ("delta://lake/scores", ("scorer_run",))
