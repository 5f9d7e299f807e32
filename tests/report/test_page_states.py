"""The report page of runs that are unfinished, empty, failed, or of one system."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
from support.finished_runs import RATING, finished_run
from support.page_runs import of, rows, scores

from scorer.cli.app import _exit_code
from scorer.errors import SpecError
from scorer.files.local_files import LocalFiles
from scorer.output.canary_files import Alarm, CanaryState, save_state
from scorer.output.layout import Layout
from scorer.output.manifest import load, save
from scorer.output.scan import scan_scores
from scorer.output.selection import Selection
from scorer.report.html import document
from scorer.report.html.commands import estimate
from scorer.report.page import build
from scorer.report.page.build import page
from scorer.report.page.options import ReportOptions
from scorer.report.page.population import Population, open_population
from scorer.report.picks import condition
from scorer.report.run_table import open_runs


def test_page_without_rows_says_so_and_has_no_panel_of_numbers(tmp_path: Path) -> None:
    made = of(tmp_path, rows(0), {"score": []})
    assert made.answer.systems == "The run has no rows."
    assert (made.systems, made.where, made.judge, made.rows, made.training) == (None,) * 5
    assert {made.empty[panel] for panel in ("systems", "rows")} == {"The run has no rows."}
    assert "This file holds no text of any row." in document(made)


def test_page_of_a_drifted_judge_counts_and_names_its_suspect_rows(tmp_path: Path) -> None:
    """The condition names the rows that it counts, to the microsecond; rows that no panel counts are none of them."""
    at = [1_700_000_000_000_000 + n * 1_000_000 for n in range(90)]
    finished = pl.Series(at).cast(pl.Datetime("us", "UTC"))
    given = rows(90).with_columns(system=pl.when(pl.int_range(90) != 45).then("system"))
    out = finished_run(tmp_path, given, {"score": scores(90), "finished_at": finished})
    alarm = Alarm(9, 0.5, 0.1, at[40], at[59])
    save_state(LocalFiles(), Layout(out), CanaryState(alarms=(alarm,)))
    made = page(out, ReportOptions())
    (one,) = made.run.suspects
    assert one.rows.count == 19
    assert {int(row.removeprefix("0:")) for row in one.rows.ids} <= {*range(40, 60)} - {45}
    assert one.rows.ids
    table = open_runs(out)
    named = table.joined.filter(condition(one.rows.where or "", table)).select("row").collect()["row"]
    assert sorted(named) == [n for n in range(40, 60) if n != 45]
    assert made.strip.notices[0].text.startswith("The judge had drifted: 19 rows finished from 2023-11-14 22:14:00 to")
    assert f"scorer retry {shlex.quote(out)} --suspect" in document(made)
    save_state(LocalFiles(), Layout(out), CanaryState(alarms=(msgspec.structs.replace(alarm, retried=True),)))
    assert page(out, ReportOptions()).run.suspects == []


def test_labels_of_a_judge_without_a_scale_may_have_any_value(tmp_path: Path) -> None:
    """People's grades of 1 to 5 lie outside of log-probabilities, and no line says where the two are equal."""
    given = rows(90, human=[n % 5 + 1.0 for n in range(90)])
    spec = {**RATING, "judge": {"kind": "likelihood", "prompt": "{item}", "response": "response"}}
    values = [-one for one in scores(90)]
    made = page(finished_run(tmp_path, given, {"score": values}, spec=spec), ReportOptions())
    assert made.systems
    assert made.systems.observed
    written = document(made)
    assert '"scale":null' in written
    assert "On the broken line" not in written
    (tmp_path / "scaled").mkdir()
    scaled = of(tmp_path / "scaled", given, {"score": scores(90)})
    assert '"scale":[1' in document(scaled)
    assert "On the broken line" in document(scaled)


def test_page_of_an_unfinished_run_withholds_ranks(tmp_path: Path) -> None:
    made = of(tmp_path, rows(90), {"score": scores(90, lead=1.0)}, pending=30)
    assert (made.strip.rows_done, made.strip.rows) == (60, 90)
    assert made.answer.systems.startswith("60 of 90 rows are finished")
    assert made.systems
    assert made.systems.withheld
    assert made.systems.pairs == []
    assert all(one.rank is None and not one.tied for one in made.systems.systems)


