"""A cascade from the calibrating run to the large one, through the real path: recorded replies of two models."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import scorer
from scorer.cli.app import _exit_code


def run_file(root: Path, out: str, **judge: Any) -> dict[str, Any]:
    recorded = {"provider": "recorded", "path": str(root / "replies.parquet"), "keys": ["id"], "replies": "replies"}
    return {
        "input": {"shards": [str(root / "in.parquet")], "id": "id", "keep": ["human"]},
        "judge": {
            "kind": "cascade", "models": ["cheap", "strong"], "prompt": "{response}", "scale": [1, 5], "samples": 3,
            "attempts": 1, **judge,
        },
        "models": [{**recorded, "alias": alias, "where": {"model": alias}} for alias in ("cheap", "strong")],
        "output": {"path": str(root / out)},
    }  # fmt: skip


def write_data(root: Path, rows: int) -> None:
    """The cheap model's samples are equal, and right, on two thirds of the rows; the strong one is always right."""
    rng = random.Random(0)
    truth = [rng.randint(1, 5) for _ in range(rows)]
    pl.DataFrame({"id": range(rows), "response": ["x"] * rows, "human": [float(t) for t in truth]}).write_parquet(
        root / "in.parquet"
    )
    cheap = [[str(t)] * 3 if n % 3 else [str(rng.randint(1, 5)) for _ in range(3)] for n, t in enumerate(truth)]
    pl.DataFrame(
        {
            "id": [*range(rows)] * 2,
            "model": ["cheap"] * rows + ["strong"] * rows,
            "replies": [[f"Score: {s}" for s in samples] for samples in cheap] + [[f"Score: {t}"] for t in truth],
        }
    ).write_parquet(root / "replies.parquet")


def test_threshold_of_a_calibrating_run_serves_the_large_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_data(tmp_path, 240)
    both = scorer.run(run_file(tmp_path, "both"))
    scores = both.scores.collect()
    assert scores["score_cheap"].null_count() == scores["score_strong"].null_count() == 0
    assert scores["kept"].null_count() == 240
    assert set(scores["attempts"]) == {4}
    asked = ["cascade", str(tmp_path / "both"), "--score", "score_cheap", "--strong", "score_strong"]
    assert _exit_code([*asked, "--human", "human", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["chosen"] == "score_cheap"
    assert 0.5 < found["judges"]["score_cheap"]["share"] < 0.8
    assert found["strong"]["on_rest"][0] == 1.0

    large = scorer.run(run_file(tmp_path, "large", threshold=found["threshold"]))
    kept = large.scores.collect().group_by("decided_by", "kept").agg(
        pl.len(), pl.col("attempts").unique(), (pl.col("score") == pl.col("human")).mean().alias("right")
    )  # fmt: skip
    by = {row["decided_by"]: row for row in kept.to_dicts()}
    assert by["cheap"]["kept"] is True
    assert by["cheap"]["attempts"] == [3]  # the strong model was not asked
    assert by["cheap"]["right"] >= 0.9
    assert by["strong"]["kept"] is False
    assert (by["strong"]["attempts"], by["strong"]["right"]) == ([4], 1.0)
    assert by["cheap"]["len"] == round(found["judges"]["score_cheap"]["share"] * 240)
    assert scorer.verify(str(tmp_path / "large")).complete


def test_reread_does_not_change_who_was_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_data(tmp_path, 12)
    scorer.run(run_file(tmp_path, "out", threshold=0.9))
    assert _exit_code(["reread", str(tmp_path / "out"), "--set", "judge.threshold=0.1"]) == 2
    assert "this key changes the requests" in capsys.readouterr().err
    before = scorer.scan_scores(str(tmp_path / "out")).select("id", "score", "decided_by", "confidence").collect()
    assert _exit_code(["reread", str(tmp_path / "out")]) == 0
    after = scorer.scan_scores(str(tmp_path / "out")).select("id", "score", "decided_by", "confidence").collect()
    assert after.equals(before)


def test_plan_says_what_labels_support_before_anything_is_bought(tmp_path: Path) -> None:
    write_data(tmp_path, 12)
    calibrating = scorer.plan(run_file(tmp_path, "out"))
    assert calibrating.requests == 12 * 4
    advice = " ".join(calibrating.advice)
    assert "14 for 0.8, 29 for 0.9, 59 for 0.95 agreement" in advice
    assert "models.cheap has temperature 0" in advice
    large = scorer.plan(run_file(tmp_path, "out", threshold=0.8))
    assert large.requests == 12 * 4
    assert "the most that it can cost" in " ".join(large.advice)
