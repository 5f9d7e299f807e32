"""A weighted resample is the resample written out; approximations stay within the noise; one seed, one interval."""

import warnings

import numpy as np
import pytest
import scipy
from hypothesis import given, settings
from hypothesis import strategies as st

from scorer.analysis import bootstrap, resampled_correlation
from scorer.analysis.bootstrap import mean, resample, share_interval
from scorer.analysis.correlation import STATISTICS
from scorer.analysis.resampled_correlation import correlations


def table(n, items, *, seed=0, grades=False):
    rng = np.random.default_rng(seed)
    item = np.arange(n) % items
    quality = rng.normal(size=items)[item] + rng.normal(size=n)
    x, y = quality + rng.normal(size=n), quality + rng.normal(size=n)
    return (np.round(x), np.round(y), item) if grades else (x, y, item)


@st.composite
def tables(draw):
    n = draw(st.integers(2, 25))
    values = st.integers(0, draw(st.integers(1, 8))).map(float)
    x, y = (np.array(draw(st.lists(values, min_size=n, max_size=n))) for _ in range(2))
    item = np.array(draw(st.lists(st.integers(0, 6), min_size=n, max_size=n)))
    return x, y, np.unique(item, return_inverse=True)[1]


def accuracy_of_distinct_rows(x, y, row):
    """Agreeing ordered pairs of the written-out resample, pairs of one row's copies left out."""
    pairs = np.not_equal.outer(row, row)
    alike = np.sign(np.subtract.outer(x, x)) == np.sign(np.subtract.outer(y, y))
    return (alike & pairs).sum() / pairs.sum() if pairs.any() else np.nan


@settings(max_examples=25, deadline=None)
@given(tables())
def test_weights_give_the_statistics_of_the_resample_written_out(columns):
    x, y, item = columns
    drawn = resample(item, 4, seed=3)
    found = correlations(x, y, drawn)
    for b, weights in enumerate(drawn.weights):
        row = np.repeat(np.arange(len(x)), weights[drawn.cluster].astype(int))
        a, h = x[row], y[row]
        varied = len(row) > 1 and np.ptp(a) > 0 and np.ptp(h) > 0
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for name, function in (
                ("pearson", scipy.stats.pearsonr),
                ("spearman", scipy.stats.spearmanr),
                ("kendall", scipy.stats.kendalltau),
            ):
                expected = function(a, h)[0] if varied else np.nan
                np.testing.assert_allclose(found[name][b], expected, atol=1e-6, err_msg=name)
        np.testing.assert_allclose(found["pairwise_accuracy"][b], accuracy_of_distinct_rows(a, h, row), atol=1e-6)


def test_resample_draws_each_item_with_equal_probability():
    drawn = resample(np.repeat(np.arange(50), 3), 400, seed=0)
    assert drawn.weights.shape == (400, 50)
    assert (drawn.weights.sum(axis=1) == 50).all()
    assert drawn.weights.var() == pytest.approx(1 - 1 / 50, rel=0.05)


@pytest.mark.parametrize("grades", [False, True])
def test_the_projection_agrees_with_the_exact_bootstrap(monkeypatch, grades):
    x, y, item = table(800, 200, grades=grades)
    drawn = resample(item, 300, seed=1)
    exact = correlations(x, y, drawn)
    monkeypatch.setattr(resampled_correlation, "EXACT_ROWS", 0)
    projected = correlations(x, y, drawn)
    for name in STATISTICS:
        assert projected[name].std() == pytest.approx(exact[name].std(), rel=0.04), name
        assert np.corrcoef(projected[name], exact[name])[0, 1] > 0.99, name
        assert abs(projected[name].mean() - exact[name].mean()) < 0.25 * exact[name].std(), name


def test_bundles_keep_the_standard_error(monkeypatch):
    monkeypatch.setattr(bootstrap, "BUNDLES", 512)
    values = np.random.default_rng(0).exponential(size=20_000)
    drawn = resample(np.arange(len(values)), 1000, seed=0)
    assert drawn.weights.shape == (1000, 512)
    assert mean(values, drawn).std() == pytest.approx(values.std() / np.sqrt(len(values)), rel=0.09)