def test_page_of_a_rehearsal_says_that_its_scores_and_its_judge_mean_nothing(tmp_path: Path) -> None:
    made = of(tmp_path, rows(60, human=scores(60)), {"score": scores(60, lead=1.0)}, run="rehearsal-0123456789abcdef")
    assert made.answer.systems.startswith("This is a rehearsal: the scores are simulated")
    assert "agrees with people 0" not in made.answer.judge
    assert made.answer.judge.startswith("The judge is simulated")


def test_page_of_a_run_that_ended_at_an_answer_says_so(tmp_path: Path) -> None:
    out = finished_run(tmp_path, rows(60), {"score": scores(60, lead=1.0)})
    files, layout = LocalFiles(), Layout(out)
    manifest = load(files, layout)
    assert manifest is not None
    stopped = Selection(stop="best", sampled={"0000": 60})
    save(files, layout, replace(manifest, selection=stopped))
    made = page(out, ReportOptions())
    assert made.answer.systems.startswith("The run ended early, at the answer that stands above.")


def test_page_of_errors_alone_lists_them_with_an_example(tmp_path: Path) -> None:
    made = of(tmp_path, rows(30), {"score": [None] * 30, "error": ["Refused"] * 20 + ["Unreadable"] * 10})
    assert made.answer.systems == "No row has a score: all 30 finished rows failed (Refused 20, Unreadable 10)."
    assert [(one.name, one.rows.count) for one in made.run.errors] == [("Refused", 20), ("Unreadable", 10)]
    assert all(one.rows.ids for one in made.run.errors)
    assert made.systems is None


def test_page_leaves_out_and_counts_rows_that_had_nothing_to_judge_or_no_system(tmp_path: Path) -> None:
    given = rows(60).with_columns(pl.when(pl.int_range(60) < 5).then(None).otherwise(pl.col("system")).alias("system"))
    bad = {"score": [None] * 10 + scores(50), "error": ["BadRow"] * 10 + [None] * 50}
    out = finished_run(tmp_path, given, bad)
    made = page(out, ReportOptions())
    assert made.left_out == ["10 rows that had nothing to judge (BadRow or Damaged)."]
    assert made.systems
    assert sum(one.rows.count for one in made.systems.systems) == 50
    assert made.rows
    assert next(tab.rows.count for tab in made.rows.tabs if tab.name == "random") == 50
    table = scan_scores(out, join_input=True).collect()
    for one in made.systems.systems:
        assert table.filter(pl.sql_expr(one.rows.where or "")).height == one.rows.count
    # An error that no other panel counts is listed all the same.
    assert [(one.name, one.rows.count) for one in made.run.errors] == [("BadRow", 10)]


def test_page_names_the_best_system_by_the_lead_that_decides_its_rank(tmp_path: Path) -> None:
    made = of(tmp_path, rows(300), {"score": scores(300, lead=0.4)})
    assert made.systems
    best, second = made.systems.systems[:2]
    lead = next(pair for pair in made.systems.pairs if (pair.a, pair.b) == (best.name, second.name)).difference
    assert best.rank == (1, 1)
    assert lead.low is not None
    assert lead.low > 0
    assert made.answer.systems == (
        f"s2 is best: its mean is {lead.value:.2f} above that of s1 [{lead.low:.2f}, {lead.high:.2f}]."
    )
    assert made.answer.tipping
    assert f"more than {lead.value:.2f}" in made.answer.tipping
    assert best.score.value
    assert second.score.value
    assert lead.value == pytest.approx(best.score.value - second.score.value)


def test_page_says_whom_the_judge_favours_by_the_labels_of_both(tmp_path: Path) -> None:
    human = [2.0, 3.0] * 30
    for favoured, ahead in (("s0", 0.5), ("s1", 0.0)):
        folder = tmp_path / favoured
        folder.mkdir()
        judged = [value + ahead + (0.7 if n % 2 else 0.9) * (favoured == f"s{n % 2}") for n, value in enumerate(human)]
        made = of(folder, rows(60, 2, human=human), {"score": judged})
        assert made.answer.tipping
        assert f"60 labelled rows say that it favours {favoured} by 0." in made.answer.tipping


def test_page_says_what_cannot_be_told_apart(tmp_path: Path) -> None:
    made = of(tmp_path, rows(60), {"score": scores(60)})
    assert "No two of the 3 systems can be told apart" in made.answer.systems
    assert made.systems
    assert {len(one.tied) for one in made.systems.systems} == {2}


