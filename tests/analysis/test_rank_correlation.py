"""Spearman's correlation of rows in parts is that of all rows at once."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scorer.analysis import rank_correlation as module
from scorer.analysis.bootstrap import Bootstrap, Resamples
from scorer.analysis.correlation import Codes, Floats, spearman
from scorer.analysis.rank_correlation import rank_correlation
from scorer.analysis.resampled_correlation import EXACT_ROWS, spearman_draws


def compared(x: Floats, y: Floats, item: Codes, part: int) -> None:
    drawn = Bootstrap(30).draw(item)
    assert drawn is not None

    def pairs() -> Iterator[tuple[Floats, Floats, Codes]]:
        for first in range(0, len(x), part):
            rows = slice(first, first + part)
            yield x[rows], y[rows], drawn.cluster[rows]

    rho, draws = rank_correlation(pairs, drawn)
    whole = spearman(x, y)
    assert (rho is None) == (whole is None)
    if rho is not None and whole is not None:
        assert rho == pytest.approx(whole, abs=1e-12)
        np.testing.assert_allclose(draws, spearman_draws(x, y, drawn), atol=1e-9)
        assert rank_correlation(pairs, None)[0] == rho


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 60), st.sampled_from([1, 2, 5, 10**6]), st.integers(1, 40))
def test_parts_and_projection_are_those_of_the_whole(seed: int, rows: int, values: int, part: int) -> None:
    draw = np.random.default_rng(seed)
    x = draw.integers(0, values, rows).astype(float)
    y = x + draw.integers(0, 3, rows)
    with pytest.MonkeyPatch.context() as patch:
        if rows > 20:  # the way of many rows, which the bootstrap has as well
            patch.setattr(module, "EXACT_ROWS", 10)
            patch.setattr("scorer.analysis.resampled_correlation.EXACT_ROWS", 10)
        compared(x, y, draw.integers(0, 8, rows), part)


def test_many_rows_of_many_items() -> None:
    draw = np.random.default_rng(1)
    rows = 3 * EXACT_ROWS
    x = draw.normal(size=rows)
    compared(x, np.round(x + draw.normal(size=rows), 1), np.arange(rows), 1000)


def test_no_rows() -> None:
    nothing = Resamples(np.ones((3, 1)), np.empty(0, dtype=np.int64), 0)
    assert rank_correlation(list, nothing)[0] is None
