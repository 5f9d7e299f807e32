"""Ranks are intervals that hold together, and never contradict the means; many intervals are one family."""

from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scorer.analysis.bootstrap import Bootstrap, resample
from scorer.analysis.bradley_terry import bradley_terry
from scorer.analysis.compare import compare
from scorer.analysis.leaderboard import leaderboard
from scorer.analysis.ranks import Standing, ranked
from scorer.analysis.simultaneous import contrast, simultaneous, tango


def board(rng, systems, items, *, lead=0.0):
    score = rng.normal(size=(items, 1)) + rng.normal(size=(items, systems))
    score[:, 3] += lead
    item, system = np.indices(score.shape)
    return pl.LazyFrame({"item": item.ravel(), "system": system.ravel(), "score": score.ravel()})


@pytest.mark.parametrize("items", [40, 100])
def test_ranked_gives_equal_systems_every_rank(items):
    """Ranks from pairs one by one were false on 93 % of boards; 6 of 20 has a chance of 1 in 3,000 at 5 %."""
    rng = np.random.default_rng(0)
    false = 0
    for seed in range(20):
        found = leaderboard(
            board(rng, 20, items), "score", "system", item="item", bootstrap=Bootstrap(300, seed)
        ).systems
        false += found.select("rank", "rank_last").unique().rows() != [(1, 20)]
    assert false <= 5


def test_ranked_gives_rank_1_to_a_system_half_a_deviation_ahead_of_57():
    found = leaderboard(board(np.random.default_rng(1), 58, 400, lead=0.5), "score", "system", item="item").systems
    assert found.row(0, named=True)["system"] == "3"
    assert found["rank"].to_list() == [1] + [2] * 57
    assert found["rank_last"].to_list() == [1] + [58] * 57


@given(
    means=st.lists(st.integers(-3, 3), min_size=1, max_size=8),
    spread=st.lists(st.floats(0, 2), min_size=8, max_size=8),
    seed=st.integers(0, 10**6),
)
@settings(max_examples=60, deadline=None)
def test_ranked_never_contradicts_the_means(means, spread, seed):
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(10, len(means))) * spread[: len(means)]
    items, part = np.full(len(means), 10), np.zeros(len(means), dtype=np.int64)
    standing = Standing(np.array(means, dtype=float), (noise - noise.mean(axis=0)) / 10, items, part, 6.0)
    (places,) = ranked([standing], resample(np.arange(10), 60, seed))
    order = sorted(range(len(means)), key=lambda i: -means[i])
    for place, i in enumerate(order, start=1):
        first, last = places[i]
        assert 1 <= first <= place <= last <= len(means)
    for i, j in pairwise(order):
        assert places[i][0] <= places[j][0]
        assert places[i][1] <= places[j][1]
        if means[i] == means[j]:
            assert places[i] == places[j]


def test_leaderboard_is_in_the_order_of_its_means():
    found = leaderboard(
        board(np.random.default_rng(2), 12, 30), "score", "system", item="item", bootstrap=Bootstrap(100)
    ).systems
    assert found["mean"].to_list() == sorted(found["mean"].to_list(), reverse=True)
    assert found["rank"].is_sorted()
    assert found["rank_last"].is_sorted()


def test_bradley_terry_gives_equal_systems_every_rank():
    rng = np.random.default_rng(3)
    a, b = np.triu_indices(12, 1)
    false = 0
    for seed in range(20):
        frame = {"a": np.tile(a, 8), "b": np.tile(b, 8), "p": rng.integers(0, 2, 8 * len(a)).astype(float)}
        found = bradley_terry(pl.LazyFrame(frame), "a", "b", "p", bootstrap=Bootstrap(100, seed))
        false += found.select("rank", "rank_last").unique().rows() != [(1, 12)]
    assert false <= 4


def test_tango_equals_the_published_interval():
    """By hand where no pair differs; it stays within [-1, 1] and turns over with its sides."""
    low, high = tango(0, 0, 30)
    assert (low, high) == (pytest.approx(-(1.96**2) / (30 + 1.96**2), abs=1e-4), pytest.approx(-low))
    for n, first, second in ((44, 5, 1), (30, 30, 0), (20, 3, 9), (1, 1, 0)):
        low, high = tango(first, second, n)
        assert -1 <= low <= (first - second) / n <= high <= 1
        assert tango(second, first, n) == (pytest.approx(-high), pytest.approx(-low))


