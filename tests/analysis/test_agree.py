"""`agree` keeps the contract: its JSON shape, its counts, no NaN whatever the table, and the published figures."""

import json
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import scipy
from hypothesis import given, settings
from hypothesis import strategies as st

from scorer.analysis.agree import agree
from scorer.analysis.bootstrap import Bootstrap
from scorer.errors import SpecError

DATA = Path(__file__).resolve().parents[2] / "../shared/data"

maybe = st.one_of(st.none(), st.integers(1, 3).map(float), st.just(float("nan")))
ROW = st.fixed_dictionaries(
    {"score": maybe, "human": maybe, "again": maybe}
    | {name: st.integers(0, 2).map(str) for name in ("item", "system", "task")}
)


def table(**columns):
    return pl.LazyFrame(columns)


def small():
    """Two items x three systems; the last score is missing."""
    return table(
        score=[1.0, 2, 3, 3, 3, None],
        human=[1.0, 2, 2, 3, 1, 2],
        item=["i", "i", "i", "j", "j", "j"],
        system=["a", "b", "c", "a", "b", "c"],
    )


def test_agree_has_the_values_of_a_small_table_computed_by_hand():
    found = agree(small(), ["score"], ["human"], item="item", system="system", bootstrap=Bootstrap(0)).json()["scores"][
        "score"
    ]
    assert (found["n"], found["unread"]) == (5, 1)
    x, y = [1, 2, 3, 3, 3], [1, 2, 2, 3, 1]
    assert found["dataset"]["pearson"] == pytest.approx(scipy.stats.pearsonr(x, y)[0])
    assert found["dataset"]["spearman"] == pytest.approx(scipy.stats.spearmanr(x, y)[0])
    assert found["dataset"]["kendall"] == pytest.approx(scipy.stats.kendalltau(x, y)[0])
    # (1,2) (1,3) (1,4) (2,4) agree; (3,4) (3,5) (4,5) tie in the score alone, (1,5) (2,3) in people's; (2,5) disagrees.
    assert found["dataset"]["pairwise_accuracy"] == pytest.approx(4 / 10)
    # In item j the score is constant: skipped.
    assert (found["item"]["items"], found["item"]["skipped"]) == (1, 1)
    assert found["item"]["kendall"] == pytest.approx(scipy.stats.kendalltau(x[:3], y[:3])[0])
    assert found["item"]["pairwise_accuracy"] == pytest.approx((2 / 3 + 0) / 2)
    assert found["system"]["systems"] == 3
    assert found["system"]["pearson"] == pytest.approx(scipy.stats.pearsonr([2, 2.5, 3], [2, 1.5, 2])[0])
    assert (found["tasks"], found["pooled"]) == ({}, None)


def test_agree_json_has_the_shape_of_the_contract():
    frame = small().with_columns(task=pl.Series(["t", "u"] * 3))
    found = agree(
        frame, ["score"], ["human"], item="item", system="system", task="task", bootstrap=Bootstrap(50)
    ).json()
    score = found["scores"]["score"]
    assert set(found) == {"rows", "unlabelled", "scores", "human", "comparisons"}
    assert set(score) == {"n", "unread", "dataset", "item", "system", "tasks", "pooled", "labels"}
    for level in ("dataset", "item", "system"):
        assert {"pearson", "spearman", "kendall", "pairwise_accuracy", "intervals"} <= set(score[level])
    assert {"items", "skipped"} <= set(score["item"])
    assert set(score["tasks"]) == {"t", "u"}
    assert {"n", "unread", "dataset", "item", "system", "shift", "spread"} <= set(score["tasks"]["t"])
    assert score["pooled"]["pearson"] == score["dataset"]["pearson"]
    assert set(score["pooled"]["within"]) == {"pearson", "spearman", "kendall", "pairwise_accuracy"}


@settings(max_examples=10, deadline=None)
@given(st.lists(ROW, min_size=1, max_size=14))
def test_agree_of_any_table_is_a_sentence_or_finite_numbers(rows):
    frame = pl.LazyFrame(
        rows, schema={k: pl.Float64 if k in ("score", "human", "again") else pl.String for k in rows[0]}
    )
    names = {"item": "item", "system": "system", "task": "task"}
    people = [[v for v in (row["human"], row["again"]) if v is not None and v == v] for row in rows]
    if len({np.mean(values) for values in people if values}) < 2:
        with pytest.raises(SpecError, match=r"agreement needs (two or more|people to tell rows apart)\.$"):
            agree(frame, ["score"], ["human", "again"], **names)
        return
    found = agree(frame, ["score", "again"], ["human", "again"], **names, bootstrap=Bootstrap(8), permutations=2).json()
    json.dumps(found, allow_nan=False)
    score = found["scores"]["score"]
    assert score["n"] + score["unread"] + found["unlabelled"] == found["rows"] == len(rows)
    assert sum(task["n"] for task in score["tasks"].values()) == score["n"]
    for level in (score["dataset"], score["item"], score["system"]):
        assert level["note"] or level["pearson"] is not None


