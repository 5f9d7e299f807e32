"""Stored replies read one by one give the judge's score; the published agreement by n is reproduced."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from support.finished_runs import RATING, finished_run
from support.recorded import recorded_run

import scorer
from scorer.build.plan import make_judge
from scorer.cli.app import _exit_code
from scorer.config.loader import parse
from scorer.engine.replay import Answers, replay
from scorer.errors import RowError
from scorer.output.manifest import Manifest
from scorer.report.sample_readings import _read
from scorer.report.stored_judge import StoredJudge
from scorer.types import Row

DATA = Path(__file__).resolve().parents[2] / "../shared/data"
SCALES = {"naturalness": [1, 3], "coherence": [1, 3], "engagingness": [1, 3], "groundedness": [0, 1]}

# NOTES.md of the founders: Pearson and tau-b within dialogues, mean of four dimensions, 20 draws.
PUBLISHED = {
    "geval": {1: (0.277, 0.328), 5: (0.386, 0.410), 20: (0.432, 0.464)},
    "analyze_rate": {1: (0.467, 0.483), 5: (0.525, 0.519), 20: (0.539, 0.527)},
}
PAIRS = {"kind": "pairwise", "prompt": "{first} or {second}?", "a": "question", "b": "response"}
JUDGES: list[tuple[dict[str, Any], tuple[str, ...]]] = [
    ({"prompt": "{response}"}, ("Score: 1", "Score: 5", "3", "none", "9")),
    ({"prompt": "{response}", "criteria": ["wit", "depth"]}, ("wit: 1\ndepth: 4", "wit: 5\ndepth: 2", "wit: 3", "")),
    (
        {"prompt": "{response}", "criteria": ["wit", "depth"], "weights": [1, 3], "ask_criteria": "apart"},
        ("Score: 1", "Score: 5", "3"),
    ),
    (PAIRS, ("Verdict: A", "Verdict: B", "Verdict: tie", "neither")),
    ({**PAIRS, "orders": "given"}, ("Verdict: A", "Verdict: B", "who knows")),
]


@pytest.mark.parametrize("options", JUDGES, ids=["rating", "criteria", "apart", "both orders", "given order"])
@pytest.mark.parametrize("samples", [1, 3])
def test_all_samples_together_give_the_score_of_the_judge(
    options: tuple[dict[str, Any], tuple[str, ...]], samples: int
) -> None:
    """Also where unreadable replies were asked again, and where replies are missing."""
    judge = {"kind": "rating", "scale": [1, 5], "samples": samples, "attempts": 3, **options[0]}
    if judge["kind"] == "pairwise":
        del judge["scale"]
    tree = {**RATING, "judge": judge, "input": {"shards": ["x"]}, "output": {"path": "x"}}
    spec, problems = parse(tree)
    assert not problems
    assert spec is not None
    made = make_judge(spec, None)
    stored = StoredJudge(Manifest("f", {}, tree, "2026-11-24T00:00:00+00:00"))
    rng = random.Random(0)
    raws, expected = [], []
    for _ in range(60):
        replies: list[str | None] = [rng.choice((*options[1], None)) for _ in range(6 * samples)]
        row = Row("x", 0, {"question": "q", "response": "r"})
        answers = Answers(replies, None, None, None, provider=lambda _: None)
        score = replay(made, row, answers)
        expected.append(None if isinstance(score, RowError) else score.value)
        raws.append(replies[: answers._asked])
    found = _read(stored, raws, "score")
    at = found.of(pl.int_range(samples, eager=True).to_numpy()[None].repeat(60, axis=0))
    readable = [value for value in expected if value is not None]
    assert len(readable) > 10
    # A sample with one criterion of two gives that one to the judge, and nothing here.
    if "criteria" in judge and (samples > 1 or "ask_criteria" not in judge):
        return
    assert [None if value != value else pytest.approx(value) for value in at] == expected


@pytest.mark.slow
def test_samples_reproduces_the_published_table_of_topical_chat(tmp_path: Path) -> None:
    """Slow: 57,000 replies."""
    if not DATA.is_dir():
        pytest.skip("Left out: Topical-Chat's stored replies (topical_chat_*.parquet), no part of the repository.")
    items = pl.read_parquet(DATA / "topical_chat_items.parquet")
    outputs = pl.read_parquet(DATA / "topical_chat_judge_outputs.parquet")
    sums: dict[tuple[str, int], list[tuple[float, float]]] = {}
    for dimension, scale in SCALES.items():
        judge = {"kind": "rating", "prompt": "{response}", "scale": scale, "samples": 20, "attempts": 1}
        human = f"human_{dimension}"
        folders = {}
        for kind in PUBLISHED:
            mine = outputs.filter((pl.col("dimension") == dimension) & (pl.col("prompt_kind") == kind))
            rows = items.join(mine, on="id", how="left", maintain_order="left")
            folder = tmp_path / dimension
            folder.mkdir(exist_ok=True)
            folders[kind] = finished_run(
                folder,
                items.select("id", "doc_id", "response", human),
                {"score": [1.0] * len(items), "raw": rows["judge_raw_outputs"]},
                name=kind,
                spec={**RATING, "judge": judge},
            )
        found = scorer.samples(folders, human=human, item="doc_id", bootstrap=0)
        for row in found.curves.filter(pl.col("n").is_in([1, 5, 20])).sort("statistic", descending=True).to_dicts():
            sums.setdefault((row["form"].removesuffix(".score"), row["n"]), []).append(row["value"])
    for kind, by_n in PUBLISHED.items():
        for n, (pearson, kendall) in by_n.items():
            values = sums[kind, n]
            assert sum(values[0::2]) / 4 == pytest.approx(pearson, abs=0.01), (kind, n, "pearson")
            assert sum(values[1::2]) / 4 == pytest.approx(kendall, abs=0.01), (kind, n, "kendall within items")


def _rows(count: int) -> list[dict[str, Any]]:
    return [{"id": f"r{n}", "question": f"q{n // 2}", "response": "x", "human": float(n % 5)} for n in range(count)]


def test_command_names_the_form_and_the_number_of_samples(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = random.Random(1)
    noisy = [[f"Score: {min(5, max(1, n % 5 + 1 + rng.choice((-2, 0, 2))))}" for _ in range(4)] for n in range(40)]
    exact = [[f"Score: {n % 5 + 1}"] * 4 for n in range(40)]
    keep = {"keep": ["human", "question"], "samples": 4}
    a = recorded_run(tmp_path, _rows(40), noisy, "noisy", **keep)
    b = recorded_run(tmp_path, _rows(40), exact, "exact", **keep)
    assert _exit_code(["samples", a, b, "--human", "human", "--item", "question", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["stop"]["exact.score"] == {"pearson": 1, "item_kendall": 1}
    assert found["stop"]["noisy.score"]["pearson"] is None
    curve = [r["value"] for r in found["curves"] if r["form"] == "noisy.score" and r["statistic"] == "pearson"]
    assert curve == sorted(curve)
    assert len(curve) == 4
    best = next(r for r in found["forms"] if (r["statistic"], r["n"], r["against_n"]) == ("pearson", 4, 1))
    assert best["rows"] == 40
    assert best["high"] < 0  # four noisy samples are worse than an exact one
    assert _exit_code(["samples", a, b, "--human", "human", "--item", "question"]) == 0
    assert "exact.score: 1 samples a row are enough by pearson" in capsys.readouterr().out


def test_mistakes_are_told_in_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pl.DataFrame(_rows(4)).write_parquet(tmp_path / "plain.parquet")
    out = recorded_run(tmp_path, _rows(4), [["1", "2"]] * 4, samples=2, keep=["human"])
    for arguments, sentence in (
        ([str(tmp_path / "plain.parquet"), "--score", "human", "--human", "human"], "is no output folder of a run"),
        ([out, "--human", "human", "--worth", "0"], "--worth 0 is not allowed"),
        ([out, "--human", "humane"], "did you mean human?"),
        ([out, "--human", "human", "--score", "attempts"], "attempts is no score that replies give"),
    ):
        assert _exit_code(["samples", *arguments]) == 2
        assert sentence in capsys.readouterr().err
