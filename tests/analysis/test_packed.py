"""A table that is held in compressed parts is the table."""

from __future__ import annotations

import math
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal, assert_series_equal

from scorer.analysis import packed
from scorer.analysis.columns import take
from scorer.analysis.packed import Packed, narrow

numbers = st.one_of(st.none(), st.floats(width=64), st.sampled_from([0.1, 1.0, 2.5, math.nan, math.inf]))


@given(st.lists(numbers, min_size=1, max_size=20))
def test_numbers_are_kept_exactly(values: list[float | None]) -> None:
    given = pl.Series("value", values, dtype=pl.Float64)
    assert_series_equal(narrow(given).cast(pl.Float64), given, check_exact=True)


@given(st.lists(st.tuples(st.integers(-(10**12), 10**12), numbers), max_size=20), st.integers(1, 5), st.data())
def test_rows_come_back_as_they_were_given(rows: list[tuple[int, float | None]], step: int, data: Any) -> None:
    schema = {"count": pl.Int64, "value": pl.Float64}
    whole = pl.DataFrame(rows, schema=schema, orient="row")
    frames = [pl.DataFrame([narrow(one) for one in part]) for part in whole.iter_slices(step)] if rows else [whole]
    found = Packed(frames)
    assert found.height == len(rows)
    for read in (pl.concat(found.frames()), found.lazy.collect()):
        assert_frame_equal(read.cast(schema), whole, check_exact=True)
    if rows:
        places = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=10))
        assert_frame_equal(found.rows(places).cast(schema), whole[places], check_exact=True)
        assert_series_equal(found.column("count").cast(pl.Int64), whole["count"])


values = {
    pl.String: st.text(max_size=3),
    pl.Int64: st.integers(-5, 5),
    pl.Boolean: st.booleans(),
    pl.Enum(["z", "b", "a"]): st.sampled_from(["z", "a"]),
    pl.Date: st.dates(),
}


@given(st.data())
def test_codes_are_the_ranks_of_the_values_whatever_the_parts(data: Any) -> None:
    kind = data.draw(st.sampled_from(list(values)))
    names = pl.Series("name", data.draw(st.lists(values[kind], max_size=12)), dtype=kind)
    ranks = names.rank("dense").cast(pl.Int64) - 1
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packed, "PART_ROWS", data.draw(st.integers(1, 5)))
        columns = take(names.to_frame().lazy(), [], ["name"])
        codes, texts = columns.codes("name")
    assert codes.tolist() == ranks.to_list()
    assert [texts[code] for code in codes] == [str(value) for value in names]
    assert_series_equal(columns.names("name"), names)


def test_numbers_in_texts_are_refused_with_one_of_all_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "PART_ROWS", 2)
    monkeypatch.setattr("scorer.analysis.reading.PART_ROWS", 2)
    frame = pl.LazyFrame({"score": ["1", "2", "three", "4", "five"], "model": ["a", None, "a", "b", None]})
    with pytest.raises(Exception, match=r"'three' in 2 of 5 rows") as error:
        take(frame, ["score"], ["model"])
    assert "Column model is null in 2 rows" in str(error.value)
