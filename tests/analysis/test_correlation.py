"""Every statistic equals scipy's, group by group, and is None where it is undefined."""

import warnings
from itertools import combinations

import numpy as np
import pytest
import scipy
from hypothesis import given, settings
from hypothesis import strategies as st

from scorer.analysis.calibrated_ties import calibrate_ties
from scorer.analysis.correlation import (
    STATISTICS,
    by_group,
    kendall,
    midranks,
    pairwise_accuracy,
    pearson,
    runs,
    spearman,
)

grades = st.integers(-2, 3).map(float)
measured = st.floats(-1e6, 1e6, allow_subnormal=False).map(lambda v: round(v, 3))
SCIPY = {"pearson": "pearsonr", "spearman": "spearmanr", "kendall": "kendalltau"}


@st.composite
def grouped_columns(draw):
    n = draw(st.integers(1, 40))
    kind = draw(st.sampled_from([grades, measured]))
    x, y = (np.array(draw(st.lists(kind, min_size=n, max_size=n))) for _ in range(2))
    group = np.array(draw(st.lists(st.integers(0, 4), min_size=n, max_size=n)))
    return x, y, np.unique(group, return_inverse=True)[1]


def by_scipy(statistic, x, y):
    if len(x) < 2:
        return np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return getattr(scipy.stats, SCIPY[statistic])(x, y)[0]


def by_counting(x, y):
    pairs = list(combinations(range(len(x)), 2))
    alike = sum(np.sign(x[i] - x[j]) == np.sign(y[i] - y[j]) for i, j in pairs)
    return alike / len(pairs) if pairs else np.nan


@settings(max_examples=15, deadline=None)
@given(grouped_columns())
def test_by_group_equals_scipy_in_each_group(columns):
    x, y, group = columns
    found = by_group(x, y, group)
    for g in range(group.max() + 1):
        mine = group == g
        assert found.rows[g] == mine.sum()
        for statistic in SCIPY:
            np.testing.assert_allclose(
                getattr(found, statistic)[g], by_scipy(statistic, x[mine], y[mine]), atol=1e-9, err_msg=statistic
            )
        np.testing.assert_allclose(found.pairwise_accuracy[g], by_counting(x[mine], y[mine]))


def test_worked_examples_of_the_docstrings_hold():
    a, b = np.array([1.0, 2, 2, 3]), np.array([1.0, 3, 2, 2])
    assert pearson(np.array([1.0, 2, 3]), np.array([1.0, 2, 4])) == pytest.approx(0.98198, abs=1e-5)
    assert kendall(a, b) == pytest.approx(0.4)
    assert pairwise_accuracy(a, b) == pytest.approx(0.5)


def test_statistics_are_none_where_undefined():
    one, flat, rising = np.array([1.0]), np.array([2.0, 2, 2]), np.array([1.0, 2, 3])
    empty = np.array([])
    for function in (pearson, spearman, kendall):
        assert function(empty, empty) is None
        assert function(one, one) is None
        assert function(flat, rising) is None
        assert function(rising, flat) is None
    assert pairwise_accuracy(empty, empty) is None
    assert pairwise_accuracy(one, one) is None
    assert pairwise_accuracy(flat, flat) == 1.0
    assert pairwise_accuracy(flat, rising) == 0.0


@pytest.mark.parametrize("scale", [1e-300, 1e-12, 1.0, 1e150, 1e300])
def test_pearson_neither_over_nor_underflows(scale):
    x, y = np.array([1.0, 2, 3]) * scale, np.array([1.0, 2, 4]) * scale
    assert pearson(x, y) == pytest.approx(0.98198, abs=1e-5)


def test_pearson_takes_equal_decimal_fractions_as_constant():
    assert pearson(np.full(10, 0.1), np.arange(10.0)) is None


def test_pearson_survives_a_large_offset():
    x = np.arange(100.0)
    assert pearson(x + 1e9, np.sin(x)) == pytest.approx(scipy.stats.pearsonr(x, np.sin(x))[0], abs=1e-6)


def test_midranks_start_again_in_each_group():
    values, group = np.array([5.0, 5, 1, 9, 7]), np.array([0, 0, 0, 1, 1])
    assert midranks(runs(values, group), group).tolist() == [2.5, 2.5, 1.0, 2.0, 1.0]


def by_trying_every_threshold(x, y, group):
    best = None
    pairs = [(i, j) for i, j in combinations(range(len(x)), 2) if group[i] == group[j]]
    for threshold in sorted({0.0, *(abs(x[i] - x[j]) for i, j in pairs)}):
        right = {}
        for i, j in pairs:
            dx = x[i] - x[j]
            mine = 0.0 if abs(dx) <= threshold else np.sign(dx)
            right.setdefault(group[i], []).append(mine == np.sign(y[i] - y[j]))
        mean = np.mean([np.mean(of_group) for of_group in right.values()]) if right else np.nan
        if best is None or mean > best[1] + 1e-9:
            best = threshold, mean
    return best


@settings(max_examples=20, deadline=None)
@given(grouped_columns())
def test_tie_calibration_finds_the_best_threshold(columns):
    x, y, group = columns
    threshold, accuracy = calibrate_ties(x, y, group)
    expected = by_trying_every_threshold(x, y, group)
    assert threshold == expected[0]
    known = accuracy[np.isfinite(accuracy)]
    np.testing.assert_allclose(known.mean() if len(known) else np.nan, expected[1])


def test_tie_calibration_helps_a_continuous_judge_of_few_grades():
    rng = np.random.default_rng(0)
    human = rng.integers(1, 4, 300).astype(float)
    score = human + rng.normal(0, 0.05, 300)
    group = np.repeat(np.arange(50), 6)
    plain = by_group(score, human, group).pairwise_accuracy.mean()
    threshold, accuracy = calibrate_ties(score, human, group)
    assert plain < 0.8 < 0.99 < accuracy.mean()
    assert 0.05 < threshold < 0.95


def test_statistics_are_named_after_the_fields_of_a_group():
    found = by_group(np.array([1.0, 2]), np.array([1.0, 2]), np.array([0, 0]))
    assert [getattr(found, name)[0] for name in STATISTICS] == [1.0, 1.0, 1.0, 1.0]