def test_page_does_not_compare_thousands_of_systems_or_tasks(tmp_path: Path) -> None:
    given = rows(700, task=[f"t{n % 350}" for n in range(700)]).with_columns(system=pl.col("item") + pl.col("system"))
    made = of(tmp_path, given, {"score": scores(700)}, rows=10)
    assert made.where is None
    assert made.systems
    assert made.systems.systems == []
    assert sum(made.systems.histograms[0].counts) == 700
    assert [notice.text.split(":")[0] for notice in made.strip.notices] == [
        "Column system has 700 values",
        "Column task has 350 values",
    ]


@pytest.mark.parametrize("runs", [1, 2])
def test_page_says_how_its_labels_are_read_and_picked_rows_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], runs: int
) -> None:
    given = rows(40)
    outs = [finished_run(tmp_path, given, {"score": scores(40, seed=n)}, name=f"out {n}") for n in range(runs)]
    made = page(outs[0] if runs == 1 else dict(zip("ab", outs, strict=True)), ReportOptions())
    monkeypatch.chdir(tmp_path)
    shard, ways = f"{tmp_path}/in/0000.parquet", ["random"] * 12 + ["too_high"] * 3
    labels = pl.DataFrame({"shard": [shard] * 15, "row": range(15), "human_label": [3.0, 4.0, 2.0] * 5, "picked": ways})
    assert made.answer.command
    program, *words = shlex.split(made.answer.command)
    assert [program, *words] == shlex.split(estimate(made) or "")  # the one above the rows, the other below the labels
    labels.write_csv("labels.csv")
    assert _exit_code(words) == 0
    assert "3 labels are left out: their rows were not drawn at random (3 too_high)" in capsys.readouterr().out
    labels.filter(picked="too_high").write_csv("labels.csv")
    assert _exit_code(words) == 2
    assert "No label is of a row that was drawn at random: 3 too_high" in capsys.readouterr().err


def test_page_of_one_system_shows_its_mean_and_distribution_and_no_rank(tmp_path: Path) -> None:
    made = of(tmp_path, rows(40, 1), {"score": scores(40, 1)})
    assert made.answer.systems.startswith("The mean score of s0 is ")
    assert made.systems
    assert [one.rank for one in made.systems.systems] == [None]
    assert sum(made.systems.histograms[0].counts) == 40


def test_page_asks_for_labels_where_nobody_has_checked_the_judge(tmp_path: Path) -> None:
    made = of(tmp_path, rows(40), {"score": scores(40)}, rows=20)
    assert "Nobody has checked this judge" in made.answer.judge
    assert made.answer.command
    assert made.rows
    random = [card for card in made.rows.cards if "random" in card.picked]
    assert [card.weight for card in random] == [8.0] * 5
    assert all(card.weight is None for card in made.rows.cards if card not in random)


def test_page_counts_what_a_figure_rests_on_and_leaves_out_the_correlation_over_two_systems(tmp_path: Path) -> None:
    for systems, expected in ((2, {"row", "item"}), (3, {"row", "item", "system"})):
        given = rows(60, systems, human=scores(60, systems, seed=2))
        (tmp_path / str(systems)).mkdir()
        made = of(tmp_path / str(systems), given, {"score": scores(60, systems, 0.5)})
        assert made.judge
        assert {one.of for one in made.judge.agreement} == expected
    text = document(made)
    assert ">20 items</td>" in text
    assert ">3 systems</td>" in text


def test_page_of_one_item_has_no_interval_and_equal_cells_have_two_decimals(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "equal").mkdir()
    one = of(tmp_path / "one", rows(3), {"score": [1.0, 2.0, 3.0]})
    assert one.systems
    assert one.systems.interval == "There is no interval: all rows are of one item."
    equal = of(tmp_path / "equal", rows(40, task=["a", "b"] * 20), {"score": [3.0] * 40})
    assert ">3.00</a>" in document(equal)
    assert "3.000" not in document(equal)


def test_page_without_texts_holds_no_text_of_any_row(tmp_path: Path) -> None:
    given = rows(30, response=["SECRET"] * 30, human=[1.0, 2.0, 3.0] * 10)
    results = {"score": scores(27) + [None] * 3, "reason": ["SECRET"] * 30, "error_detail": ["SECRET"] * 30}
    out = finished_run(tmp_path, given, {**results, "error": [None] * 27 + ["Unreadable"] * 3})
    made = page(out, ReportOptions(rows=0))
    assert not made.texts
    assert made.rows is None
    assert "SECRET" not in document(made)
    assert "SECRET" in document(page(out, ReportOptions()))


