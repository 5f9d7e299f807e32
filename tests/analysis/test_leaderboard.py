"""Means and strengths by hand; systems that cannot be told apart share a rank; nothing missing is invented."""

import json

import numpy as np
import polars as pl
import pytest

from scorer.analysis.bootstrap import Bootstrap
from scorer.analysis.bradley_terry import bradley_terry
from scorer.analysis.leaderboard import SystemColumns, leaderboard
from scorer.errors import SpecError


def season(*, gap, items=100, seed=0):
    """Three systems on the same items: a and b alike but for `gap`, c far behind; items differ by more than systems."""
    rng = np.random.default_rng(seed)
    item = np.repeat(np.arange(items), 3)
    system = np.tile(["a", "b", "c"], items)
    hard = np.repeat(rng.normal(0, 3, items), 3)
    score = hard + np.tile([gap, 0.0, -2.0], items) + 0.3 * rng.normal(size=3 * items)
    return pl.DataFrame({"score": score, "system": system, "item": item, "task": np.where(item % 2, "t", "u")})


def test_leaderboard_shares_ranks_of_equal_systems_and_sees_small_paired_gaps():
    assert leaderboard(season(gap=0).lazy(), "score", "system", item="item").systems["rank"].to_list() == [1, 1, 3]
    assert leaderboard(season(gap=0.3).lazy(), "score", "system", item="item").systems["rank"].to_list() == [1, 2, 3]
    unpaired = leaderboard(season(gap=0.3).lazy(), "score", "system").systems
    assert unpaired["rank"].to_list() == [1, 1, 3]
    assert unpaired.select((pl.col("low") < pl.col("mean")) & (pl.col("mean") < pl.col("high"))).to_series().all()


def test_leaderboard_weighs_tasks_equally_and_has_no_mean_where_a_task_is_missing():
    frame = pl.LazyFrame(
        {
            "system": ["a", "a", "a", "b", "c", "c"],
            "task": ["t", "t", "u", "t", "t", "u"],
            "score": [1.0, 3.0, 6.0, 9.0, 5.0, None],
        }
    )
    found = leaderboard(frame, "score", "system", task="task", bootstrap=Bootstrap(0))
    assert found.systems.select("rank", "system", "mean", "rows", "unread").rows() == [
        (1, "a", 4.0, 3, 0),
        (None, "b", None, 1, 0),
        (None, "c", None, 1, 1),
    ]
    assert found.tasks.select("task", "rank", "system", "mean").rows() == [
        ("t", 1, "b", 9.0),
        ("t", 2, "c", 5.0),
        ("t", 3, "a", 2.0),
        ("u", 1, "a", 6.0),
        ("u", None, "b", None),
        ("u", None, "c", None),
    ]
    json.dumps(found.json(), allow_nan=False)


def test_leaderboard_shows_averages_and_facts_of_each_system():
    frame = season(gap=1).with_columns(cost=pl.lit(2.5), licence=pl.col("system").replace({"a": "MIT", "b": None}))
    found = leaderboard(
        frame.lazy(), "score", "system", beside=SystemColumns(["cost"], ["licence"]), bootstrap=Bootstrap(0)
    ).systems
    assert found.select("system", "licence", "cost").rows() == [("a", "MIT", 2.5), ("b", None, 2.5), ("c", "c", 2.5)]
    with pytest.raises(SpecError, match="Column task has 2 values for a"):
        leaderboard(frame.lazy(), "score", "system", beside=SystemColumns(facts=["task"]))


def test_leaderboard_refuses_a_table_without_scores():
    with pytest.raises(SpecError, match="No row has a value in score"):
        leaderboard(pl.LazyFrame({"score": [None], "system": ["a"]}), "score", "system")


def games(wins):
    rows = [(a, b, 1.0) for (a, b), count in wins.items() for _ in range(count)]
    return pl.LazyFrame(rows, schema=["a", "b", "preference"], orient="row")


def test_bradley_terry_of_two_systems_is_the_log_odds():
    found = bradley_terry(games({("x", "y"): 3, ("y", "x"): 1}), "a", "b", "preference", bootstrap=Bootstrap(0))
    assert found["system"].to_list() == ["x", "y"]
    assert found["strength"][0] - found["strength"][1] == pytest.approx(np.log(3))
    assert found["win_rate"].to_list() == [0.75, 0.25]
    assert found["comparisons"].to_list() == [4, 4]


def test_bradley_terry_makes_expected_wins_equal_wins():
    """The likelihood equations: each system's wins equal the sum of its chances in its games."""
    wins = {("x", "y"): 5, ("y", "x"): 2, ("y", "z"): 4, ("z", "y"): 3, ("z", "x"): 1, ("x", "z"): 1}
    found = bradley_terry(games(wins), "a", "b", "preference", bootstrap=Bootstrap(0))
    strength = dict(found.select("system", "strength").rows())
    for system in strength:
        expected = sum(
            count / (1 + np.exp(strength[other] - strength[system]))
            for (a, b), count in wins.items()
            if system in (a, b)
            for other in ((b if a == system else a),)
        )
        assert expected == pytest.approx(sum(count for (a, _), count in wins.items() if a == system), abs=1e-6)


