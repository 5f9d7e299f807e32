"""A cascade keeps its promise over the labels it learned from, says what labels support, and refuses the others."""

from __future__ import annotations

import importlib.util
import json
import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from scorer.analysis.cascade import calibrate, thresholds_of
from scorer.analysis.cascade_tests import errors_allowed, errors_left_p, errors_p, labels_needed
from scorer.cli.app import _exit_code

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "../shared/data"


def study() -> object:
    spec = importlib.util.spec_from_file_location("cascade_study", ROOT / "benchmarks/cascade.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_numbers_of_labels_are_those_of_the_binomial_distribution() -> None:
    assert [labels_needed(alpha, 0.05) for alpha in (0.2, 0.1, 0.05)] == [14, 29, 59]
    assert [errors_allowed(60, alpha, 0.05) for alpha in (0.2, 0.1, 0.05)] == [6, 1, 0]
    assert errors_allowed(28, 0.1, 0.05) is None
    assert errors_p(0, 29, 0.1) == pytest.approx(0.9**29)
    assert errors_p(2, 10, 0.3) == pytest.approx(0.7**10 + 10 * 0.3 * 0.7**9 + 45 * 0.09 * 0.7**8)
    assert errors_p(5, 5, 0.1) == 1
    assert errors_p(9_000, 100_000, 0.1) < 1e-20
    for errors in (0, 1, 7):
        n = labels_needed(0.1, 0.05, errors)
        assert errors_p(errors, n, 0.1) <= 0.05 < errors_p(errors, n - 1, 0.1)


def test_thresholds_depend_on_confidences_alone_and_go_from_strict_to_loose() -> None:
    confidence = np.array([0.9, np.nan, 0.1, 0.5, 0.5, 0.5])
    assert thresholds_of(confidence).tolist() == [0.9, 0.5, 0.1]
    assert thresholds_of(np.array([np.nan])).tolist() == []


def test_first_failure_ends_the_sequence_even_where_a_looser_threshold_would_pass() -> None:
    confidence = np.repeat([1.0, 0.5, 0.0], [80, 40, 400])
    right = np.ones(520, dtype=bool)
    right[80:100] = False  # 20 wrong at .5: fails there; at 0 it is 20 of 520, and would pass
    found = calibrate(confidence, right, confidence[:0], alpha=0.1, delta=0.05)
    assert [(step.threshold, step.errors) for step in found.steps] == [(1.0, 0), (0.5, 20)]
    assert found.threshold == 1.0
    assert errors_p(20, 520, 0.1) < 0.05
    assert found.share == pytest.approx(80 / 520)


@pytest.mark.parametrize("risk", ["at the bar", "crossing the bar", "confident and wrong"])
def test_promise_is_broken_no_more_often_than_delta(risk: str) -> None:
    """300 calibrations of the study in benchmarks/cascade.py: 5 %, and 3 standard errors."""
    too_much, _ = study().violations(risk, 60, 0.2, 300)  # type: ignore[attr-defined]
    assert too_much <= 15 + 3 * np.sqrt(300 * 0.05 * 0.95)


def test_population_these_keeps_its_promise_about_the_rest_of_a_small_table() -> None:
    """The errors of labels and rest add up, so lucky labels have an unlucky rest: at most 5 % of splits."""
    table = study().small_table("rising past the bar", 420, 0.2)  # type: ignore[attr-defined]
    broken = study().splits(*table, 0.2, labels=210, population="these", repeats=400)  # type: ignore[attr-defined]
    assert broken.rest <= 0.05
    assert broken.refused < 0.25


@pytest.mark.parametrize("name", ["GPT-4 Swap_CoT", "GPT-4 Metrics_Reference", "PaLM2 Metrics_Reference"])
def test_at_most_a_twentieth_of_all_splits_of_llmbar_breaks_the_promise(name: str) -> None:
    """The settings with the most failures at alpha .2, over every split into halves; refusals count as kept."""
    if not DATA.is_dir():
        pytest.skip("Left out: the stored judgements of LLMBar (llmbar_*.parquet), no part of the repository.")
    confidence, right = next((c, r) for n, c, r in study().settings_of(DATA) if n == name)  # type: ignore[attr-defined]
    for population in ("future", "these"):
        broken = study().all_splits(confidence, right, 0.2, labels=209, population=population)  # type: ignore[attr-defined]
        assert broken.rest <= 0.05, population
        assert broken.all <= 0.05, population
        assert broken.refused < 0.97, population


def test_judge_at_chance_is_refused_in_every_split_of_llmbar() -> None:
    if not DATA.is_dir():
        pytest.skip("Left out: the stored judgements of LLMBar (llmbar_*.parquet), no part of the repository.")
    confidence, right = next((c, r) for n, c, r in study().settings_of(DATA) if n == "ChatGPT Vanilla")  # type: ignore[attr-defined]
    broken = study().all_splits(confidence, right, 0.2, labels=209, population="future")  # type: ignore[attr-defined]
    assert broken.refused == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(("labels", "rest", "alpha"), [(60, 60, 0.2), (29, 101, 0.1), (209, 210, 0.2), (20, 7, 0.3)])
def test_p_value_of_the_rest_holds_for_every_number_of_errors(labels: int, rest: int, alpha: float) -> None:
    """P(p <= .05 and the rest exceeds alpha), summed exactly over all tables."""
    p = [errors_left_p(errors, labels, rest, alpha) for errors in range(labels + 1)]
    for wrong in range(labels + rest + 1):
        broken = sum(
            math.comb(wrong, e) * math.comb(labels + rest - wrong, labels - e) / math.comb(labels + rest, labels)
            for e in range(min(labels, wrong) + 1)
            if p[e] <= 0.05 and wrong - e > alpha * rest
        )
        assert broken <= 0.05
    assert errors_left_p(3, labels, 10**7, alpha) == pytest.approx(errors_p(3, labels, alpha), rel=1e-4)


def table(path: Path, rows: int = 400, labels: int = 150, seed: int = 0) -> str:
    """A cheap judge that is right where it is sure, a strong one, and three people on the first rows."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(2, size=rows).astype(float)
    sure = rng.random(rows)
    right = rng.random(rows) < np.where(sure > 0.5, 0.99, 0.6)
    side = np.where(right, truth, 1 - truth)
    people = [np.where(rng.random(rows) < 0.97, truth, 1 - truth) for _ in range(3)]
    frame = pl.DataFrame(
        {
            "cheap": 0.5 + (side - 0.5) * sure,
            "coin": rng.integers(2, size=rows).astype(float),
            "strong": np.where(rng.random(rows) < 0.98, truth, 1 - truth),
            "sure": sure,
            "item": np.arange(rows) // 2,
            **{f"p{k}": pl.Series(p).set(pl.Series(np.arange(rows) >= labels), None) for k, p in enumerate(people)},
        }
    )
    frame.write_parquet(path)
    return str(path)


def test_command_finds_the_threshold_and_what_the_cascade_agrees(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = table(tmp_path / "t.parquet")
    command = ["cascade", name, "--score", "cheap", "--human", "p0", "--strong", "strong"]
    assert _exit_code([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    judge = found["judges"]["cheap"]
    assert found["chosen"] == "cheap"
    assert 0.3 < judge["threshold"] < 0.9
    assert judge["errors"] <= errors_allowed(judge["kept_labels"], 0.1, 0.05)
    assert found["needed"] == {"0": 29, "1": 46, "2": 61, "5": 103, "10": 167}
    assert found["strong"]["whole"] > judge["agreement_on_all"]
    assert _exit_code(command) == 0
    assert "Keep cheap where its confidence is" in capsys.readouterr().out
    assert _exit_code(["cascade", name, "--score", "coin", "--score", "cheap", "--human", "p0", "--json"]) == 0
    both = json.loads(capsys.readouterr().out)
    assert both["delta_each"] == 0.025
    assert "labelled rows are wrong" in both["judges"]["coin"]["refused"]
    assert both["judges"]["coin"]["threshold"] is None
    assert both["chosen"] == "cheap"
    assert _exit_code([*command, "--population", "these"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "or more of the kept rows of this table without a label" in printed
    assert _exit_code([*command, "--population", "these", "--item", "item"]) == 2
    assert "with --item item one row of each item counts" in capsys.readouterr().err


def test_command_counts_one_row_an_item_and_knows_the_ceiling(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = table(tmp_path / "t.parquet")
    people = ["--human", "p0", "--human", "p1", "--human", "p2"]
    assert _exit_code(["cascade", name, "--score", "cheap", *people, "--item", "item", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["labels"] == 75
    assert 0.9 < found["ceiling"] < 0.99
    assert any("75 labels are left out" in note for note in found["notes"])
    assert _exit_code(["cascade", name, "--score", "cheap", *people, "--agreement", "0.99"]) == 2
    assert "above the agreement of people with each other" in capsys.readouterr().err


def test_labels_that_do_not_suffice_are_refused_and_support_is_told_without_a_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = table(tmp_path / "t.parquet", labels=20)
    assert _exit_code(["cascade", name, "--score", "cheap", "--human", "p0"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "cheap is refused: 20 labels do not suffice: 29 kept rows without an error are the fewest" in printed
    assert "No judge may keep rows" in printed
    assert _exit_code(["cascade", "--json"]) == 0
    support = json.loads(capsys.readouterr().out)
    assert [support["needed"][a]["0"] for a in ("0.8", "0.9", "0.95")] == [14, 29, 59]
    assert support["allowed"]["0.95"]["30"] is None
    assert _exit_code(["cascade"]) == 0
    assert _exit_code(["cascade", name, "--score", "cheap", "--human", "p0", "--delta", "0", "--agreement", "1"]) == 2
    printed = capsys.readouterr().err
    assert "--delta 0 is not allowed" in printed
    assert "--agreement 1 is not allowed" in printed
    pl.read_parquet(name).with_columns(cheap=pl.col("cheap") * 5).write_parquet(tmp_path / "r.parquet")
    assert _exit_code(["cascade", str(tmp_path / "r.parquet"), "--score", "cheap", "--human", "p0"]) == 2
    assert "--confidence is missing" in capsys.readouterr().err