@pytest.mark.parametrize("item", ["item", None])
def test_ranked_shares_ranks_of_two_shares_of_one(item):
    frame = pl.LazyFrame({"v": ["a"] * 30 + ["b"] * 30, "item": [*range(30)] * 2, "score": [1.0] * 60, "ok": [1] * 60})
    found = compare(frame, "score", "v", item=item).differences.row(0, named=True)
    assert (found["value"], found["better"]) == (0.0, None)
    assert (found["low"], found["high"]) == (pytest.approx(-0.114, abs=0.001), pytest.approx(0.114, abs=0.001))
    both = compare(frame, "score", "v", item=item, well_formed="ok").differences.filter(measure="well_formed")
    assert both["high"][0] > 0.11


def test_compare_of_zeros_and_ones_has_tangos_interval():
    first, second = [1.0] * 25 + [0.0] * 15, [1.0] * 22 + [0.0] * 3 + [1.0] * 8 + [0.0] * 7
    frame = pl.LazyFrame({"v": ["a"] * 40 + ["b"] * 40, "item": [*range(40)] * 2, "score": first + second})
    found = compare(frame, "score", "v", item="item").differences.row(0, named=True)
    assert (found["low"], found["high"]) == pytest.approx(tango(8, 3, 40), abs=1e-6)


def test_simultaneous_intervals_are_as_wide_as_normal_theory_says():
    """Of 10 independent differences the largest is beyond 2.8 standard errors in 5 %: Sidak's 1 - .95^(1/10)."""
    rng = np.random.default_rng(4)
    noise = rng.normal(size=(2000, 10))
    noise = (noise - noise.mean(axis=0)) / 2000
    drawn = resample(np.arange(2000), 2000, 0)
    many = simultaneous([contrast(0.0, noise[:, k], 2000, drawn) for k in range(10)], drawn)
    (one,) = simultaneous([contrast(0.0, noise[:, 0], 2000, drawn)], drawn)
    assert many[0][1] / one[1] == pytest.approx(2.80 / 1.96, rel=0.05)


def test_compare_notes_that_its_intervals_hold_together():
    found = compare(board(np.random.default_rng(5), 6, 50).with_columns(pl.col("system").cast(pl.String)),
                    "score", "system", item="item")  # fmt: skip
    assert found.notes[0].startswith("The 15 intervals of differences hold together in 95 % of tables")
    pair = compare(
        board(np.random.default_rng(5), 6, 50)
        .filter(pl.col("system") < 2)
        .with_columns(pl.col("system").cast(pl.String)),
        "score", "system", item="item",
    )  # fmt: skip
    assert not pair.notes
    wide, narrow = (
        d.filter(variant="1", against="0").row(0, named=True) for d in (found.differences, pair.differences)
    )
    assert wide["high"] - wide["low"] > 1.2 * (narrow["high"] - narrow["low"])


@pytest.mark.parametrize("item", ["item", None])
@pytest.mark.parametrize("scale", [1e-60, 1e60])
def test_ranked_does_not_depend_on_the_size_of_the_scores(scale, item):
    frame = board(np.random.default_rng(6), 5, 40).with_columns(pl.col("system").cast(pl.String))
    plain = compare(frame, "score", "system", item=item).differences
    scaled = compare(frame.with_columns(pl.col("score") * scale), "score", "system", item=item).differences
    for name in ("value", "low", "high", "at_lowest"):
        np.testing.assert_allclose(scaled[name] / scale, plain[name], rtol=1e-5)
    assert scaled["better"].equals(plain["better"])
    ranks = leaderboard(frame, "score", "system", item=item).systems.select("system", "rank", "rank_last")
    again = leaderboard(frame.with_columns(pl.col("score") * scale), "score", "system", item=item).systems
    assert again.select("system", "rank", "rank_last").equals(ranks)


def test_ranked_sees_a_constant_lead_that_varies_by_rounding_alone():
    first = np.random.default_rng(1).normal(size=400)
    frame = pl.LazyFrame(
        {"item": [*range(400)] * 2, "system": ["b"] * 400 + ["a"] * 400, "score": [*first + 1, *first]}
    )
    assert leaderboard(frame, "score", "system", item="item").systems["rank"].to_list() == [1, 2]
