"""The values of the report page: they are those of the table, by polars' own sums and by the analysis commands."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from support.finished_runs import finished_run

from scorer.analysis.agree import agree
from scorer.output.scan import scan_scores
from scorer.report.page.build import page
from scorer.report.page.data import Page
from scorer.report.page.options import ReportOptions
from scorer.report.page.row_list import Rows
from scorer.report.picks import condition
from scorer.report.run_table import open_runs

ROWS = 1200
OPTIONS = ReportOptions(human=("human", "second"), acceptable=4.0)


def generations(seed: int = 3) -> tuple[pl.DataFrame, dict[str, pl.Series]]:
    """400 items by three systems in two tasks, with scores of which some are missing, and two people's values."""
    draw = np.random.default_rng(seed)
    item, system = np.divmod(np.arange(ROWS), 3)
    quality = draw.normal(3.0, 0.8, ROWS // 3)[item] + 0.4 * system
    score = np.clip(np.round(quality + draw.normal(0, 0.4, ROWS)), 1, 5)
    people = [np.clip(np.round(quality + draw.normal(0, 0.6, ROWS)), 1, 5) for _ in range(2)]
    unlabelled = draw.random(ROWS) < 0.7
    given = pl.DataFrame(
        {
            "item": [f"q{n}" for n in item],
            "model": [("small", 'it\'s "large"', "tuned")[n] for n in system],
            "task": [("summary", "code")[n % 2] for n in item],
            "human": pl.Series(np.where(unlabelled, np.nan, people[0])).fill_nan(None),
            "second": pl.Series(np.where(unlabelled, np.nan, people[1])).fill_nan(None),
            "response": ["word " * (n % 17 + 1) for n in range(ROWS)],
        }
    )
    missing = draw.random(ROWS) < 0.03
    return given, {"score": pl.Series(np.where(missing, np.nan, score)).fill_nan(None)}


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> str:
    return finished_run(tmp_path_factory.mktemp("run"), *generations(), keep=["model"])


@pytest.fixture(scope="module")
def made(out: str) -> Page:
    return page(out, OPTIONS)


@pytest.fixture(scope="module")
def table(out: str) -> pl.DataFrame:
    return scan_scores(out, join_input=True).collect()


def marks(value: object) -> list[Rows]:
    """Every `Rows` in a value of the page."""
    if isinstance(value, Rows):
        return [value]
    if isinstance(value, list | tuple):
        return [mark for one in value for mark in marks(one)]
    fields = getattr(value, "__dataclass_fields__", {})
    return [mark for name in fields for mark in marks(getattr(value, name))]


def test_systems_have_the_means_and_counts_of_the_table(made: Page, table: pl.DataFrame) -> None:
    assert made.systems
    found = {one.name: (one.score.n, one.unscored, one.rows.count) for one in made.systems.systems}
    counted = table.group_by("model").agg(pl.col("score").count(), pl.col("score").null_count().alias("no"), pl.len())
    assert found == {name: (read, no, rows) for name, read, no, rows in counted.iter_rows()}
    assert [one.name for one in made.systems.systems] == ["tuned", 'it\'s "large"', "small"]


def test_acceptable_is_the_share_of_scores_at_or_above_the_bar(made: Page, table: pl.DataFrame) -> None:
    assert made.systems
    shares = dict(table.drop_nulls("score").group_by("model").agg((pl.col("score") >= 4).mean()).iter_rows())
    for one in made.systems.systems:
        assert one.acceptable
        assert one.acceptable.value == pytest.approx(shares[one.name])


def test_histograms_count_every_score_once(made: Page, table: pl.DataFrame) -> None:
    assert made.systems
    whole, *parts = made.systems.histograms
    counts = dict(table["score"].drop_nulls().value_counts().iter_rows())
    assert dict(zip((1.0, 2.0, 3.0, 4.0, 5.0), whole.counts, strict=True)) == counts
    assert np.sum([one.counts for one in parts], axis=0).tolist() == whole.counts


def test_where_has_a_cell_for_each_system_and_task(made: Page, table: pl.DataFrame) -> None:
    assert made.where
    counts = table.group_by("model", "task").agg(pl.col("score").count(), pl.len())
    assert {(one.system, one.task): (one.score.n, one.rows.count) for one in made.where.cells} == {
        (model, task): (read, rows) for model, task, read, rows in counts.iter_rows()
    }


def test_agreement_within_tasks_is_that_of_the_command_agree_by_task(made: Page, table: pl.DataFrame) -> None:
    assert made.judge
    within = agree(table.lazy(), ["score"], ["human", "second"], task="task").scores["score"].within
    assert within
    assert [one.value.value for one in made.judge.agreement if one.name == "Pearson within tasks"] == [
        within["pearson"]
    ]
    assert f", {within['pearson']:.2f} within a task on average" in made.answer.judge


def test_agreement_is_that_of_the_command_agree(made: Page, table: pl.DataFrame) -> None:
    assert made.judge
    assert made.judge.ceiling
    found = agree(table.lazy(), ["score"], ["human", "second"], item="item", system="model")
    level = found.scores["score"].whole.dataset
    assert made.judge.agreement[0].value.value == level.statistics["pearson"]
    assert (made.judge.agreement[0].value.low, made.judge.agreement[0].value.high) == level.intervals["pearson"]
    assert found.ceiling
    assert made.judge.ceiling.value.value == found.ceiling.statistics["dataset"]["pearson"]


def test_confusion_counts_the_rows_that_have_both(made: Page, table: pl.DataFrame) -> None:
    assert made.judge
    assert made.judge.confusion
    both = table.filter(pl.col("score").is_not_null() & pl.col("human").is_not_null()).height
    assert sum(cell.count for row in made.judge.confusion.cells for cell in row) == both


def test_every_mark_names_as_many_rows_by_its_condition_as_it_counts(out: str, table: pl.DataFrame) -> None:
    checked = page(out, ReportOptions(human=("human",)))
    named = [mark for mark in marks(checked) if mark.where is not None]
    assert len(named) > 60
    shown = open_runs(out)  # as `scorer show --where` reads a condition
    for mark in named:
        assert table.filter(condition(mark.where or "", shown)).height == mark.count, mark.where


def test_every_row_behind_a_mark_has_a_card(made: Page) -> None:
    assert made.rows
    cards = {card.id for card in made.rows.cards}
    assert all(row in cards for mark in marks(made) for row in mark.ids)
    assert made.systems
    assert all(one.rows.ids for one in made.systems.systems)
