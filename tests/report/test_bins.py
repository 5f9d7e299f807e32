"""Bins of the page's histograms: each value has one, and its SQL condition is true for that value alone."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scorer.report.page.bins import bins_of
from scorer.report.page.column_summary import quantiles, summary_of
from scorer.report.page.conditions import between, equals, together

NUMBERS = st.floats(-1e6, 1e6, allow_nan=False) | st.integers(-5, 5).map(float) | st.sampled_from([0.1 + 0.2, 1 / 3])


@given(st.lists(NUMBERS | st.just(math.nan), min_size=1, max_size=40), st.booleans())
@settings(max_examples=150, deadline=None)
def test_every_value_is_in_the_one_bin_whose_condition_it_meets(values: list[float], scaled: bool) -> None:
    column = np.array(values)
    known = column[np.isfinite(column)]
    scale = (float(known.min()) - 1, float(known.max()) + 1) if scaled and len(known) else None
    bins = bins_of('a "score"', summary_of([column]), scale)
    if bins is None:
        assert not len(known)
        return
    codes = bins.codes(column)
    assert ((codes == -1) == np.isnan(column)).all()
    frame = pl.DataFrame({'a "score"': pl.Series(column).fill_nan(None)})
    meets = [
        frame.select(pl.sql_expr(bins.where(code) or "")).to_series().fill_null(False) for code in range(bins.size)
    ]
    for row, code in enumerate(codes.tolist()):
        assert [at for at, met in enumerate(meets) if met[row]] == ([] if code < 0 else [code])


def test_bins_of_a_scale_have_each_whole_number_and_of_many_values_equal_ranges() -> None:
    few = bins_of("score", summary_of([np.array([2.0]), np.array([4.0, math.inf])]), (1.0, 5.0))
    assert few
    assert few.values == [1.0, 2.0, 3.0, 4.0, 5.0]
    many = bins_of("score", summary_of([np.linspace(0.0, 1.0, 50)]), (0.0, 1.0))
    assert many
    assert (many.size, many.edges[0], many.edges[-1]) == (20, 0.0, 1.0)
    assert many.codes(np.array([0.0, 0.05, 1.0])).tolist() == [0, 1, 19]
    assert bins_of("score", summary_of([np.array([math.nan])])) is None


@pytest.mark.parametrize("value", [math.inf, "a\0b", object()])
def test_a_value_that_sql_cannot_name_has_no_condition(value: object) -> None:
    assert equals("score", value) is None
    assert together(["a = 1", equals("score", value)]) is None
    assert between("\0derived", 0.0, 1.0, closed=True) is None


@given(st.lists(NUMBERS, min_size=1, max_size=40), st.integers(1, 7))
def test_quantiles_of_parts_are_those_of_all_numbers(values: list[float], part: int) -> None:
    shares = np.linspace(0, 1, 11)
    found = quantiles([np.array(values[at : at + part]) for at in range(0, len(values), part)], shares)
    np.testing.assert_allclose(found, np.quantile(np.array(values), shares), rtol=1e-12, atol=1e-12)
