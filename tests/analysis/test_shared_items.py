"""Variants are compared over the items that both have, unread rows at either end; boards with holes are adjusted."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scorer.analysis.adjusted import adjust
from scorer.analysis.bootstrap import Bootstrap, resample
from scorer.analysis.compare import compare
from scorer.analysis.leaderboard import leaderboard
from scorer.analysis.prediction_powered import estimate


def twins(*, items=400, unread=False, seed=0):
    """Two variants of one quality; the second lacks the hardest fifth, or could not be read there."""
    rng = np.random.default_rng(seed)
    hard = rng.normal(size=items)
    kept = hard > np.quantile(hard, 0.2)
    parts = []
    for name, has in (("a", np.ones(items, dtype=bool)), ("b", kept)):
        score = 2 * hard + 0.5 * rng.normal(size=items)
        human = np.where(rng.random(items) < 0.4, score + 0.3 * rng.normal(size=items), np.nan)
        part = pl.DataFrame({"score": score, "human": human, "v": name, "item": np.arange(items)})
        part = part.with_columns(score=pl.when(pl.Series(has)).then("score")) if unread else part.filter(pl.Series(has))
        parts.append(part)
    return pl.concat(parts).lazy()


def test_compare_gives_no_gain_to_a_variant_without_the_hardest_items():
    """Over its own items b leads by .67, 19 standard errors."""
    (row,) = compare(twins(), "score", "v", item="item").differences.to_dicts()
    assert (row["items"], row["rows"], row["unread"], row["better"]) == (320, 640, 0, None)
    assert row["low"] < 0 < row["high"]
    assert abs(row["value"]) < 0.1
    systems = leaderboard(twins(), "score", "v", item="item").systems
    assert systems.select("rank", "rank_last").rows() == [(1, 2), (1, 2)]
    raw = dict(systems.select("system", "raw").rows())
    assert raw["b"] - raw["a"] > 0.6
    assert np.ptp(systems["mean"].to_numpy()) < 0.1
    found = estimate(twins(), "score", "human", system="v", item="item").differences[0]
    assert found.items == 320
    assert found.interval[0] < 0 < found.interval[1]
    assert abs(found.difference) < 0.15


def test_compare_names_no_winner_where_the_sign_depends_on_unread_rows():
    frame = twins(unread=True).with_columns(pl.col("score") + (pl.col("v") == "b") * 0.5)
    (row,) = compare(frame, "score", "v", item="item").differences.to_dicts()
    assert row["low"] > 0
    assert row["at_lowest"] < 0 < row["at_highest"]
    assert (row["better"], row["unread"]) == (None, 80)
    found = compare(frame, "score", "v", item="item")
    assert any("no winner is named" in note for note in found.notes)
    board = leaderboard(frame, "score", "v", item="item").systems
    assert board.select("rank", "rank_last").rows() == [(1, 2), (1, 2)]
    whole = compare(frame.drop_nulls("score"), "score", "v", item="item").differences.to_dicts()[0]
    assert whole["better"] == "b"


def test_compare_has_the_differences_at_both_ends_computed_by_hand():
    """a and b share items 1 to 3; item 2 is unread of b. The scale reaches from 1 to 5."""
    frame = pl.LazyFrame(
        {"v": ["a"] * 4 + ["b"] * 3, "item": [0, 1, 2, 3, 1, 2, 3], "score": [5.0, 2, 3, 1, 3, None, 4]}
    )
    (row,) = compare(frame, "score", "v", item="item", bootstrap=Bootstrap(0)).differences.to_dicts()
    assert row["value"] == pytest.approx((1 + 3) / 2)
    assert row["at_lowest"] == pytest.approx((1 - 2 + 3) / 3)
    assert row["at_highest"] == pytest.approx((1 + 2 + 3) / 3)
    assert (row["items"], row["rows"], row["unread"]) == (2, 4, 1)


def test_variants_without_a_common_item_have_no_difference_and_no_relative_rank():
    frame = pl.LazyFrame({"v": ["a"] * 20 + ["b"] * 20, "item": range(40), "score": [1.0, 2.0] * 10 + [8.0, 9.0] * 10})
    found = compare(frame, "score", "v", item="item")
    assert found.differences["value"].to_list() == [None]
    assert any("b and a have no item" in note for note in found.notes)
    board = leaderboard(frame, "score", "v", item="item")
    assert board.systems.select("rank", "rank_last").rows() == [(1, 2), (1, 2)]
    assert any("share no items" in note for note in board.notes)
    alone = leaderboard(frame, "score", "v").systems
    assert alone.select("rank", "rank_last").rows() == [(1, 1), (2, 2)]


def test_intervals_widen_with_scores_lost_at_random_as_with_lost_items():
    """5 % of either: 1 / sqrt(.95^2) = 1.053 on the mean of 12 tables, each within some .03 of it."""
    rng = np.random.default_rng(1)
    ratios = {"compare": [], "estimate": []}
    for _ in range(12):
        hard = 2 * rng.normal(size=300)
        score = np.concatenate([hard, hard]) + rng.normal(size=600)
        human = np.where(rng.random(600) < 0.5, score + rng.normal(size=600), np.nan)
        full = pl.DataFrame({"v": ["a"] * 300 + ["b"] * 300, "item": [*range(300)] * 2, "score": score, "human": human})
        lost = rng.random(600) < 0.05
        width = {}
        for name, frame in (
            ("full", full),
            ("unread", full.with_columns(score=pl.when(~pl.Series(lost)).then("score"))),
        ):
            row = compare(frame.lazy(), "score", "v", item="item", bootstrap=Bootstrap(50)).differences.row(
                0, named=True
            )
            width["compare", name] = row["high"] - row["low"]
        for name, frame in (("full", full), ("unread", full.filter(~pl.Series(lost)))):
            low, high = estimate(frame.lazy(), "score", "human", system="v", item="item").differences[0].interval
            width["estimate", name] = high - low
        for what, of in ratios.items():
            of.append(width[what, "unread"] / width[what, "full"])
    assert 1.03 < np.mean(ratios["compare"]) <= 1.08
    assert np.mean(ratios["estimate"]) <= 1.08


def test_adjusted_means_are_those_of_least_squares():
    rng = np.random.default_rng(2)
    item, system = np.repeat(np.arange(30), 4), np.tile(np.arange(4), 30)
    score = rng.normal(size=30)[item] + 0.3 * system + rng.normal(size=120)
    score[rng.random(120) < 0.3] = np.nan
    read = np.isfinite(score)
    design = np.concatenate([np.eye(4)[system], np.eye(30)[item]], axis=1)
    fit = np.linalg.lstsq(design[read], score[read], rcond=None)[0]
    seen = np.unique(item[read])
    found = adjust(score, system, 4, item, None)
    np.testing.assert_allclose(found.means, fit[:4] + fit[4:][seen].mean())


@given(seed=st.integers(0, 10**6), lost=st.floats(0, 0.5), systems=st.integers(1, 5), rows=st.integers(1, 3))
@settings(max_examples=40, deadline=None)
def test_adjusted_mean_without_missing_scores_is_the_plain_mean(seed, lost, systems, rows):
    rng = np.random.default_rng(seed)
    shape = (12, systems, rows)
    item, system, _ = (index.ravel() for index in np.indices(shape))
    score = rng.normal(size=len(item))
    np.testing.assert_allclose(
        adjust(score, system, systems, item, None).means, score.reshape(shape).mean(axis=(0, 2)), atol=1e-10
    )
    score[rng.random(len(score)) < lost] = np.nan
    drawn = resample(item, 3, seed)
    found = adjust(score, system, systems, item, drawn)
    np.testing.assert_allclose(found.influence.sum(axis=0), 0, atol=1e-9)
    # An item twice as often: the change of the fit is the item's influence, to first order.
    known = np.isfinite(found.means)
    again = item == 0
    if np.isfinite(score[again]).any():
        tripled = [np.concatenate([np.tile(a, 50), a[again]]) for a in (score, system)]
        copies = np.concatenate([item + 12 * k for k in range(50)] + [item[again] + 12 * 50])
        moved = adjust(tripled[0], tripled[1], systems, copies, None)
        if (moved.part[known] == 0).all() and (found.part[known] == 0).all():
            away = (moved.means - found.means)[known] * 50
            np.testing.assert_allclose(away, found.influence[0][known], atol=0.2 * np.abs(away).max() + 1e-9)
