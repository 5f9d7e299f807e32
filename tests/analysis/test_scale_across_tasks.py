"""The scale across tasks by hand: shift, spread, ranks, concordance. Calibration puts shifted tasks right."""

import json

import numpy as np
import polars as pl
import pytest
import scipy
from hypothesis import given, settings
from hypothesis import strategies as st

from scorer.analysis.calibration import calibrate, isotonic, learn
from scorer.analysis.scale_across_tasks import scale
from scorer.errors import SpecError

finite = st.floats(-100, 100, allow_subnormal=False)


def moved(n=300, *, seed=0):
    """Three tasks; the judge shifts and stretches its scale from one to the next."""
    rng = np.random.default_rng(seed)
    task = np.arange(n) % 3
    human = rng.normal(3, 1, n)
    score = np.array([0.0, 8, -6])[task] + np.array([1.0, 0.5, 2])[task] * (human + 0.3 * rng.normal(size=n))
    return pl.DataFrame(
        {"score": score, "human": human, "task": np.array(["t", "u", "v"])[task], "item": np.arange(n) // 3}
    )


def test_scale_has_the_shift_and_spread_computed_by_hand():
    frame = pl.LazyFrame({"score": [1.0, 3, 5, 7], "human": [1.0, 2, 1, 2], "task": ["t", "t", "u", "u"]})
    found = scale(frame, "score", "human", "task")
    # Deviations over all: score sqrt 5, human 1/2. Task t: mean score 2 below, people as everywhere; sd 1 against 1/2.
    assert found.tasks["t"].shift == pytest.approx(-2 / np.sqrt(5))
    assert found.tasks["u"].shift == pytest.approx(2 / np.sqrt(5))
    assert found.tasks["t"].spread == pytest.approx((1 / np.sqrt(5)) / (0.5 / 0.5))
    assert (found.tasks["t"].mean_score, found.tasks["t"].mean_human) == (2.0, 1.5)
    assert found.within["pearson"] == pytest.approx(1.0)
    assert found.pooled["pearson"] == pytest.approx(1 / np.sqrt(5))
    json.dumps(found.json(), allow_nan=False)


def test_scale_of_a_task_with_constant_human_values_has_no_spread():
    frame = pl.LazyFrame({"score": [1.0, 2, 3, 4], "human": [2.0, 2, 1, 3], "task": ["t", "t", "u", "u"]})
    one = scale(frame, "score", "human", "task").tasks["t"]
    assert one.spread is None
    assert one.shift is not None


def test_scale_ranks_systems_within_tasks_with_their_concordance():
    frame = pl.LazyFrame(
        {
            "task": ["t"] * 3 + ["u"] * 3,
            "system": ["a", "b", "c"] * 2,
            "score": [3.0, 2, 1, 1, 2, 3],
            "human": [30.0, 20, 10, 3, 2, 1],
        }
    )
    found = scale(frame, "score", "human", "task", system="system")
    ranks = {(row["task"], row["system"]): (row["rank_score"], row["rank_human"]) for row in found.systems.to_dicts()}
    assert ranks["t", "a"] == (1.0, 1.0)
    assert ranks["u", "a"] == (3.0, 1.0)
    assert found.concordance == {"score": 0.0, "human": 1.0}


def test_concordance_with_ties_by_hand():
    # Ranks (1.5, 1.5, 3) and (1, 2, 3): sums of deviations -1.5, -.5, 2: 6.5; 2 (1.5 + 2) = 7.
    frame = pl.LazyFrame(
        {
            "task": ["t"] * 3 + ["u"] * 3,
            "system": ["a", "b", "c"] * 2,
            "score": [5.0, 5, 1, 3, 2, 1],
            "human": [1.0, 2, 3, 4, 5, 6],
        }
    )
    assert scale(frame, "score", "human", "task", system="system").concordance["score"] == pytest.approx(6.5 / 7)


def test_scale_refuses_one_task_or_too_few_rows():
    with pytest.raises(SpecError, match="names one task only"):
        scale(pl.LazyFrame({"s": [1.0, 2], "h": [1.0, 2], "t": ["a", "a"]}), "s", "h", "t")
    with pytest.raises(SpecError, match="Rows with both s and h: 0"):
        scale(pl.LazyFrame({"s": [1.0, None], "h": [None, 2.0], "t": ["a", "b"]}), "s", "h", "t")


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(finite, st.floats(0.1, 10)), min_size=1, max_size=30))
def test_isotonic_equals_scikit_learns(points):
    from sklearn.isotonic import IsotonicRegression  # a second of CPU, in each process that collects

    values, weights = (np.array(side) for side in zip(*points, strict=True))
    expected = IsotonicRegression().fit_transform(np.arange(len(values)), values, sample_weight=weights)
    np.testing.assert_allclose(isotonic(values, weights), expected, atol=1e-6)


