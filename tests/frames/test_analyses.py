"""Promise: each analysis command is a function of scorer that takes a table or a frame and returns frames."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from support.clock import run
from support.outputs import Output

import scorer
from scorer.errors import SpecError

RNG = np.random.default_rng(0)
FRAME = pl.DataFrame(
    {
        "score": [1.0, 2.0, 3.0, 4.0, 2.0, 3.0, None, 5.0],
        "other": [2.0, 2.0, 3.0, 5.0, 2.0, 4.0, 1.0, 5.0],
        "human": [1.0, 2.0, 4.0, 4.0, 2.0, 2.0, 1.0, 5.0],
        "model": ["a", "b"] * 4,
        "task": ["t"] * 4 + ["u"] * 4,
        "item": [n // 2 for n in range(8)],
        "text": ["w " * n for n in (1, 2, 3, 4, 5, 6, 7, 8)],
        "preference": [0.0, 1.0, 0.5, 1.0, 0.0, 1.0, 0.5, 0.0],
        "left": ["a", "b"] * 4,
        "right": ["b", "a"] * 4,
        "cost": [1.0] * 8,
        "licence": ["free", "closed"] * 4,
    }
)


def test_dir_of_scorer_is_the_public_names_and_each_is_there() -> None:
    assert set(dir(scorer)) == {*scorer.__all__, "plot", "__version__"}
    for name in scorer.__all__:
        assert getattr(scorer, name) is not None
    assert {"agree", "bias", "compare", "estimate", "judge", "leaderboard", "retry", "status", "verify"} <= set(
        dir(scorer)
    )


def test_agree_has_a_row_for_each_score_level_and_statistic() -> None:
    found = scorer.agree(FRAME, ["score", "other"], "human", item="item", bootstrap=50)
    frame = found.frame
    assert frame.columns == ["score", "task", "level", "statistic", "value", "low", "high", "n", "unread"]
    pearson = frame.filter(level="dataset", statistic="pearson", score="score").row(0, named=True)
    assert (pearson["n"], pearson["unread"]) == (7, 1)
    assert (pearson["low"], pearson["high"]) == (None, None)  # of four items
    rows = scorer.agree(FRAME, ["score"], "human", bootstrap=50).frame
    pearson = rows.filter(level="dataset", statistic="pearson").row(0, named=True)
    assert pearson["low"] < pearson["value"] < pearson["high"]


def test_agree_without_human_values_compares_judges() -> None:
    frame = scorer.agree(FRAME, ["score", "other"], bootstrap=0).frame
    assert frame.select("first", "second", "n").unique().rows() == [("score", "other", 7)]
    with pytest.raises(SpecError, match="permutations tests which score"):
        scorer.agree(FRAME, ["score", "other"], permutations=9)


def test_leaderboard_has_a_row_for_each_score_and_system() -> None:
    found = scorer.leaderboard(
        FRAME, ["score", "other"], system="model", average="cost", fact="licence", item="item", bootstrap=50
    )
    assert found.frame.select("score", "system", "cost", "licence").rows() == [
        ("score", "b", 1.0, "closed"),
        ("score", "a", 1.0, "free"),
        ("other", "b", 1.0, "closed"),
        ("other", "a", 1.0, "free"),
    ]
    assert found["score"].systems.equals(found.frame.filter(score="score").drop("score"))
    assert any("no verdict" in note for note in found.notes)
    assert "no verdict" in repr(found)
    assert "no verdict" in found._repr_html_()


def test_every_other_analysis_has_a_frame() -> None:
    assert scorer.bradley_terry(FRAME, "preference", system="left", against="right", bootstrap=0).height == 2
    assert scorer.compare(FRAME, variant="model", bootstrap=0).frame.select("variant", "against").rows() == [("b", "a")]
    estimated = scorer.estimate(FRAME, human="human", system="model").frame
    assert estimated["system"].to_list() == [None, "a", "b"]
    assert estimated.schema["low"] == pl.Float64
    assert scorer.scale(FRAME, human="human", task="task").frame["task"].to_list() == ["t", "u"]
    biases = scorer.bias(FRAME, text="text", human="human", own=["a"], system="model", bootstrap=50).frame
    assert biases["bias"].unique(maintain_order=True).to_list() == ["length", "self_preference"]
    assert biases.filter(figure="excess")["low"].null_count() == 0
    rates = scorer.bias(
        FRAME.with_columns(base=pl.lit("w w w")),
        "preference",
        text="text",
        baseline="base",
        system="model",
        bootstrap=0,
    ).frame
    assert set(rates.filter(bias="win_rates")["system"]) == {"a", "b"}


@pytest.mark.parametrize(
    "table", [FRAME, FRAME.lazy(), FRAME.to_arrow(), FRAME.to_dicts()], ids=lambda table: type(table).__name__
)
def test_a_frame_of_any_kind_is_taken(table: Any) -> None:
    assert scorer.estimate(table, human="human").frame["rows"].to_list() == [7]


def test_a_path_and_several_output_folders_are_taken(tmp_path: Path) -> None:
    FRAME.write_parquet(tmp_path / "t.parquet")
    assert scorer.estimate(tmp_path / "t.parquet", human="human").frame["rows"].to_list() == [7]
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        run(Output(tmp_path / name, 4).score({0: range(4)}))
    tables = [tmp_path / "a/out", tmp_path / "b/out"]
    assert list(scorer.leaderboard(tables, system="id", bootstrap=0)) == ["a.score", "b.score"]
    named = {"one": tmp_path / "a/out", "two": str(tmp_path / "b/out")}
    assert list(scorer.leaderboard(named, system="id", bootstrap=0)) == ["one.score", "two.score"]


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: scorer.agree(FRAME, (), "human"), "at least one score column"),
        (lambda: scorer.agree(FRAME, "scor", "human"), "did you mean score"),
        (lambda: scorer.bias(FRAME), "No bias is named"),
        (lambda: scorer.leaderboard(3, system="model"), "takes a polars DataFrame"),
        (lambda: scorer.estimate("gone.parquet", human="human"), "gone.parquet is not there"),
    ],
)
def test_what_is_wrong_is_a_sentence(call: Any, says: str) -> None:
    with pytest.raises(SpecError, match=says):
        call()
