"""A file of rows to label is blind, safe to open and never overwritten; its labels come back by the same rule."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from support.recorded import recorded_run

import scorer
from scorer.cli.app import _exit_code


@pytest.fixture
def out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    rows = [
        {"id": f"r{n}", "question": "=1+1" if n == 7 else f"What is {n}?", "response": f"{n}, I believe",
         "model": "ab"[n % 2], "human": float(n % 5 + 1)}
        for n in range(60)
    ]  # fmt: skip
    monkeypatch.chdir(tmp_path)  # rows are drawn by their shard's path: with a relative one the draw is always the same
    return recorded_run(Path(), rows, [[f"Score: {n % 5 + 1}"] for n in range(60)], keep=["model"])


def filled(path: str, to: str, value: pl.Expr | None = None) -> None:
    table = pl.read_csv(path, infer_schema=False)
    value = (pl.col("row").cast(pl.Int64) % 5 + 1) if value is None else value
    table.with_columns(human_label=value.cast(pl.String)).write_csv(to)


def test_label_and_estimate_work_together(out: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert _exit_code(["label", out, "-o", "labels.csv", "--n", "30", "--system", "model"]) == 0
    printed = capsys.readouterr().out
    assert "Wrote labels.csv: 30 rows of 60" in printed
    table = pl.read_csv("labels.csv", infer_schema=False)
    assert table.columns == [
        "shard", "row", "question", "response", "human_label", "picked", "stratum", "stratum_rows", "weight", "blind",
    ]  # fmt: skip
    assert table["human_label"].null_count() == 30
    filled("labels.csv", "done.csv")
    command = ["estimate", out, "--score", "score", "--human", "human_label", "--labels", "done.csv", "--json"]
    assert _exit_code(command) == 0
    overall = json.loads(capsys.readouterr().out)["scores"]["score"]["overall"]
    assert overall["labels"] == 30
    assert overall["mean"]["value"] == pytest.approx(3.0, abs=0.05)  # the judge is right: little is left to chance
    assert _exit_code(["label", out, "-o", "more.csv", "--n", "50", "--system", "model", "--labels", "done.csv"]) == 0
    assert "have their label already" in capsys.readouterr().out
    assert pl.read_csv("more.csv")["human_label"].count() >= 28  # but for what strata's limits move


def test_label_file_is_never_overwritten_and_holds_no_formula(out: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert _exit_code(["label", out, "-o", "labels.csv", "--n", "60", "--simple"]) == 0
    assert "'=1+1" in pl.read_csv("labels.csv")["question"].to_list()
    before = Path("labels.csv").read_bytes()
    assert _exit_code(["label", out, "-o", "labels.csv"]) == 2
    assert "is there, and may hold labels" in capsys.readouterr().err
    assert Path("labels.csv").read_bytes() == before
    assert _exit_code(["label", out, "-o", "labels.xlsx"]) == 2
    assert _exit_code(["label", "in.parquet", "--score", "human", "-o", "x.csv"]) == 2
    printed = capsys.readouterr().err
    assert "--on is missing" in printed
    assert (
        _exit_code(["label", "in.parquet", "--score", "human", "-o", "x.csv", "--on", "id", "--show", "response"]) == 0
    )
    assert pl.read_csv("x.csv").columns[:3] == ["id", "response", "human_label"]


def test_rows_labelled_twice_tell_the_noise_of_labels(out: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert _exit_code(["label", out, "-o", "labels.csv", "--n", "60", "--simple"]) == 0
    filled("labels.csv", "done.csv")
    assert _exit_code(["label", out, "-o", "again.csv", "--again", "done.csv", "--n", "40"]) == 0
    filled("again.csv", "second.csv", pl.col("row").cast(pl.Int64) % 5 + 1 + pl.int_range(pl.len()) % 2)
    capsys.readouterr()
    command = ["estimate", out, "--score", "score", "--human", "human_label", "--labels", "done.csv"]
    assert _exit_code([*command, "--again", "second.csv", "--json"]) == 0
    noise = json.loads(capsys.readouterr().out)["retest"]
    assert (noise["rows"], noise["same"], noise["shift"]) == (40, 0.5, 0.5)
    assert noise["noise"] == pytest.approx(0.358, abs=0.01)  # of differences 0 and 1, sd .506, over the root of 2
    assert _exit_code([*command, "--again", "second.csv"]) == 0
    assert "40 rows were labelled twice: 50% equal" in capsys.readouterr().out


def test_labels_of_the_report_page_count_by_the_same_rule(out: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Its file has picked and weight: of a simple random sample, and of lists that were looked through."""
    shard = pl.read_parquet(f"{out}/scores/in.parquet")["shard"][0]
    lines = ["shard,row,id,system,item,score,right,human_label,picked,weight,blind"]
    lines += [f"{shard},{n},r{n},,,{n % 5 + 1},1,{n % 5 + 1},random,3,0" for n in range(20)]
    lines += [f"{shard},{n},r{n},,,{n % 5 + 1},0,1,too_high,,0" for n in range(20, 30)]
    Path("labels.csv").write_text("\n".join(lines) + "\n")
    command = ["estimate", out, "--score", "score", "--human", "human_label", "--labels", "labels.csv", "--json"]
    assert _exit_code(command) == 0
    overall = json.loads(capsys.readouterr().out)["scores"]["score"]["overall"]
    assert overall["labels"] == 20
    assert any("10 labels are left out" in note and "10 too_high" in note for note in overall["notes"])


def test_function_draws_the_rows_of_the_command(out: str) -> None:
    assert _exit_code(["label", out, "-o", "labels.csv", "--n", "20", "--system", "model"]) == 0
    plan = scorer.label(out, "by_function.csv", n=20, system="model")
    assert Path("by_function.csv").read_bytes() == Path("labels.csv").read_bytes()
    filled("labels.csv", "done.csv")
    assert scorer.estimate(out, human="human_label", labels="done.csv")["score"].overall.labels == len(plan.rows) == 20
