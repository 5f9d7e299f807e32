"""Promise: a chart shows the figures of its analysis, from a table or from the result, and says what it left out."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import polars as pl
import pytest

import scorer
from scorer.errors import SpecError

alt = pytest.importorskip("altair", reason="left out: the extra `plots` is not installed")
from scorer import plot  # noqa: E402
from scorer.plot.style import COLOURS  # noqa: E402

RNG = np.random.default_rng(0)
HUMAN = RNG.integers(1, 6, 48).astype(float)
SCORE = np.clip(np.round(HUMAN + RNG.normal(0, 1, 48)), 1, 5)
FRAME = pl.DataFrame(
    {
        "score": [None, *SCORE[1:].tolist()],
        "other": RNG.normal(0, 1, 48),
        "human": HUMAN,
        "model": ["alder", "birch", "\u202ecedar<b>"] * 16,
        "task": (["answer"] * 3 + ["summary"] * 3) * 8,
        "item": [n // 3 for n in range(48)],
        "step": [0, 100, 200] * 16,
        "formed": (RNG.random(48) < 0.8).tolist(),
        "finished_at": pl.Series([1_790_000_000_000_000 + n * 1_000_000 for n in range(48)]).cast(
            pl.Datetime("us", "UTC")
        ),
        "cost_microusd": [n * 10 for n in range(48)],
    }
)
BOARD = scorer.leaderboard(FRAME, system="model", item="item", bootstrap=50)
CHARTS: dict[str, Any] = {
    "distribution": lambda: plot.distribution(FRAME),
    "distribution by": lambda: plot.distribution(FRAME, "other", by="model"),
    "agreement": lambda: plot.agreement(FRAME, ["score", "other"], "human", item="item", task="task", bootstrap=20),
    "between judges": lambda: plot.agreement(FRAME, ["score", "other"], bootstrap=0),
    "judge against human": lambda: plot.judge_against_human(FRAME),
    "leaderboard": lambda: plot.leaderboard(BOARD),
    "choice": lambda: plot.choice(FRAME, system="model", item="item", cost="cost_microusd", margin=1.0, bootstrap=50),
    "leaderboards": lambda: plot.leaderboard(FRAME, ["score", "other"], system="model", bootstrap=0),
    "scale": lambda: plot.scale(FRAME, human="human", task="task"),
    "learning curve": lambda: plot.learning_curve(FRAME, variant="step", well_formed="formed", bootstrap=20),
    "cost": lambda: plot.cost(FRAME),
}


def values(chart: Any) -> list[dict[str, Any]]:
    """The rows inside a chart, each once."""
    tree = chart.to_dict()
    return [row for rows in tree.get("datasets", {}).values() for row in rows] + list(_inline(tree))


def _inline(tree: Any) -> Any:
    if isinstance(tree, dict):
        if isinstance(tree.get("data"), dict):
            yield from tree["data"].get("values", ())
        for key, value in tree.items():
            if key != "datasets":
                yield from _inline(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from _inline(value)


@pytest.mark.slow
def test_choice_shows_the_front_the_chosen_system_and_the_margin() -> None:
    rows = [(f"s{k}", i, k + (i % 3) / 10, float(10 * k)) for k in range(3) for i in range(20)]
    frame = pl.DataFrame(rows, schema=["model", "item", "score", "price"], orient="row")
    found = scorer.choose(frame, system="model", item="item", cost="price", margin=1.5, bootstrap=50)
    shown = values(plot.choice(found))
    kinds = {row["system"]: row["kind"] for row in shown if "kind" in row}
    assert kinds == {"s0": "on the front", "s1": "chosen", "s2": "on the front"}
    assert [row["at"] for row in shown if "at" in row] == [pytest.approx(2.095 - 1.5)]
    with pytest.raises(SpecError, match="give cost=COLUMN"):
        plot.choice(frame, system="model")


def test_every_chart_is_drawn_by_vega() -> None:
    """A specification that Altair accepts may still be an error for Vega-Lite, or draw nothing. Slow: starts Vega."""
    vega = pytest.importorskip("vl_convert")
    charts = [draw().properties(title=f"chart {name}") for name, draw in CHARTS.items()]
    drawn = vega.vegalite_to_svg(alt.vconcat(*charts).to_dict())
    for before, name in enumerate(CHARTS):
        part = drawn.split("chart ")[before + 1 :]
        assert any(one.startswith(name) and one.count("<path") > 5 for one in part), name
    assert "NaN" not in drawn
    assert "undefined" not in drawn


def test_leaderboard_shows_the_figures_of_the_analysis_best_first() -> None:
    chart = plot.leaderboard(BOARD)
    shown = {row["system"].encode().decode("unicode_escape"): row for row in values(chart)}
    for row in BOARD.frame.to_dicts():
        drawn = shown[row["system"]]
        assert [drawn[key] for key in ("value", "low", "high", "rows")] == [
            row[key] for key in ("mean", "low", "high", "rows")
        ]
    assert "47 rows with a score, of 3 systems; 1 without one" in str(chart.to_dict()["title"])


def test_chart_of_a_result_is_that_of_its_table() -> None:
    table = plot.leaderboard(FRAME, system="model", item="item", bootstrap=50)
    (one,) = BOARD.values()
    assert values(plot.leaderboard(BOARD)) == values(table) == values(plot.leaderboard(one))
    agreed = scorer.agree(FRAME, human="human", bootstrap=0)
    assert values(plot.agreement(agreed)) == values(plot.agreement(FRAME, human="human", bootstrap=0))


def test_agreement_has_a_row_for_each_score_and_part_that_is_defined() -> None:
    shown = values(CHARTS["agreement"]())
    assert {row["part"] for row in shown} == {"over all rows", "within items", "task answer", "task summary"}
    assert {row["series"] for row in shown} == {"score", "other"}


def test_distribution_counts_every_row_with_a_score_and_says_how_many_have_none() -> None:
    chart = plot.distribution(FRAME, by="model")
    assert sum(row["rows"] for row in values(chart)) == 47
    assert "48 rows, 1 of them without a score" in str(chart.to_dict()["title"])


def test_judge_against_human_counts_every_row_with_both_values() -> None:
    shown = [row for row in values(plot.judge_against_human(FRAME)) if "rows" in row]
    pairs = FRAME.drop_nulls("score").group_by("human", "score").len("rows")
    assert {(row["human"], row["score"], row["rows"]) for row in shown} == set(pairs.rows())


def test_cost_ends_at_the_sum_of_the_rows() -> None:
    last = values(plot.cost(FRAME))[-1]
    assert last["rows"] == 48
    assert last["usd"] == pytest.approx(sum(range(48)) * 10 / 1e6)
    for panel in plot.cost(FRAME).to_dict()["vconcat"]:  # rows of one moment are not added up once more
        assert panel["encoding"]["y"]["stack"] is None


def test_invisible_characters_of_names_are_escaped_in_charts() -> None:
    assert "\u202e" not in str(plot.leaderboard(BOARD).to_dict()) + str(CHARTS["distribution by"]().to_dict())


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: plot.leaderboard(FRAME), r"Give system=COLUMN, the column of who answered"),
        (lambda: plot.learning_curve(BOARD), "This chart draws a Compared; given is Leaderboard"),
        (lambda: plot.learning_curve(FRAME, variant="model", bootstrap=0), "needs steps that are numbers"),
        (lambda: plot.distribution(FRAME, "scores"), "did you mean score"),
        (lambda: plot.distribution(FRAME.with_columns(score=pl.lit(None, pl.Float64))), "No row has a value in score"),
        (lambda: plot.judge_against_human(FRAME.clear()), "No row has both score and human"),
        (lambda: plot.agreement(FRAME, human="human", statistic="r2"), "'r2' is none of pearson"),
        (lambda: plot.cost(FRAME.clear()), "No row is finished"),
        (lambda: plot.cost(FRAME.with_columns(cost_microusd=pl.lit(None, pl.Int64))), "Add model.price"),
        (lambda: plot.cost(FRAME.drop("finished_at")), "Column finished_at is not in the table"),
    ],
)
def test_chart_says_what_is_missing(draw: Any, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        draw()


def test_chart_without_altair_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "altair", None)
    with pytest.raises(SpecError, match=r"pip install 'batch-scorer\[plots\]'"):
        plot.leaderboard(BOARD)


@pytest.mark.parametrize("background", ["#ffffff", "#333333"])
def test_marks_contrast_with_light_and_dark_backgrounds(background: str) -> None:
    """3:1, WCAG 1.4.11; #333 is the background of Altair's theme `dark`."""

    def light(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    for colour in COLOURS:
        low, high = sorted([light(colour), light(background)])
        assert (high + 0.05) / (low + 0.05) >= 3, colour
