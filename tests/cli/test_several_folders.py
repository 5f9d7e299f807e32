"""Promise: every command that takes a table takes several output folders over the same input as one table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from support.clock import run
from support.outputs import Output

from scorer.cli.app import _exit_code


@pytest.fixture
def tables(tmp_path: Path) -> list[str]:
    """Two runs over one input of 12 rows; the second lacks the last two rows."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        output = Output(tmp_path / name, 12)
        frame = pl.read_parquet(output.shards[0].path).with_columns(
            system=pl.Series(["x", "y"] * 6),
            topic=pl.Series(["t", "t", "u", "u"] * 3),
            human=pl.Series([float(n % 5) for n in range(12)]),
            response=pl.Series(["w " * (n + 1) for n in range(12)]),
        )
        frame.write_parquet(output.shards[0].path)
        run(output.score({0: range(12 if name == "a" else 10)}))
    return [f"{tmp_path}/a/out", f"second={tmp_path}/b/out"]


def output_of(*arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[str, dict[str, Any]]:
    assert _exit_code(list(arguments)) == 0
    text = capsys.readouterr().out
    assert _exit_code([*arguments, "--json"]) == 0
    return text, json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    "asked",
    [
        ["agree", "--human", "human", "--bootstrap", "0"],
        ["scale", "--human", "human", "--task", "topic"],
        ["estimate", "--human", "human"],
        ["leaderboard", "--system", "system", "--bootstrap", "0"],
        ["compare", "--variant", "system", "--bootstrap", "0"],
        ["bias", "--text", "response", "--bootstrap", "0"],
    ],
)
def test_commands_over_two_folders_answer_for_each_and_count_what_one_lacks(
    tables: list[str], asked: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    text, value = output_of(asked[0], *tables, "--score", "score", *asked[1:], capsys=capsys)
    assert set(value["scores"]) == {"a.score", "second.score"}
    assert value["coverage"] == {"rows": 12, "rows_total": 12, "missing": {"a": 0, "second": 2}}
    assert text.startswith("second has no result for 2 of these 12 rows: its columns are null there.")


def test_estimate_counts_the_rows_that_one_run_lacks_as_pending(
    tables: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    _, value = output_of("estimate", *tables, "--score", "score", "--human", "human", capsys=capsys)
    pending = {name: one["overall"]["pending"] for name, one in value["scores"].items()}
    assert pending == {"a.score": 0, "second.score": 2}


def test_agree_without_human_values_compares_the_judges(tables: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    text, value = output_of("agree", *tables, "--score", "score", "--bootstrap", "0", capsys=capsys)
    (pair,) = value["pairs"]
    assert (pair["first"], pair["second"], pair["n"], pair["only_first"]) == ("a.score", "second.score", 10, 2)
    assert pair["dataset"]["pearson"] == pytest.approx(1.0)
    assert "rows with a.score and not second.score: 2" in text
    assert "all judges, Krippendorff's alpha: ordinal" in text


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (["agree", "{0}", "--score", "score"], "--human is missing"),
        (["agree", "{0}", "{1}", "--score", "score", "--permutations", "9"], "--permutations tests which score"),
        (["agree", "--score", "score", "--human", "human"], "TABLE is missing"),
        (["agree", "{0}", "{0}", "--score", "score"], "is given twice"),
        (["agree", "{0}", "gone", "--score", "score"], "gone is no output folder"),
        (
            ["bias", "{0}", "{1}", "--score", "score", "--text", "response", "--format"],
            "--format asks the judge of one",
        ),
    ],
)
def test_commands_over_two_folders_say_what_is_wrong(
    tables: list[str], asked: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _exit_code([one.format(*tables) for one in asked]) == 2
    assert says in capsys.readouterr().err