def test_bradley_terry_recovers_strengths_with_intervals_and_ranks():
    rng = np.random.default_rng(0)
    truth = {"w": 1.0, "x": 0.0, "y": 0.0, "z": -1.0}
    pairs = [tuple(rng.permutation(list(truth))[:2].tolist()) for _ in range(1500)]
    preference = [float(rng.random() < 1 / (1 + np.exp(truth[b] - truth[a]))) for a, b in pairs]
    a, b = zip(*pairs, strict=True)
    frame = pl.LazyFrame({"a": a, "b": b, "preference": preference})
    found = bradley_terry(frame, "a", "b", "preference", bootstrap=Bootstrap(100))
    for row in found.iter_rows(named=True):
        assert row["strength"] == pytest.approx(truth[row["system"]], abs=0.3)
        assert row["low"] < row["strength"] < row["high"]
    assert found["rank"].to_list() == [1, 2, 2, 4]


@pytest.mark.parametrize(
    ("wins", "words"),
    [
        ({("x", "y"): 3}, "some systems never lost"),
        ({("x", "y"): 1, ("y", "x"): 1, ("p", "q"): 1, ("q", "p"): 1}, "never met"),
    ],
)
def test_bradley_terry_refuses_a_table_without_finite_strengths(wins, words):
    with pytest.raises(SpecError, match=words):
        bradley_terry(games(wins), "a", "b", "preference")


def test_bradley_terry_refuses_a_preference_outside_0_to_1():
    with pytest.raises(SpecError, match=r"Column preference leaves \[0, 1\]"):
        bradley_terry(pl.LazyFrame({"a": ["x"], "b": ["y"], "preference": [2.0]}), "a", "b", "preference")


def test_leaderboard_interval_of_a_share_of_one_reaches_below_one():
    frame = pl.LazyFrame({"right": [1.0] * 12 + [0.0, 1.0] * 6, "system": ["a"] * 12 + ["b"] * 12})
    row = leaderboard(frame, "right", "system").systems.row(0, named=True)
    assert row["low"] == pytest.approx(12 / (12 + 1.96**2), abs=0.001)
    assert row["high"] == 1.0
    grades = leaderboard(frame.with_columns(right=pl.col("right") + 4), "right", "system").systems.row(0, named=True)
    assert (grades["low"], grades["high"]) == (5.0, 5.0)


def test_bradley_terry_equals_scikit_learns_logistic_regression():
    """Bradley and Terry's model is a logistic regression on the difference of two systems' indicators."""
    from sklearn.linear_model import LogisticRegression  # a second of CPU, in each process that collects

    rng = np.random.default_rng(2)
    pairs = np.array([rng.choice(5, 2, replace=False) for _ in range(3000)])
    strength = np.array([-1.0, -0.4, 0.0, 0.3, 1.1])
    wins = rng.random(len(pairs)) < 1 / (1 + np.exp(strength[pairs[:, 1]] - strength[pairs[:, 0]]))
    design = np.eye(5)[pairs[:, 0]] - np.eye(5)[pairs[:, 1]]
    fit = LogisticRegression(C=1e6, fit_intercept=False).fit(design, wins.astype(int)).coef_[0]
    rows = {"a": [f"s{i}" for i in pairs[:, 0]], "b": [f"s{i}" for i in pairs[:, 1]], "p": wins.astype(float)}
    found = (
        bradley_terry(pl.LazyFrame(rows), "a", "b", "p", bootstrap=Bootstrap(0)).sort("system")["strength"].to_numpy()
    )
    np.testing.assert_allclose(found, fit - fit.mean(), atol=2e-3)


def test_leads_are_those_that_the_ranks_follow_from():
    rng = np.random.default_rng(4)
    quality = rng.normal(size=200)
    frame = pl.DataFrame(
        {
            "item": np.repeat(np.arange(200), 3),
            "system": ["a", "b", "c"] * 200,
            "score": (quality[:, None] + np.array([0.0, 0.05, 1.0]) + rng.normal(scale=0.5, size=(200, 3))).ravel(),
        }
    )
    board = leaderboard(frame.lazy(), "score", "system", item="item")
    assert board.leads is not None
    for lead in board.leads.iter_rows(named=True):
        assert lead["sure"] == (lead["low"] > 0)
        assert lead["low"] < lead["value"] < lead["high"]
    behind = board.leads.filter("sure").group_by("against").len()
    ranks = dict(board.systems.select("system", "rank").iter_rows())
    assert ranks == {"a": 1, "b": 1, "c": 1} | {name: 1 + better for name, better in behind.iter_rows()}


def test_ranks_within_tasks_can_be_left_out_and_change_nothing_else():
    frame = pl.DataFrame(
        {"t": ["x", "y"] * 30, "system": ["a"] * 30 + ["b"] * 30, "score": [float(n % 7) for n in range(60)]}
    )
    whole, without = (
        leaderboard(frame.lazy(), "score", "system", task="t", rank_within_tasks=ranked) for ranked in (True, False)
    )
    assert without.systems.equals(whole.systems)
    assert without.tasks is not None
    assert whole.tasks is not None
    assert without.tasks["rank"].null_count() == 4
    assert without.tasks.drop("rank", "rank_last").equals(whole.tasks.drop("rank", "rank_last"))
