"""Correlations of many rows, by a table of their values and some groups at a time, are those of few rows."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scorer.analysis import bootstrap, correlation, pair_table, resampled_correlation
from scorer.analysis.bootstrap import resample
from scorer.analysis.correlation import Grouped, by_group
from scorer.analysis.resampled_correlation import correlations


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10**6),
    st.integers(5, 80),
    st.sampled_from([1, 2, 4, 1000]),
    st.integers(1, 12),
    st.integers(1, 4),
)
def test_many_rows_have_the_statistics_of_few(seed: int, rows: int, values: int, groups: int, step: int) -> None:
    draw = np.random.default_rng(seed)
    x = draw.integers(0, values, rows).astype(float) / 3
    y = np.round(x + draw.normal(size=rows), draw.integers(0, 2))
    item = np.unique(draw.integers(0, groups, rows), return_inverse=True)[1].astype(np.int64)
    drawn = resample(item, 25, seed)
    whole = np.zeros(rows, dtype=np.int64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resampled_correlation, "EXACT_ROWS", 0)
        few = [by_group(x, y, whole), by_group(x, y, item)], correlations(x, y, drawn)
        for module in (bootstrap, correlation, pair_table, resampled_correlation):
            patch.setattr(module, "ROWS_AT_ONCE", step)
        for cells in (1, 10**6):  # without and with a table
            patch.setattr(pair_table, "MOST_CELLS", cells)
            many = [by_group(x, y, whole), by_group(x, y, item)], correlations(x, y, drawn)
            for one, other in zip(few[0], many[0], strict=True):
                for each in fields(Grouped):
                    np.testing.assert_allclose(getattr(other, each.name), getattr(one, each.name), atol=1e-12)
            for name, draws in few[1].items():
                # A variance at the limit of rounding is undefined on one side or both.
                both = np.isfinite(draws) & np.isfinite(many[1][name])
                assert both.sum() >= np.isfinite(draws).sum() - 1
                np.testing.assert_allclose(many[1][name][both], draws[both], atol=1e-7)
