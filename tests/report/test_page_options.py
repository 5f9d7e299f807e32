"""The report page finds columns by name, takes those that options name, and refuses wrong options in a sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from support.page_runs import of, rows, scores

from scorer.errors import SpecError
from scorer.output.scan import scan_scores
from scorer.report.page.build import page
from scorer.report.page.options import ReportOptions


def test_page_names_columns_that_may_hold_human_values_and_asks_for_labels_only_where_there_are_scores(
    tmp_path: Path,
) -> None:
    given = rows(40, human_quality=[1.0, 2.0] * 20, human_note=["good"] * 40)
    made = of(tmp_path, given, {"score": scores(40)})
    assert made.answer.judge.endswith("human_quality may hold some: name it with --human COL.")
    assert made.answer.command is None
    (tmp_path / "failed").mkdir()
    failed = of(tmp_path / "failed", rows(40), {"score": [None] * 40})
    assert failed.answer.judge.endswith("Name one with --human COL.")
    assert failed.answer.command is None


def test_page_takes_a_column_that_an_option_names_for_no_second_role(tmp_path: Path) -> None:
    given = rows(60).rename({"system": "category"})
    made = of(tmp_path, given, {"score": scores(60)}, system="category")
    assert made.systems
    assert [one.name for one in made.systems.systems] != []
    assert made.where is None
    with pytest.raises(SpecError, match="--system category and --task category: give each a column of its own"):
        page(f"{tmp_path}/out", ReportOptions(system="category", task="category"))


@pytest.mark.parametrize(
    "values", [pl.Series([b"a", b"\xff", b"c"] * 20), pl.Series([1, 2, 3] * 20, dtype=pl.Duration("us"))]
)
def test_page_refuses_names_that_are_no_plain_values_and_finds_none_among_them(
    tmp_path: Path, values: pl.Series
) -> None:
    made = of(tmp_path, rows(60).with_columns(values.alias("system")), {"score": scores(60)})
    assert made.answer.systems.startswith("The mean score is")
    with pytest.raises(SpecError, match=r"Column system holds .*; --system takes a column of plain values"):
        page(f"{tmp_path}/out", ReportOptions(system="system"))


def test_page_says_that_a_column_of_scores_is_empty_where_no_row_failed(tmp_path: Path) -> None:
    made = of(tmp_path, rows(6), {"score": scores(6), "score_a": [None] * 6}, score="score_a")
    assert made.answer.systems == "No row has a value in score_a."


def test_page_counts_in_a_step_of_the_calibration_the_rows_that_its_condition_lists(tmp_path: Path) -> None:
    made = of(
        tmp_path,
        rows(60, human=[3.0] * 2 + [None] * 58),
        {"score": [2.0, 3.0] + [1.0, 2.0, 4.0, 5.0, 5.0] * 11 + [3.0] * 3},
    )
    assert made.judge
    table = scan_scores(f"{tmp_path}/out").collect()
    found = [one.rows for one in made.judge.calibration]
    assert len(found) == 2
    assert [table.filter(pl.sql_expr(one.where or "")).height for one in found] == [one.count for one in found]


@pytest.mark.parametrize("option", [{"acceptable": float("nan")}, {"step": "item", "margin": float("inf")}])
def test_page_refuses_numbers_that_are_not_finite(tmp_path: Path, option: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match=f"--{list(option)[-1]} "):
        ReportOptions(**option).check()
