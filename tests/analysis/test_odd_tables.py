"""Promise: a table with a hole, a slip or no spread gets a sentence that says so, and no certainty that it lacks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from scorer.analysis.bootstrap import Bootstrap
from scorer.analysis.choose import Wanted, choose
from scorer.analysis.choose_judge import choose_judge
from scorer.analysis.choose_result import Choice
from scorer.analysis.columns import missing_columns
from scorer.analysis.gate import gate
from scorer.analysis.leaderboard import leaderboard
from scorer.cli.app import _exit_code
from scorer.cli.choose_text import choose_text

QUICK = Bootstrap(200)


def board(items: int = 30, systems: int = 3) -> pl.DataFrame:
    """Scores from 1 to 5, each system .4 above the one before; two tasks, every row labelled."""
    rng = np.random.default_rng(0)
    rows = [
        {"shard": "a", "row": systems * i + s, "item": i, "task": f"t{i % 2}", "system": f"s{s}",
         "score": float(np.clip(np.round(3 + 0.4 * s + rng.normal()), 1, 5))}
        for i in range(items)
        for s in range(systems)
    ]  # fmt: skip
    return pl.DataFrame(rows).with_columns(human=pl.col("score"))


def pick(frame: pl.DataFrame, margin: float = 0.1, human: str | None = "human", item: str | None = "item") -> Choice:
    wanted = Wanted(margin, human=[human] if human else [])
    return choose(frame.lazy(), "score", "system", wanted, item=item, bootstrap=QUICK)


def said(notes: object) -> str:
    assert isinstance(notes, list)
    return " ".join(notes)


def test_label_beyond_the_scores_is_named_and_says_nothing_of_favour() -> None:
    slip = board().with_columns(human=pl.when(pl.col("row") == 4).then(44.0).otherwise("human"))
    found = pick(slip)
    assert "Labels reach from 1 to 44, beyond the scores of the judge (1 to 5)" in said(found.notes)
    assert all(one.labels is None for one in found.tipping)
    assert "Labels reach" not in said(pick(board()).notes)


def test_choice_without_a_label_says_that_there_is_none() -> None:
    assert "no judged row has a label" in choose_text(pick(board().with_columns(human=pl.lit(None, pl.Float64))))
    two = board().with_columns(human=pl.when(pl.col("row") < 2).then("human"))
    assert "People do not say: the 2 labels are too few" in choose_text(pick(two, margin=0.0))


def test_systems_that_lack_a_task_have_no_rank_and_the_note_says_why() -> None:
    holes = board().filter((pl.col("system") != "s1") | (pl.col("task") == "t0"))
    found = leaderboard(holes.lazy(), "score", "system", task="task", item="item", bootstrap=QUICK)
    assert "s1 has no score in some task that counts (t0, t1)." in said(found.notes)
    assert found.systems.filter(pl.col("system") == "s1")["rank"].to_list() == [None]
    empty = board().with_columns(score=pl.when(pl.col("system") != "s1").then("score"))
    assert "s1 has no score." in said(pick(empty, item=None).notes)
    assert "share no items" not in said(pick(empty).notes)
    verdict = gate(empty.lazy(), "score", "system", "s1", "s0", item="item", bootstrap=QUICK)
    assert verdict.reasons == ["s1 has no row with a score: nothing is compared."]


def test_rows_read_twice_are_counted_in_a_note() -> None:
    twice = pl.concat([board(), board().head(7)])
    assert "7 of 97 rows have the shard, row, system and score of another" in said(pick(twice).notes)
    found = leaderboard(twice.lazy(), "score", "system", item="item", bootstrap=QUICK)
    assert "7 of 97 rows" in said(found.notes)
    assert "of another" not in said(pick(board()).notes)


def test_systems_without_items_are_said_to_be_independent_samples() -> None:
    assert "No --item is given" in said(pick(board(), item=None).notes)
    assert "No --item is given" not in said(pick(board()).notes)


@pytest.mark.parametrize("item", ["item", None])
def test_scores_that_are_all_one_value_make_nothing_certain(item: str | None) -> None:
    alike = board().with_columns(score=pl.lit(3.0))
    assert pick(alike, item=item).chosen is None
    assert (
        gate(alike.lazy(), "score", "system", "s1", "s0", margin=0.5, item=item, bootstrap=QUICK).verdict == "undecided"
    )
    on_a_scale = gate(
        alike.lazy(), "score", "system", "s1", "s0", margin=0.5, item=item, scale=(1.0, 5.0), bootstrap=QUICK
    )
    # z^2 / (30 + z^2) of the items may differ, each by the whole scale
    assert on_a_scale.high == pytest.approx(4 * 3.8415 / 33.8415, rel=1e-3)


def test_agreement_within_items_rests_on_the_items_that_define_it() -> None:
    """Of 40 items only the first 6 have labels of two systems: limits are those of 6."""
    rng = np.random.default_rng(1)
    frame = board(40).with_columns(
        human=pl.when((pl.col("item") < 6) | (pl.col("system") == "s0")).then("human"),
        other=pl.Series(np.clip(np.round(3 + rng.normal(size=120)), 1, 5)),
    )
    found = choose_judge(frame.lazy(), ["score", "other"], ["human"], item="item", bootstrap=QUICK)
    assert found.rows == 52
    assert found.items <= 6


def test_gate_names_the_systems_that_there_are_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "t.parquet"
    board().with_columns(system=pl.col("system") + "\n").write_parquet(path)
    command = ["gate", str(path), "--score", "score", "--system", "system", "--new", "a", "--old", "b"]
    assert _exit_code(command) == 2
    assert r"--new a is no value of system; there are s0\n, s1\n, s2\n." in capsys.readouterr().err
    board().head(0).write_parquet(path)
    assert _exit_code(command) == 2
    assert "--new a is no value of system; the column is empty." in capsys.readouterr().err


def test_a_value_within_a_column_is_named_as_one() -> None:
    schema = pl.Schema({"score": pl.Float64, "meta": pl.Struct({"model": pl.String}), "a.b": pl.String})
    assert missing_columns(schema, ["meta.model", "a.b"]) == [
        "Column meta.model is not in the table: it would be a value within meta, and analyses take whole columns. "
        "Write it as a column of its own."
    ]


def test_columns_that_are_not_there_are_named_together_with_those_that_are() -> None:
    schema = pl.Schema({"score": pl.Float64, "human": pl.Float64})
    assert missing_columns(schema, ["scor", "score", "q", "w"]) == [
        "Column scor is not in the table; did you mean score?",
        "Columns q, w are not in the table; there are score, human.",
    ]