def test_interval_of_a_mean_is_students():
    values = np.random.default_rng(2).normal(size=12)
    drawn = resample(np.arange(12), 4000, seed=0)
    low, high = drawn.interval(mean(values, drawn))
    expected = scipy.stats.t.interval(0.95, 11, values.mean(), scipy.stats.sem(values))
    assert (low, high) == pytest.approx(expected, abs=0.12 * (expected[1] - expected[0]))


@pytest.mark.parametrize(("freedom", "within"), [(1, 1e-9), (2, 1e-9), (3, 2e-3), (5, 2e-4), (10, 1e-5), (200, 1e-9)])
def test_student_quantiles_equal_scipys(freedom, within):
    assert bootstrap.student(0.975, freedom) == pytest.approx(scipy.stats.t.ppf(0.975, freedom), rel=within)


def test_interval_depends_on_the_seed_alone():
    x, y, item = table(120, 30)

    def interval(seed):
        drawn = resample(item, 200, seed)
        return drawn.interval(correlations(x, y, drawn)["kendall"])

    assert interval(1) == interval(1) != interval(2)


def test_interval_is_none_for_one_item_or_mostly_undefined_resamples():
    drawn = resample(np.arange(10), 100, seed=0)
    flat = correlations(np.full(10, 0.1), np.arange(10.0), drawn)
    assert drawn.interval(flat["pearson"]) is None
    assert drawn.interval(flat["kendall"]) is None
    one = resample(np.zeros(10, dtype=int), 100, seed=0)
    assert one.interval(correlations(np.arange(10.0), np.arange(10.0), one)["pearson"]) is None


@pytest.mark.parametrize("constant", [0.0, 0.1])
def test_projection_of_a_constant_column_is_undefined(monkeypatch, constant):
    monkeypatch.setattr(resampled_correlation, "EXACT_ROWS", 0)
    found = correlations(np.full(50, constant), np.arange(50.0), resample(np.arange(50), 20, seed=0))
    assert all(np.isnan(found[name]).all() for name in ("pearson", "spearman", "kendall"))


@pytest.mark.parametrize(("of", "share"), [(40, 1.0), (40, 0.95), (25, 0.0), (200, 0.3)])
def test_share_interval_is_wilsons(of, share):
    """Independent rows: the draws vary as the binomial does, so the effective rows are the rows."""
    hits = np.arange(of) < round(of * share)
    drawn = resample(np.arange(of), 4000, 1)
    low, high = share_interval(share, mean(hits.astype(float), drawn), of)
    exact = scipy.stats.binomtest(int(hits.sum()), of).proportion_ci(method="wilson")
    assert (low, high) == pytest.approx((exact.low, exact.high), abs=0.006)
    assert 0 <= low <= share <= high <= 1


def test_share_interval_counts_rows_of_one_item_as_fewer_rows():
    item = np.arange(400) // 10
    hits = (item % 2).astype(float)
    of_items = resample(item, 500, 1)
    low, high = share_interval(0.5, mean(hits, of_items), 40)
    exact = scipy.stats.binomtest(20, 40).proportion_ci(method="wilson")
    assert (low, high) == pytest.approx((exact.low, exact.high), abs=0.02)


def test_interval_widens_with_fewer_items_and_is_none_below_five():
    drawn = resample(np.arange(60), 500, 1)
    draws = mean(np.arange(60.0), drawn)
    assert drawn.interval(draws, items=60) == drawn.interval(draws)
    narrow, wide = drawn.interval(draws), drawn.interval(draws, items=6)
    assert wide[0] < narrow[0] < narrow[1] < wide[1]
    assert drawn.interval(draws, items=4) is None
    assert share_interval(1.0, np.ones(9), 1) is None


def test_items_by_group_counts_items_with_a_known_row():
    drawn = resample(np.array([0, 0, 1, 2]), 3, 0)
    group = np.array([0, 1, 0, 1])
    assert drawn.items_by_group(group, 3, np.array([True, True, True, False])).tolist() == [2, 1, 0]