def by_scipy(rows):
    """The plain loop: each item by itself, nulls left out, items without variation on either side skipped."""
    taus = []
    for item in sorted({row["item"] for row in rows}):
        mine = [
            (row["score"], row["human"])
            for row in rows
            if row["item"] == item and None not in (row["score"], row["human"]) and row["score"] == row["score"]
        ]
        x, y = [list(side) for side in zip(*mine, strict=True)] if mine else ([], [])
        if len(set(x)) > 1 and len(set(y)) > 1:
            taus.append(
                (scipy.stats.kendalltau(x, y)[0], scipy.stats.spearmanr(x, y)[0], scipy.stats.pearsonr(x, y)[0])
            )
    return taus


@settings(max_examples=15, deadline=None)
@given(st.lists(ROW, min_size=6, max_size=20))
def test_agree_within_items_equals_a_loop_over_scipy(rows):
    rows = [row | {"human": float(n % 3)} for n, row in enumerate(rows)]
    schema = {k: pl.Float64 if k in ("score", "human", "again") else pl.String for k in rows[0]}
    found = agree(pl.LazyFrame(rows, schema=schema), ["score"], ["human"], item="item", bootstrap=Bootstrap(0))
    level = found.scores["score"].whole.item
    expected = by_scipy(rows)
    assert level.counts["items"] == len(expected)
    for statistic, values in zip(("kendall", "spearman", "pearson"), np.array(expected).T, strict=False):
        assert level.statistics[statistic] == pytest.approx(values.mean())


def test_agree_refuses_tables_that_cannot_serve():
    for columns, words in (
        ({"score": [1.0, 2], "human": ["good", "bad"]}, "Column human holds String, not numbers"),
        ({"score": [1.0], "human": [2.0]}, "Rows with a value in human: 1"),
        ({"score": [1.0, 2, 3], "human": [None, None, None]}, "Rows with a value in human: 0"),
        ({"score": [1.0, 2, 3], "human": [3.0, 3, 3]}, "human is 3 in all 3 rows"),
    ):
        with pytest.raises(SpecError, match=words):
            agree(table(**columns), ["score"], ["human"])
    with pytest.raises(SpecError) as caught:
        agree(small(), [], [], bootstrap=Bootstrap(-1))
    assert len(caught.value.problems) == 3


def test_agree_is_none_with_a_note_where_a_statistic_is_undefined():
    frame = table(score=[2.0, 2, 2], human=[1.0, 2, 3], item=["a", "b", "c"], system=["x", "x", "x"])
    found = agree(frame, ["score"], ["human"], item="item", system="system", bootstrap=Bootstrap(20)).json()["scores"][
        "score"
    ]
    assert found["dataset"]["pearson"] is None
    assert found["dataset"]["note"] == "The score is 2 in all 3 rows; no correlation is defined."
    assert (found["item"]["items"], found["item"]["skipped"]) == (0, 3)
    assert found["item"]["note"] == "All 3 items have one row; agreement within items needs two or more."
    assert found["system"]["note"] == "There is one system only; agreement over systems needs two or more."


def test_agree_compares_items_within_their_task_only():
    """Within each task the order is turned round, over both together it is right: only the task tells."""
    frame = table(score=[1.0, 2, 11, 12], human=[2.0, 1, 12, 11], item=["i"] * 4, task=["t", "t", "u", "u"])
    together = agree(frame, ["score"], ["human"], item="item", bootstrap=Bootstrap(0)).scores["score"].whole.item
    apart = (
        agree(frame, ["score"], ["human"], item="item", task="task", bootstrap=Bootstrap(0)).scores["score"].whole.item
    )
    assert together.statistics["kendall"] == pytest.approx(1 / 3)
    assert apart.statistics["kendall"] == pytest.approx(-1.0)
    assert apart.counts["items"] == 2


def test_agree_by_task_shows_a_moving_scale_as_shift_and_lower_pooled_agreement():
    rng = np.random.default_rng(0)
    human = rng.normal(size=400)
    task = np.arange(400) % 2
    score = human + 0.2 * rng.normal(size=400) + 5 * task
    found = agree(table(score=score, human=human, task=task), ["score"], ["human"], task="task", bootstrap=Bootstrap(0))
    answer = found.json()["scores"]["score"]
    assert answer["pooled"]["within"]["pearson"] > 0.95 > 0.5 > answer["pooled"]["pearson"]
    assert answer["tasks"]["0"]["shift"] < -0.5 < 0.5 < answer["tasks"]["1"]["shift"]


