"""Prediction-powered means are the formula's, hold the truth as often as they say, and gain from a good judge only."""

import json

import numpy as np
import polars as pl
import pytest
import scipy

from scorer.analysis.prediction_powered import estimate
from scorer.errors import SpecError


def corpus(rows, labels, *, noise, rng, systems=1):
    human = rng.normal(3, 1, rows)
    score = 10 * human + 10 * noise * rng.normal(size=rows) + 40
    chosen = np.zeros(rows, dtype=bool)
    chosen[rng.permutation(rows)[:labels]] = True
    return pl.DataFrame(
        {
            "score": score,
            "human": pl.Series(human).set(pl.Series(~chosen), None),
            "system": np.arange(rows) % systems,
            "item": np.arange(rows) // systems,
        }
    )


def test_estimate_equals_the_formula_where_each_row_is_an_item():
    """PPI++ for a mean: weight = Cov(y, f) / ((1 + n / N) Var f), variances of the two samples apart."""
    frame = corpus(500, 60, noise=0.5, rng=np.random.default_rng(0))
    found = estimate(frame.lazy(), "score", "human").overall
    labelled = frame.drop_nulls("human")
    y, f = labelled["human"].to_numpy(), labelled["score"].to_numpy()
    rest = frame.filter(pl.col("human").is_null())["score"].to_numpy()
    weight = np.cov(y, f, bias=True)[0, 1] / 60 / (f.var() / 60 + rest.var() / 440)
    assert found.weight == pytest.approx(weight)
    assert found.mean.value == pytest.approx(y.mean() + weight * (rest.mean() - f.mean()))
    half = (found.mean.interval[1] - found.mean.interval[0]) / 2
    expected = np.sqrt((y - weight * f).var() / 60 + weight**2 * rest.var() / 440)
    assert half == pytest.approx(2.0 * expected, rel=0.02)
    assert (found.rows, found.labels, found.unread) == (500, 60, 0)


def test_estimate_gains_from_a_good_judge_and_loses_nothing_to_a_useless_one():
    rng = np.random.default_rng(1)
    good = estimate(corpus(2000, 80, noise=0.3, rng=rng).lazy(), "score", "human").overall
    useless = estimate(corpus(2000, 80, noise=100, rng=rng).lazy(), "score", "human").overall
    assert good.labels_worth > 300
    assert 80 <= useless.labels_worth < 90
    assert good.labels_only.interval[0] < good.mean.interval[0] < good.mean.interval[1] < good.labels_only.interval[1]


@pytest.mark.parametrize("noise", [0.3, 3])
def test_estimate_interval_has_its_nominal_coverage(noise):
    rng = np.random.default_rng(2)
    held = 0
    for _ in range(120):
        low, high = estimate(corpus(300, 30, noise=noise, rng=rng).lazy(), "score", "human").overall.mean.interval
        held += low <= 3 <= high
    # Three standard errors of 120 tables.
    assert held / 120 == pytest.approx(0.95, abs=0.06)


def test_estimate_counts_rows_of_an_item_as_one_observation():
    """Ten copies of every row say no more than one."""
    frame = corpus(200, 40, noise=0.5, rng=np.random.default_rng(3))
    once = estimate(frame.lazy(), "score", "human", item="item").overall
    copied = estimate(pl.concat([frame] * 10).lazy(), "score", "human", item="item").overall
    assert copied.mean.interval == pytest.approx(once.mean.interval)
    assert copied.rows == 2000


def test_estimate_separates_unequal_systems_and_not_equal_ones():
    rng = np.random.default_rng(4)
    frame = corpus(3000, 300, noise=0.5, rng=rng, systems=3).with_columns(
        pl.col("score", "human") + pl.when(pl.col("system") == 0).then(0.8).otherwise(0.0)
    )
    found = estimate(frame.lazy(), "score", "human", system="system")
    by_pair = {(d.a, d.b): d for d in found.differences}
    assert set(by_pair) == {("0", "1"), ("0", "2"), ("1", "2")}
    assert by_pair["0", "1"].interval[0] > 0.4
    assert by_pair["0", "1"].labels_more == 0
    low, high = by_pair["1", "2"].interval
    assert low < 0 < high
    assert by_pair["1", "2"].labels_more is None or by_pair["1", "2"].labels_more > 100
    json.dumps(found.json(), allow_nan=False)


def test_estimate_counts_missing_scores_and_labels():
    frame = pl.LazyFrame(
        {
            "score": [1.0, 2, 3, None, 5, 6],
            "human": [1.0, 2, None, 4, 3, None],
            "system": ["a", "a", "a", "a", "b", "c"],
        }
    )
    found = estimate(frame, "score", "human", system="system")
    assert (found.overall.rows, found.overall.labels, found.overall.unread) == (5, 3, 1)
    b, c = found.systems["b"], found.systems["c"]
    assert (b.mean.value, b.mean.interval, b.labels) == (3.0, None, 1)
    assert (c.mean.value, c.mean.interval, c.labels) == (None, None, 0)
    assert c.judge_only.value == 6.0
    assert found.differences == []


def test_estimate_with_every_row_labelled_is_the_plain_mean():
    frame = corpus(50, 50, noise=1, rng=np.random.default_rng(5))
    found = estimate(frame.lazy(), "score", "human").overall
    assert found.mean == found.labels_only
    assert found.weight is None


def test_estimate_refuses_fewer_than_two_labels():
    with pytest.raises(SpecError, match="1 rows have both score and human; an estimate needs two labels or more"):
        estimate(pl.LazyFrame({"score": [1.0, 2], "human": [1.0, None]}), "score", "human")


def test_estimate_of_a_share_has_wilsons_interval_even_where_all_labels_are_equal():
    human = [1.0] * 12 + [0.0] * 8 + [None] * 20
    frame = pl.LazyFrame({"score": np.linspace(0, 1, 40), "human": human, "sure": [1.0] * 20 + [None] * 20})
    for column, hits in (("human", 12), ("sure", 20)):
        found = estimate(frame, "score", column).overall.labels_only
        exact = scipy.stats.binomtest(hits, 20).proportion_ci(method="wilson")
        # The variance is that of 19 free rows of 20.
        assert found.interval == pytest.approx((exact.low, exact.high), abs=0.006)