def test_page_names_systems_that_have_no_rank_in_its_answer(tmp_path: Path) -> None:
    given = scores(90, lead=0.5)
    made = of(tmp_path, rows(90), {"score": [None if n % 3 == 0 else one for n, one in enumerate(given)]})
    assert made.answer.systems.endswith(" s0 has no rank.")


def test_page_draws_what_held_requests_back_over_the_time_of_the_run(tmp_path: Path) -> None:
    out = finished_run(tmp_path, rows(30), {"score": scores(30)})
    history = [[1e9 + 60 * at, {"tokens_per_minute": at / 10, "ledger": 0.1}] for at in range(10)]
    assert not [one for one in page(out, ReportOptions()).run.series if "Held back" in one.name]
    Path(out, "progress.json").write_text(json.dumps({"history": history}))
    found = {one.name: one for one in page(out, ReportOptions()).run.series}
    assert list(found["Held back by tokens/min"].at) == [60.0 * at for at in range(10)]
    assert list(found["Held back by tokens/min"].values) == [at / 10 for at in range(10)]
    assert "Held back by disk (ledger)" in found


def test_page_draws_a_curve_for_each_mix(tmp_path: Path) -> None:
    given = pl.DataFrame({"mix": ["a", "b"] * 30, "steps": [n // 20 * 100 for n in range(60)], "response": ["x"] * 60})
    score = [float(n % 5 + 1) for n in range(60)]
    made = of(tmp_path, given, {"score": score}, step="steps", mix="mix", margin=0.1)
    assert made.training
    means = given.with_columns(pl.Series("score", score)).group_by("mix", "steps").agg(pl.col("score").mean())
    expected = {(mix, step): mean for mix, step, mean in means.iter_rows()}
    assert {
        (curve.mix, step): one.value
        for curve in made.training.curves
        for step, one in zip(curve.steps, curve.scores, strict=True)
    } == pytest.approx(expected)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"rows": 1000}, "--rows 1000"),
        ({"mix": "mix"}, "--mix needs --step"),
        ({"system": "sistem"}, "did you mean system"),
        ({"human": ("response", "item")}, "Column item holds"),
    ],
)
def test_page_refuses_wrong_options_in_a_sentence(tmp_path: Path, options: dict[str, Any], said: str) -> None:
    given = rows(9).with_columns(item=pl.struct("item"))
    with pytest.raises(SpecError) as refused:
        page(finished_run(tmp_path, given, {"score": scores(9)}), ReportOptions(**options))
    assert said in str(refused.value)


def test_page_keeps_to_its_bytes_with_long_texts(tmp_path: Path) -> None:
    long = "<é" * 5_000
    results = {"score": scores(150), "reason": [long] * 150}
    made = of(tmp_path, rows(150, response=[f"{n} {long}" for n in range(150)]), results)
    assert made.rows
    texts = [text for card in made.rows.cards for text in card.texts.values()]
    assert max(len(f"{text.head}{text.tail}".encode()) for text in texts) <= 4096
    assert len(document(made).encode()) < 2_500_000
    assert 20 < len(made.rows.cards) < 100
    assert "left out" in (made.rows.left_out or "")


def test_page_of_a_run_under_way_reads_again_what_was_replaced_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = finished_run(tmp_path, rows(30), {"score": scores(30)}, pending=10)
    failing = [SpecError(["gone"]), SpecError(["gone"])]

    def replaced(*given: Any) -> Population:
        if failing:
            raise failing.pop()
        return open_population(*given)

    monkeypatch.setattr(build, "open_population", replaced)
    with pytest.raises(SpecError):
        page(out, ReportOptions())
    lock = LocalFiles().lock(f"{out}/lock", "test")
    try:
        assert page(out, ReportOptions()).strip.state == "running"
    finally:
        lock.release()


def test_page_shows_a_long_name_without_its_middle(tmp_path: Path) -> None:
    given = rows(6, id=[f"{n}{'i' * 10_000}{n}" for n in range(6)])
    shown = document(page(finished_run(tmp_path, given, {"score": scores(6)}), ReportOptions()))
    assert shown.count("i" * 10_000) <= 6
    assert f" … {'i' * 49}3</bdi>" in shown
