"""Promise: judges are compared with each other over the rows that both scored, and what one lacks is counted."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scorer.analysis.bootstrap import Bootstrap
from scorer.analysis.inter_judge import inter_judge
from scorer.errors import SpecError

NONE = Bootstrap(0)


def test_inter_judge_compares_each_pair_over_the_rows_of_both() -> None:
    frame = pl.DataFrame({"a": [1.0, 2, 3, None], "b": [1.0, 2, 3, 4], "c": [3.0, 2, None, None]}).lazy()
    found = inter_judge(frame, ["a", "b", "c"], bootstrap=NONE).json()
    pairs = {(pair["first"], pair["second"]): pair for pair in found["pairs"]}
    assert list(pairs) == [("a", "b"), ("a", "c"), ("b", "c")]
    assert [pair["n"] for pair in pairs.values()] == [3, 2, 2]
    assert [(pair["only_first"], pair["only_second"]) for pair in pairs.values()] == [(0, 1), (1, 0), (2, 0)]
    assert pairs["a", "b"]["dataset"]["pearson"] == pytest.approx(1.0)
    assert pairs["a", "c"]["dataset"]["pearson"] == pytest.approx(-1.0)
    assert pairs["a", "b"]["labels"]["kappa"] == pytest.approx(1.0)
    assert found["rows"] == 4
    assert found["alpha"]["interval"] < 0.6


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5)), min_size=2, max_size=30))
def test_inter_judge_is_symmetric(rows: list[tuple[int, int]]) -> None:
    values = np.array(rows, dtype=np.float64)
    frame = pl.DataFrame({"a": values[:, 0], "b": values[:, 1]}).lazy()
    one, other = (inter_judge(frame, names, bootstrap=NONE).json() for names in (["a", "b"], ["b", "a"]))
    for statistic in ("pearson", "spearman", "kendall", "pairwise_accuracy"):
        assert one["pairs"][0]["dataset"][statistic] == pytest.approx(other["pairs"][0]["dataset"][statistic])
    assert one["alpha"] == pytest.approx(other["alpha"])


def test_inter_judge_refuses_one_judge_and_pairs_without_common_rows() -> None:
    frame = pl.DataFrame({"a": [1.0, 2, None], "b": [None, None, 3.0]}).lazy()
    with pytest.raises(SpecError, match="needs two score columns or more"):
        inter_judge(frame, ["a", "a"])
    with pytest.raises(SpecError, match="Rows with both a and b: 0"):
        inter_judge(frame, ["a", "b"])
