"""Promise: rows with no verdict are bounded by the scale of the judge in run.json, else by the observed scores."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from scorer.analysis.bootstrap import Bootstrap
from scorer.analysis.compare import compare
from scorer.analysis.leaderboard import leaderboard
from scorer.analysis.score_range import bounds, scale_of_judge
from scorer.api.runs import run
from scorer.cli.app import _exit_code


def finished(folder: Path) -> str:
    """A run of 40 rows on the scale 1 to 10, all scored 4 or 6, but 8 of bee's, which have no reply."""
    rows = pl.DataFrame({"id": range(40), "system": ["ant", "bee"] * 20, "response": "text"})
    rows.write_parquet(folder / "in.parquet")
    without = rows.filter(system="bee")[:8]
    replies = rows.join(without, on="id", how="anti").select(
        "id", reply=pl.when(pl.col("system") == "ant").then(pl.lit("4")).otherwise(pl.lit("6"))
    )
    replies.write_parquet(folder / "replies.parquet")
    run(
        {
            "input": {"shards": [str(folder / "in.parquet")], "id": "id", "keep": ["system"]},
            "judge": {"prompt": "{response}", "attempts": 1, "scale": [1, 10]},
            "model": {
                "provider": "recorded", "path": str(folder / "replies.parquet"), "keys": ["id"], "replies": "reply"
            },
            "limits": {"max_failed_share": 0.5},
            "output": {"path": str(folder / "out")},
        }
    )  # fmt: skip
    return str(folder / "out")


def test_commands_bound_unread_rows_by_the_scale_of_the_output_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = finished(tmp_path)
    asked = ["--score", "score", "--bootstrap", "0", "--json"]
    assert _exit_code(["leaderboard", out, "--system", "system", *asked]) == 0
    board = json.loads(capsys.readouterr().out)["scores"]["score"]
    bee = next(row for row in board["systems"] if row["system"] == "bee")
    assert (bee["at_lowest"], bee["at_highest"]) == pytest.approx((4.0, 7.6))
    assert any("judge's scale, 1 to 10 (run.json)" in note for note in board["notes"])
    assert _exit_code(["compare", out, "--variant", "system", *asked]) == 0
    found = json.loads(capsys.readouterr().out)["scores"]["score"]
    assert found["differences"][0]["at_lowest"] == pytest.approx(4.0 - 4)
    assert found["differences"][0]["at_highest"] == pytest.approx(7.6 - 4)
    assert any("judge's scale, 1 to 10 (run.json)" in note for note in found["notes"])
    # The result files by themselves do not know the scale.
    assert _exit_code(["leaderboard", f"{out}/scores/*.parquet", "--system", "system", *asked]) == 0
    board = json.loads(capsys.readouterr().out)["scores"]["score"]
    assert next(row["at_highest"] for row in board["systems"] if row["system"] == "bee") == 6.0
    assert any("observed score, 4 to 6: the judge's scale is not known" in note for note in board["notes"])


def test_bounds_have_no_note_without_unread_rows() -> None:
    frame = pl.LazyFrame({"system": ["a", "b"] * 4, "score": [1.0, 2.0] * 4})
    notes = [*leaderboard(frame, "score", "system", scale=(1, 5), bootstrap=Bootstrap(0)).notes]
    assert not [n for n in (*notes, *compare(frame, "score", "system", bootstrap=Bootstrap(0)).notes) if "bounded" in n]


@pytest.mark.parametrize(
    ("judge", "score", "scale"),
    [
        ({}, "score", (1.0, 5.0)),
        ({"kind": "rating", "scale": [0, 100]}, "score", (0.0, 100.0)),
        ({"kind": "panel", "scale": [1, 3]}, "score", (1.0, 3.0)),
        ({"kind": "rating", "criteria": ["style"]}, "score_style", (1.0, 5.0)),
        ({"kind": "rating", "labels": {"yes": 1, "no": 0}, "read": "label"}, "score", (0.0, 1.0)),
        ({"kind": "rating", "versus_reference": True, "scale": [1, 10]}, "score_reference", (1.0, 10.0)),
        ({"kind": "pairwise"}, "preference_swapped", (0.0, 1.0)),
        ({"kind": "checklist"}, "score", (0.0, 1.0)),
        ({"kind": "likelihood"}, "score", None),
        ({"kind": "reward"}, "score", None),
        ({"kind": "reward", "value": "probability"}, "score", (0.0, 1.0)),
        ({"kind": "reward", "reference": "r"}, "score", (0.0, 1.0)),
        ({"kind": "reward", "reference": "r"}, "score_reference", None),
        ({"kind": "mine:Mine"}, "score", None),
        ({"kind": "rating"}, "metric_rouge1", None),
        ({"kind": "rating", "scale": "wide"}, "score", None),
    ],
)
def test_scale_of_a_column_follows_its_judge(
    judge: dict[str, Any], score: str, scale: tuple[float, float] | None
) -> None:
    assert scale_of_judge(judge, score) == scale


def test_bounds_are_the_observed_range_where_a_score_is_off_the_scale() -> None:
    assert bounds(np.array([0.0, 3.0, np.nan]), (1, 5)).is_scale is False
    assert (bounds(np.array([2.0, 3.0]), (1, 5)).low, bounds(np.array([2.0, 3.0]), (1, 5)).high) == (1, 5)