def many(n=240):
    rng = np.random.default_rng(1)
    quality = rng.normal(size=n)
    columns = {
        name: quality + noise * rng.normal(size=n) for name, noise in (("good", 0.5), ("poor", 3), ("human", 0.5))
    }
    return table(**columns, item=np.arange(n) // 4, system=np.arange(n) % 4)


def test_agree_intervals_contain_the_statistic_and_depend_on_the_seed_alone():
    def ask(seed):
        return agree(many(), ["good"], ["human"], item="item", system="system", bootstrap=Bootstrap(200, seed)).frame

    found = ask(0)
    assert found.equals(ask(0))
    assert not found.equals(ask(1))
    assert found.select((pl.col("low") <= pl.col("value")) & (pl.col("value") <= pl.col("high"))).to_series().all()
    assert found.columns == ["score", "task", "level", "statistic", "value", "low", "high", "n", "unread"]
    assert len(found) == 4 + 5 + 4


def test_agree_with_permutations_compares_two_scores():
    rows = agree(many(), ["poor", "good"], ["human"], item="item", bootstrap=Bootstrap(0), permutations=30).json()[
        "comparisons"
    ]
    assert [(row["better"], row["than"], row["level"], row["statistic"]) for row in rows] == [
        ("good", "poor", "item", "kendall")
    ]
    assert rows[0]["difference"] > 0.2
    assert rows[0]["p"] < 0.05


def test_agree_averages_several_people_and_reports_their_agreement_as_ceiling():
    frame = table(score=[1.0, 2, 3, 4], a=[1.0, 2, 3, 4], b=[2.0, 1, 4, 3], c=[1.0, 2, None, None])
    found = agree(frame, ["score"], ["a", "b", "c"], bootstrap=Bootstrap(0)).json()
    people = {"a": [1, 2, 3, 4], "b": [2, 1, 4, 3]}
    mean = [4 / 3, 5 / 3, 3.5, 3.5]
    assert found["scores"]["score"]["dataset"]["pearson"] == pytest.approx(scipy.stats.pearsonr([1, 2, 3, 4], mean)[0])
    each = (
        scipy.stats.pearsonr(people["a"], [1.5, 1.5, 4, 3])[0],
        scipy.stats.pearsonr(people["b"], [1, 2, 3, 4])[0],
        # c's two rows against 1.5 and 1.5: undefined, left out.
    )
    assert found["human"]["people"] == ["a", "b", "c"]
    assert found["human"]["dataset"]["pearson"] == pytest.approx(np.mean(each))
    assert set(found["human"]["alpha"]) == {"ordinal", "interval"}


def test_agree_of_whole_numbers_adds_kappa_and_alpha():
    frame = table(score=[1, 1, 2, 2], human=[1, 1, 2, 1], measured=[0.5, 1, 2, 2])
    found = agree(frame, ["score", "measured"], ["human"], bootstrap=Bootstrap(0)).json()["scores"]
    assert found["score"]["labels"]["kappa"] == pytest.approx(0.5)
    assert found["measured"]["labels"] is None


def first_number(text, low, high):
    number = re.search(r"\d+(?:\.\d+)?", text)
    return float(number[0]) if number and low <= float(number[0]) <= high else None


@pytest.mark.parametrize(
    ("dimension", "scale", "pearson", "kendall", "items"),
    [
        ("naturalness", (1, 3), 0.393, 0.356, 60),
        ("coherence", (1, 3), 0.468, 0.391, 60),
        ("engagingness", (1, 3), 0.549, 0.511, 60),
        ("groundedness", (0, 1), 0.318, 0.590, 54),
    ],
)
def test_agree_reproduces_the_published_agreement_of_topical_chat(dimension, scale, pearson, kendall, items):
    if not DATA.is_dir():
        pytest.skip("Left out: agreement on real judge replies, whose folder shared/data is not here.")
    replies = pl.read_parquet(DATA / "topical_chat_judge_outputs.parquet").filter(
        (pl.col("dimension") == dimension) & (pl.col("prompt_kind") == "geval")
    )
    people = pl.read_parquet(DATA / "topical_chat_items.parquet").select("id", "doc_id", human=f"human_{dimension}")
    read = [[first_number(reply, *scale) for reply in row] for row in replies["judge_raw_outputs"]]
    frame = replies.select("id", score=pl.Series(read, dtype=pl.List(pl.Float64)).list.mean()).join(people, on="id")
    found = agree(frame.lazy(), ["score"], ["human"], item="doc_id", bootstrap=Bootstrap(0)).json()["scores"]["score"]
    assert round(found["dataset"]["pearson"], 3) == pearson
    assert round(found["item"]["kendall"], 3) == kendall
    assert (found["item"]["items"], found["item"]["skipped"]) == (items, 60 - items)


@pytest.mark.parametrize(
    ("score", "human", "same"),
    [
        (range(1, 11), [0, 1], False),
        (range(11), [0, 1], False),
        (range(1, 11), range(1, 6), False),
        ([0, 1], range(1, 6), False),
        (range(1, 6), range(1, 6), True),
        ([3, 4, 5], range(1, 6), True),
        (range(1, 6), [2, 3, 4, 5], True),
        ([0, 1], [0, 1], True),
    ],
)
def test_agree_has_kappa_and_alpha_only_where_both_sides_use_the_same_labels(score, human, same):
    pairs = [(float(s), float(h)) for s in score for h in human]
    frame = pl.LazyFrame(pairs, schema=["score", "human"], orient="row")
    found = agree(frame, ["score"], ["human"], bootstrap=Bootstrap(0)).scores["score"]
    assert (found.labels is not None) == same
    assert ("the same labels" in found.unlike) == (not same)