def test_learn_fits_the_maps_computed_by_hand():
    x, y = np.array([1.0, 2, 3, 4, 5, 5]), np.array([3.0, 5, 7, 9, 11, 11])
    ask = np.array([0.0, 2.5, 9])
    assert learn(x, y, "linear")(ask) == pytest.approx([1, 6, 19])
    assert learn(x, y, "isotonic")(ask) == pytest.approx([3, 6, 11])
    assert learn(x, y, "shift")(ask) == pytest.approx(ask + (46 / 6 - 20 / 6))
    assert learn(np.ones(9), np.arange(9.0), "linear") is None
    assert learn(x[:2], y[:2], "linear") is None


@pytest.mark.parametrize("method", ["linear", "isotonic"])
def test_calibration_restores_agreement_over_tasks_and_keeps_the_raw_score(method):
    frame = moved()
    result, gain = calibrate(frame.lazy(), "score", "human", "task", method=method, item="item")
    assert result.drop("score_calibrated").equals(frame)
    before, after = (result.select(pl.corr(column, "human")).item() for column in ("score", "score_calibrated"))
    assert before < 0.5 < 0.9 < after
    assert gain.pearson_raw == pytest.approx(before, abs=1e-6)
    assert gain.pearson > 0.9
    assert gain.rmse < 0.5 * gain.rmse_one_map
    assert (gain.labels, gain.skipped) == (300, {})


def test_calibration_claims_no_gain_from_noise():
    """With one scale for all tasks and few labels, a map per task costs a little; what is seen is not what counts."""
    rng = np.random.default_rng(3)
    human = rng.normal(size=60)
    frame = pl.LazyFrame({"score": human + rng.normal(size=60), "human": human, "task": np.arange(60) % 6})
    _, gain = calibrate(frame, "score", "human", "task", method="isotonic")
    assert gain.rmse >= gain.rmse_one_map


def test_calibration_names_tasks_with_too_few_labels():
    frame = moved().with_row_index().with_columns(
        human=pl.when((pl.col("index") < 90) & (pl.col("task") != "v")).then("human"),
        score=pl.when(pl.col("index") != 299 - 2).then("score"),
    )  # fmt: skip
    result, gain = calibrate(frame.lazy(), "score", "human", "task")
    assert gain.labels == 60
    assert gain.skipped == {"v": 0}
    assert result.filter(task="v")["score_calibrated"].null_count() == 100
    rest = result.filter(pl.col("task") != "v")
    assert rest["score_calibrated"].null_count() == rest["score"].null_count() == 1


def test_calibration_refuses_tables_that_cannot_serve():
    frame = moved()
    with pytest.raises(SpecError, match="No task has the 3 labels in human"):
        calibrate(frame.with_columns(human=pl.lit(None, pl.Float64)).lazy(), "score", "human", "task")
    with pytest.raises(SpecError, match="Column score_calibrated is in the table already"):
        calibrate(frame.with_columns(score_calibrated=1).lazy(), "score", "human", "task")
    with pytest.raises(SpecError, match="folds = 1"):
        calibrate(frame.lazy(), "score", "human", "task", folds=1)


def test_concordance_equals_friedmans_statistic_scaled():
    """W = chi2 / (tasks (systems - 1)); scipy's chi2 has the same correction for ties."""
    rng = np.random.default_rng(6)
    for _ in range(20):
        means = rng.integers(0, 4, size=(5, 4)).astype(float)  # tasks x systems, with ties
        task, system = np.indices(means.shape)
        rows = {"task": task.ravel(), "system": system.ravel(), "score": means.ravel(), "human": means.ravel()}
        found = scale(pl.LazyFrame(rows), "score", "human", "task", system="system").concordance["score"]
        assert found == pytest.approx(scipy.stats.friedmanchisquare(*means.T).statistic / (5 * 3))


def test_learn_linear_equals_scipys():
    rng = np.random.default_rng(7)
    x, y = rng.normal(size=30).round(1), rng.normal(size=30).round(1)
    line = scipy.stats.linregress(x, y)
    np.testing.assert_allclose(learn(x, y, "linear")(x), line.intercept + line.slope * x)
