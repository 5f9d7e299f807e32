"""The report page of two judges, of several samples, of pairs, and what it says of the judge's preferences."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from support.finished_runs import RATING, finished_run
from support.page_runs import of, rows, scores
from support.recorded import recorded_run

from scorer.output.scan import scan_scores
from scorer.report.html import document
from scorer.report.page.build import page
from scorer.report.page.options import ReportOptions


def test_page_of_two_judges_compares_them_over_rows_that_both_judged(tmp_path: Path) -> None:
    given = rows(90, human=scores(90, seed=5))
    first = finished_run(tmp_path, given, {"score": scores(90, lead=0.5)}, name="a")
    second = finished_run(tmp_path, given, {"score": scores(90, lead=0.4)}, name="b", run="f" * 16, pending=30)
    made = page({"first": first, "second": second}, ReportOptions())
    assert any("30 rows" in sentence and "second" in sentence for sentence in made.left_out)
    assert made.systems
    assert made.systems.withheld
    assert {one.rows.count for one in made.systems.systems} == {20}
    assert {name for one in made.systems.systems for name in one.others} == {"second"}
    assert made.judge
    assert any(one.name.startswith("Retest, first with second") for one in made.judge.agreement)  # of one judge
    assert sum(cell.count for row in made.judge.between[0].cells for cell in row) == 60
    assert made.rows
    assert "judges" in [tab.name for tab in made.rows.tabs]
    table = scan_scores({"first": first, "second": second}, join_input=True).collect()
    unread = next(tab for tab in made.rows.tabs if tab.name == "unread")
    assert table.filter(pl.sql_expr(unread.rows.where or "")).height == unread.rows.count
    document(made)


def test_page_of_two_judges_says_that_their_scales_differ(tmp_path: Path) -> None:
    given = rows(30)
    wide = {**RATING, "judge": {**RATING["judge"], "scale": [1, 10]}}
    first = finished_run(tmp_path, given, {"score": scores(30)}, name="a")
    same = finished_run(tmp_path, given, {"score": scores(30)}, name="b", run="e" * 16)
    other = finished_run(tmp_path, given, {"score": scores(30)}, name="c", run="f" * 16, spec=wide)
    said = {
        name: [notice.text for notice in page({"first": first, "second": second}, ReportOptions()).strip.notices]
        for name, second in (("same", same), ("other", other))
    }
    assert not any("scales" in text for text in said["same"])
    assert any("The judges' scales differ: first 1 to 5, second 1 to 10." in text for text in said["other"])


def test_page_of_two_samples_a_row_says_how_far_the_judge_agrees_with_itself(tmp_path: Path) -> None:
    draw = np.random.default_rng(2)
    texts = [{"id": f"r{n}", "item": n // 3, "question": "q", "response": "x"} for n in range(60)]
    first = draw.integers(1, 6, 60)
    second = np.clip(first + draw.integers(-1, 2, 60), 1, 5)
    replies = [
        [f"Score: {a}", f"Score: {b}" if n else "nothing"] for n, (a, b) in enumerate(zip(first, second, strict=True))
    ]
    made = page(recorded_run(tmp_path, texts, replies, samples=2), ReportOptions(item="item"))
    assert made.judge
    (found,) = [one for one in made.judge.agreement if one.name.startswith("Retest")]
    assert found.value.value == pytest.approx(np.corrcoef(first[1:], second[1:])[0, 1])
    assert found.value.n == 59
    assert found.value.low is not None
    assert found.value.low < found.value.value
    assert "<h3>Agreement</h3>" in document(made)
    single = page(recorded_run(tmp_path, texts, [some[:1] for some in replies], name="one"), ReportOptions())
    assert single.judge is None or not [one for one in single.judge.agreement if "Retest" in one.name]


def test_page_of_pairs_measures_position_bias(tmp_path: Path) -> None:
    spec = {**RATING, "judge": {"kind": "pairwise", "prompt": "{first} {second}", "a": "response", "b": "other"}}
    given, swapped = [1.0, 0.0] * 30, [1.0, 1.0] * 30
    results = {
        "score": [0.5 * (a + b) for a, b in zip(given, swapped, strict=True)],
        "preference_given": given,
        "preference_swapped": swapped,
        "flipped": [a != b for a, b in zip(given, swapped, strict=True)],
    }
    pairs_ = rows(60, other=["other"] * 60, gold=[1.0, 0.0] * 30).drop("system")
    made = of(tmp_path, pairs_, results, spec=spec, human=["gold"])
    assert made.answer.systems.startswith("The mean preference for response is 0.75 [")
    assert made.judge
    assert {one.name: one.none for one in made.judge.bias}["Preference for the first place"] == 0.5
    page_text = document(made)
    biases = page_text.partition("Biases</h3>")[2].partition("</table>")[0]
    assert biases.count('<line class="z"') == 1  # at 0.5, of the first of the two
    assert 'href="#systems">Scores</a>' in page_text
    found = {one.name: one.value.value for one in made.judge.bias}
    assert found["Preference for the first place"] == 0.25
    assert found["Same verdict in both orders"] == 0.5
    assert made.rows
    flips = next(tab for tab in made.rows.tabs if tab.name == "flips")
    assert flips.rows.count == 30
    assert [list(card.texts) for card in made.rows.cards[:1]] == [
        ["prompt, given order", "prompt, swapped order", "a: response", "b: other"]
    ]


def test_page_measures_preference_for_the_own_kind(tmp_path: Path) -> None:
    human = scores(90)
    flattered = [value + (n % 3 == 0) for n, value in enumerate(human)]
    made = of(tmp_path, rows(90, human=human), {"score": flattered}, own=("s0",), human=("human",))
    assert made.judge
    found = next(one for one in made.judge.bias if one.name == "Self-preference").value
    assert found.low is not None
    assert found.low > 0
    assert found.n == 90


def test_page_of_published_preferences_has_their_means(tmp_path: Path) -> None:
    data = Path(__file__).resolve().parents[2] / "../shared/data/alpaca2_preferences.parquet"
    if not data.is_file():
        pytest.skip("Left out: AlpacaEval's stored preferences, which are no part of the repository.")
    given = pl.read_parquet(data)
    given = given.filter(pl.col("system").is_in(given["system"].unique(maintain_order=True).head(5).implode()))
    options = {"task": "dataset", "rows": 20}
    made = of(tmp_path, given.drop("preference"), {"score": given["preference"].cast(pl.Float64)}, **options)
    means = given.group_by("system", "dataset").agg(pl.col("preference").cast(pl.Float64).mean(), pl.len())
    assert made.where
    assert made.systems
    found = {(cell.system, cell.task): cell.score for cell in made.where.cells}
    most = dict(means.group_by("dataset").agg(pl.col("len").max()).iter_rows())
    for system, task, mean, count in means.iter_rows():
        assert found[system, task].n == count
        if count == most[task]:  # a mean of fewer items is adjusted for them
            assert found[system, task].value == pytest.approx(mean)
    assert len(made.systems.systems) == 5


@pytest.mark.parametrize("role", ["item", "system", "task"])
def test_page_does_without_a_column_found_by_its_name_that_holds_no_value(tmp_path: Path, role: str) -> None:
    given = rows(60, task=["a", "b"] * 30).with_columns(pl.lit(None, pl.String).alias(role))
    made = of(tmp_path, given, {"score": scores(60)})
    assert made.left_out == []
    assert [one.text for one in made.strip.notices] == [
        f"Column {role} has no value in any row: it is not used. --{role} names another."
    ]
    assert made.answer.systems.startswith("The mean score" if role == "system" else "No two of the 3 systems")
