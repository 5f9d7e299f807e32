"""Promise: a column that holds one value alone is stored as any other."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scorer.output.tables import REPEATED_ROWS, _array

LENGTHS = st.integers(0, 2 * REPEATED_ROWS)
TEXTS = st.sampled_from(["", "gpt", "0.5 \u00e9", None])
NUMBERS = st.sampled_from([0, 7, -1, True, None])


@given(LENGTHS, TEXTS, st.lists(TEXTS, max_size=2))
def test_texts_are_those_that_were_given(length: int, text: str | None, others: list[str | None]) -> None:
    _same_as_given([text] * length, others, pa.string())


@given(LENGTHS, NUMBERS, st.lists(NUMBERS, max_size=2), st.sampled_from([pa.int32(), pa.int64(), pa.float64()]))
def test_numbers_are_those_that_were_given(
    length: int, number: int | None, others: list[int | None], kind: pa.DataType
) -> None:
    _same_as_given([number] * length, others, kind)


def _same_as_given(same: list[Any], others: list[Any], kind: pa.DataType) -> None:
    for values in (same + others, others + same, same + others + same):
        try:
            expected = pa.array(values, kind)
        except pa.ArrowException as refused:  # a number among truth values
            with pytest.raises(type(refused)):
                _array(values, kind)
        else:
            found = _array(values, kind)
            assert found.equals(expected)
            assert found.null_count == expected.null_count


def test_a_repeated_lone_surrogate_is_replaced() -> None:
    assert _array(["saw \ud83d"] * REPEATED_ROWS, pa.string()).to_pylist() == ["saw ?"] * REPEATED_ROWS


@pytest.mark.parametrize("value", [2**31, "7"])
def test_a_repeated_value_that_its_column_cannot_hold_is_refused(value: Any) -> None:
    with pytest.raises((pa.ArrowException, OverflowError)):
        _array([value] * REPEATED_ROWS, pa.int32())
