"""Biases that are put in are found, at their size; published agreement of two orders comes out of stored verdicts."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from scorer.analysis.bias import length, position, self_preference
from scorer.analysis.bootstrap import Bootstrap
from scorer.analysis.kappa_alpha import kappa
from scorer.errors import SpecError

DATA = Path(__file__).resolve().parents[2] / "../shared/data"


def both_orders(given, turned):
    rows = [
        (n, swapped, value)
        for n, pair in enumerate(zip(given, turned, strict=True))
        for swapped, value in enumerate(pair)
    ]
    return pl.LazyFrame(rows, schema={"pair": pl.Int64, "swapped": pl.Int64, "preference": pl.Float64}, orient="row")


def test_position_bias_has_the_values_computed_by_hand():
    found = position(both_orders([1.0, 1, 0, 0.5, 1], [1.0, 0, 0, 0.5, None]), "preference", "swapped", ["pair"])
    # For the first place: 1 and 0, 1 and 1, 0 and 1, two ties.
    assert (found.pairs, found.incomplete) == (4, 1)
    assert found.first == pytest.approx((0.5 + 1 + 0.5 + 0.5) / 4)
    assert found.same == pytest.approx(3 / 4)
    assert found.same_interval[0] < 0.75 < found.same_interval[1]
    json.dumps(found.json(), allow_nan=False)


def test_position_bias_refuses_pairs_that_lack_an_order():
    frame = both_orders([1.0, 1], [1.0, 1]).head(3)
    with pytest.raises(SpecError, match="1 pairs are not there once in each order, the first 1: 1 times as given, 0"):
        position(frame, "preference", "swapped", ["pair"])
    with pytest.raises(SpecError, match="No pair has a value in preference in both orders"):
        position(both_orders([1.0], [None]), "preference", "swapped", ["pair"])
    with pytest.raises(SpecError, match=r"Column preference leaves \[0, 1\]"):
        position(both_orders([1.0], [2.0]), "preference", "swapped", ["pair"])


def test_position_bias_reproduces_the_published_agreement_of_llmbar():
    if not DATA.is_dir():
        pytest.skip("Left out: positional agreement on real verdicts, whose folder shared/data is not here.")
    setting = ["subset", "judge_model", "strategy"]
    verdicts = pl.read_parquet(DATA / "llmbar_judge_outputs.parquet").filter(kind="pairwise")
    verdicts = verdicts.filter(pl.col("winner").is_not_null().all().over(setting))
    verdicts = verdicts.with_columns(preference=(pl.col("winner") == "1").cast(pl.Float64)).sort("id")
    published = pl.read_parquet(DATA / "llmbar_published_statistics.parquet")
    expected = {row[:3]: json.loads(row[3]) for row in published.select(*setting, "statistics").rows()}
    groups = verdicts.partition_by(setting, as_dict=True)
    assert len(groups) > 60
    for key, rows in groups.items():
        theirs = expected[key]
        found = position(rows.lazy(), "preference", "swapped", ["id"], bootstrap=Bootstrap(0))
        assert found.same == pytest.approx(float(theirs["equal"].split("= ")[1].rstrip("%")) / 100)
        given, turned = (rows.filter(swapped=s)["preference"].to_numpy() for s in (False, True))
        assert kappa(given, turned) == pytest.approx(theirs["kappa_agreement"])


def texts(n, *, rng, liking):
    size = rng.integers(10, 400, n)
    quality = rng.normal(size=n) + size / 200
    score = quality + liking * size / 100 + 0.3 * rng.normal(size=n)
    return pl.LazyFrame({"text": ["x" * int(k) for k in size], "score": score, "human": quality})


def test_length_bias_is_the_partial_correlation_beyond_human_values():
    rng = np.random.default_rng(0)
    fair = length(texts(400, rng=rng, liking=0), "score", "text", human="human", bootstrap=Bootstrap(200))
    fond = length(texts(400, rng=rng, liking=1), "score", "text", human="human", bootstrap=Bootstrap(0))
    assert fair.judge_interval[0] < fair.judge < fair.judge_interval[1]
    assert fair.judge > 0.3
    assert abs(fair.partial) < 0.15
    assert fond.partial > 0.5
    json.dumps(fond.json(), allow_nan=False)


def test_length_bias_without_human_values_counts_unread_rows_and_refuses_other_types():
    frame = pl.LazyFrame({"text": ["a", "bb", "ccc", "dddd"], "score": [1.0, 2, 3, None], "number": [1, 2, 3, 4]})
    found = length(frame, "score", "text", bootstrap=Bootstrap(0))
    assert (found.n, found.unread, found.judge, found.people, found.partial) == (3, 1, 1.0, None, None)
    with pytest.raises(SpecError, match="Column number holds Int64, not texts"):
        length(frame, "score", "number")
    with pytest.raises(SpecError, match="Rows with score and text: 2; a correlation with length needs three"):
        length(frame.head(2), "score", "text")
    flat = length(frame.with_columns(score=pl.lit(2.0)), "score", "text", human="number")
    assert (flat.judge, flat.judge_interval, flat.partial) == (None, None, None)


def test_self_preference_is_the_excess_over_people():
    rng = np.random.default_rng(1)
    human = rng.normal(size=300)
    mine = np.arange(300) % 3 == 0
    frame = pl.LazyFrame(
        {
            "score": human + 0.2 * rng.normal(size=300) + mine,
            "fair": human + 0.2 * rng.normal(size=300),
            "human": human,
            "system": np.where(mine, "kin", np.where(np.arange(300) % 3 == 1, "x", "y")),
            "item": np.arange(300) // 3,
        }
    )
    fond = self_preference(frame, "score", "human", "system", ["kin"], item="item")
    fair = self_preference(frame, "fair", "human", "system", ["kin"], item="item")
    assert (fond.own, fond.others) == (100, 200)
    assert fond.interval[0] > 0.5
    assert fair.interval[0] < 0 < fair.interval[1]
    with pytest.raises(SpecError, match="kim is not in column system; there are kin, x, y"):
        self_preference(frame, "score", "human", "system", ["kim"])
    with pytest.raises(SpecError, match="300 rows of its own and 0 of others"):
        self_preference(frame, "score", "human", "system", ["kin", "x", "y"])
