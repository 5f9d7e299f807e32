"""Promise: who asks an unfinished run, or names a column that two tables have, is warned before the answer."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from support.clock import run
from support.outputs import Output

from scorer.analysis.run_coverage import run_coverage
from scorer.cli.app import _exit_code
from scorer.output.scan import scan_scores

ASKED = ["--score", "score", "--human", "human", "--bootstrap", "0"]


@pytest.fixture
def output(tmp_path: Path) -> Output:
    """Four shards of 3 rows, systems a to d; a and b are scored. The input has a column `score` of its own."""
    output = Output(tmp_path, 3, 3, 3, 3)
    run(output.score({0: range(3), 1: range(3)}))
    for number, shard in enumerate(output.shards):
        frame = pl.read_parquet(shard.path)
        more = frame.with_columns(
            system=pl.lit("abcd"[number]), human=pl.Series([1.0, 2.0, 4.0]), score=pl.Series([9, 8, 7])
        )
        more.write_parquet(shard.path)
    return output


def output_of(*arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[str, dict[str, Any]]:
    assert _exit_code(list(arguments)) == 0
    text = capsys.readouterr().out
    assert _exit_code([*arguments, "--json"]) == 0
    return text, json.loads(capsys.readouterr().out)


def test_coverage_of_an_unfinished_run_stands_first(output: Output, capsys: pytest.CaptureFixture[str]) -> None:
    text, value = output_of("agree", output.layout.out, *ASKED, "--system", "system", capsys=capsys)
    assert text.startswith("The run is not finished: 6 of 12 rows, 2 of 4 systems.\n")
    assert value["coverage"] == {"rows": 6, "rows_total": 12, "systems": 2, "systems_total": 4}
    assert value["scores"]["score"]["n"] == 6


@pytest.mark.parametrize(
    "asked",
    [
        ["estimate", "--score", "score", "--human", "human", "--system", "system"],
        ["leaderboard", "--score", "score", "--system", "system", "--bootstrap", "0"],
        ["compare", "--score", "score", "--variant", "system", "--bootstrap", "0"],
        ["bias", "--score", "score", "--text", "response", "--bootstrap", "0"],
        ["scale", "--score", "score", "--human", "human", "--task", "system"],
    ],
)
def test_coverage_stands_above_every_command(
    output: Output, asked: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    for number, shard in enumerate(output.shards):
        texts = pl.Series(["w " * (n + number + 1) for n in range(3)])
        pl.read_parquet(shard.path).with_columns(response=texts).write_parquet(shard.path)
    text, value = output_of(asked[0], output.layout.out, *asked[1:], capsys=capsys)
    assert text.startswith("The run is not finished: 6 of 12 rows")
    assert value["coverage"]["rows"] == 6


def test_coverage_and_table_read_a_run_file_on_stdin_once(
    output: Output, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f'output.path = "{output.layout.out}"'))
    assert _exit_code(["agree", "-", *ASKED]) == 0
    assert capsys.readouterr().out.startswith("The run is not finished: 6 of 12 rows")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\xff"), "utf-8"))
    assert _exit_code(["agree", "-", *ASKED]) == 2
    assert "stdin is not UTF-8 text (byte 0)" in capsys.readouterr().err


def test_commands_refuse_a_path_through_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "run.toml").touch()
    for command in ("status", "verify", "retry", "reread"):
        assert _exit_code([command, f"{tmp_path}/run.toml/out"]) == 2
        assert "holds no run: there is no run.json in it" in capsys.readouterr().err


def test_coverage_of_a_complete_run_adds_no_sentence(output: Output, capsys: pytest.CaptureFixture[str]) -> None:
    run(output.score({2: range(3), 3: range(3)}))
    text, value = output_of("agree", output.layout.out, *ASKED, "--system", "system", capsys=capsys)
    assert "not finished" not in text
    assert value["coverage"] == {"rows": 12, "rows_total": 12}


def test_coverage_names_both_columns_of_an_ambiguous_name(output: Output, capsys: pytest.CaptureFixture[str]) -> None:
    text, value = output_of("agree", output.layout.out, *ASKED, capsys=capsys)
    note = "Column score is the run's result. The input's column of that name is input_score: ask for it by that name."
    assert note in text.splitlines()
    assert value["notes"] == [note]
    _, value = output_of("agree", output.layout.out, "--score", "input_score", *ASKED[2:], capsys=capsys)
    assert "notes" not in value
    assert value["scores"]["input_score"]["dataset"]["pearson"] < -0.9


def test_scan_scores_gives_input_columns_free_names(output: Output) -> None:
    for shard in output.shards:
        frame = pl.read_parquet(shard.path).with_columns(input_score=pl.lit(1), row=pl.lit("r"), shard=pl.lit("s"))
        frame.write_parquet(shard.path)
    found = scan_scores(output.layout.out, join_input=True).collect()
    assert found["input_score"].to_list() == [1] * 6
    assert found["input_input_score"].to_list() == [9, 8, 7] * 2
    assert found["input_row"].unique().to_list() == ["r"]
    assert found["input_shard"].unique().to_list() == ["s"]
    assert found["row"].to_list() == [0, 1, 2] * 2


def test_coverage_counts_no_systems_where_the_input_cannot_be_read(output: Output) -> None:
    Path(output.shards[3].path).unlink()
    found = run_coverage(output.layout.out, "system")
    assert found is not None
    assert (found.rows, found.rows_total, found.systems_total) == (6, 12, None)


def test_coverage_is_none_for_a_table_of_another_kind(output: Output) -> None:
    assert run_coverage(output.shards[0].path, "system") is None
    assert run_coverage(str(Path(output.shards[0].path).parent)) is None


def test_coverage_knows_kept_columns_from_run_json_alone(output: Output) -> None:
    found = run_coverage(output.layout.out, "task")
    assert found is not None
    assert (found.systems, found.systems_total) == (None, None)  # this run.json does not say what was kept


# --- the run file stands for its folder -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["run.toml", "settings.conf", "-"])
def test_commands_take_the_run_file_where_they_take_the_folder(
    output: Output, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = f'[output]\npath = "{output.layout.out}"\n'
    path = name if name == "-" else str(tmp_path / name)
    if name != "-":
        Path(path).write_text(text)
    for command, code in (("status", 0), ("verify", 1)):
        monkeypatch.setattr("sys.stdin", io.StringIO(text))
        assert _exit_code([command, path, "--json"]) == code
        assert json.loads(capsys.readouterr().out)["rows"] == 12
    for command, says in (("retry", "input.shards"), ("reread", "input.shards"), ("publish", "no output.publish")):
        monkeypatch.setattr("sys.stdin", io.StringIO(text))
        assert _exit_code([command, path]) == 2
        shown = capsys.readouterr().err
        assert says in shown or "[input]" in shown, shown
    if name != "settings.conf":
        monkeypatch.setattr("sys.stdin", io.StringIO(text))
        assert _exit_code(["agree", path, *ASKED, "--json"]) == 0


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "does not exist"),
        ("[output]\n", "has no output.path, so it is not a run file"),
        ("output = 3\n", "has no output.path, so it is not a run file"),
        ("[[[", "is not TOML"),
    ],
)
def test_commands_refuse_a_run_file_without_output_path(
    text: str | None, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "run.toml"
    if text is not None:
        path.write_text(text)
    for command in (["status"], ["verify"], ["agree", *ASKED]):
        assert _exit_code([command[0], str(path), *command[1:]]) == 2
        shown = capsys.readouterr().err
        assert says in shown
        assert "Traceback" not in shown
