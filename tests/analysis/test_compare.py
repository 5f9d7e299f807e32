"""Variants are compared by task and paired over items; a learning curve goes step by step; format stands apart."""

import json

import numpy as np
import polars as pl
import pytest

from scorer.analysis.bootstrap import Bootstrap
from scorer.analysis.compare import compare
from scorer.errors import SpecError


def mixes(*, gain=0.2, items=80, seed=0):
    rng = np.random.default_rng(seed)
    hard = rng.normal(0, 2, items)
    parts = [
        pl.DataFrame(
            {
                "score": hard + gain * k + 0.2 * rng.normal(size=items),
                "mix": name,
                "item": np.arange(items),
                "task": np.where(np.arange(items) % 2, "t", "u"),
            }
        )
        for k, name in enumerate(("old", "new"))
    ]
    return pl.concat(parts)


def test_compare_finds_a_small_gain_only_where_items_are_paired():
    paired = compare(mixes().lazy(), "score", "mix", item="item", task="task").differences
    assert paired.select("task", "variant", "against", "measure").rows() == [
        (task, "old", "new", "score") for task in (None, "t", "u")
    ]
    assert (paired["high"] < 0).all()
    alone = compare(mixes().lazy(), "score", "mix", task="task").differences
    assert (alone["high"] > 0).all()


def test_compare_levels_have_the_values_computed_by_hand():
    frame = pl.LazyFrame({"score": [1.0, 2, None, 5], "mix": ["a", "a", "b", "b"], "task": ["t", "u", "t", "u"]})
    found = compare(frame, "score", "mix", task="task", bootstrap=Bootstrap(0))
    assert found.levels.select("task", "variant", "value", "rows", "unread").rows() == [
        (None, "a", 1.5, 2, 0),
        (None, "b", 5.0, 1, 1),
        ("t", "a", 1.0, 1, 0),
        ("t", "b", None, 0, 1),
        ("u", "a", 2.0, 1, 0),
        ("u", "b", 5.0, 1, 0),
    ]
    assert found.differences.select("task", "value").rows() == [(None, 3.5), ("t", None), ("u", 3.0)]
    json.dumps(found.json(), allow_nan=False)


def test_compare_takes_numeric_variants_as_a_learning_curve_in_order():
    frame = pl.LazyFrame({"score": [3.0, 1.0, 2.0], "examples": [1000, 10, 200]})
    found = compare(frame, "score", "examples", bootstrap=Bootstrap(0))
    assert found.differences.select("variant", "against", "value").rows() == [("200", "10", 1.0), ("1000", "200", 1.0)]


def test_compare_separates_format_errors_from_wrong_answers():
    """The new mix writes well-formed outputs more often; where it does, it is no better."""
    frame = pl.LazyFrame(
        {
            "score": [4.0, 1, 1, 1, 4, 4, 4, 1],
            "ok": [True, False, False, False, True, True, True, False],
            "mix": ["old"] * 4 + ["tuned"] * 4,
        }
    )
    found = compare(frame, "score", "mix", well_formed="ok", bootstrap=Bootstrap(0))
    assert dict(found.differences.select("measure", "value").rows()) == {
        "score": 1.5,
        "well_formed": 0.5,
        "score_well_formed": 0.0,
    }
    assert found.levels.filter(measure="score_well_formed")["rows"].to_list() == [1, 3]


def test_compare_bounds_a_share_of_one_and_has_no_interval_for_one_item():
    frame = pl.LazyFrame(
        {"score": [1.0, 2, 3] * 2, "ok": [True] * 6, "mix": ["a"] * 3 + ["b"] * 3, "item": [0, 1, 2] * 2}
    )
    found = compare(frame, "score", "mix", item="item", well_formed="ok", bootstrap=Bootstrap(200)).levels
    low, high = found.filter(measure="well_formed").select("low", "high").row(0)
    assert low == pytest.approx(3 / (3 + 1.96**2), abs=0.001)
    assert high == 1.0
    one = compare(frame.filter(item=0), "score", "mix", item="item", well_formed="ok", bootstrap=Bootstrap(50))
    assert one.levels["low"].null_count() == len(one.levels)
    assert one.differences["low"].null_count() == len(one.differences)


def test_compare_refuses_tables_that_cannot_serve():
    with pytest.raises(SpecError, match="Column mix holds 1 variant; a comparison needs two or more"):
        compare(pl.LazyFrame({"score": [1.0], "mix": ["a"]}), "score", "mix")
    with pytest.raises(SpecError, match="No row has a value in score"):
        compare(pl.LazyFrame({"score": [None, None], "mix": ["a", "b"]}), "score", "mix")
