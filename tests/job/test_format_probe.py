"""`scorer bias --format` finds a planted format bias through the real command, within its share of requests.

The rehearsal judge draws a verdict from the first characters of the answer. Every JSON answer begins alike, so all get
one verdict, which is known.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from support.command import scorer

from scorer.api.runs import run
from scorer.errors import BudgetSpent, SpecError
from scorer.files.local_files import LocalFiles
from scorer.job.format_probe import prepare
from scorer.output.scan import scan_scores
from scorer.rehearsal.config import RehearsalConfig
from scorer.rehearsal.process import RehearsalProcess
from scorer.rehearsal.reply_writer import ReplyWriter

ROWS = 400
JUDGE = RehearsalConfig(latency_median_s=0.0, scale=(1, 10), row_regex=r"Answer: (.{12})")


def verdict(answer: str) -> float:
    """What the judge thinks of an answer."""
    return float(ReplyWriter(JUDGE).verdict(answer[:12]).label)


@pytest.fixture(scope="module")
def judge() -> Iterator[RehearsalProcess]:
    with RehearsalProcess(JUDGE) as process:
        yield process


def tree(folder: Path, url: str, **limits: Any) -> dict[str, Any]:
    answers = [f"{number * 7919 % 9973:05d} is the answer. I am sure." for number in range(ROWS)]
    rows = pl.DataFrame({"id": range(ROWS), "response": answers, "gold": ["00000 is the answer."] * ROWS})
    (folder / "in").mkdir()
    rows.head(150).write_parquet(folder / "in/a.parquet")
    rows.tail(250).write_parquet(folder / "in/b.parquet")
    return {
        "input": {"shards": [f"{folder}/in/*.parquet"], "id": "id"},
        "judge": {"prompt": "Answer: {response}", "scale": [1, 10]},
        "model": {"name": "rehearsal-judge", "base_url": url, "price": {"input": 1.0, "output": 2.0}},
        "metrics": {"names": ["exact_match", "words"], "reference": "gold"},
        "limits": {"concurrency": 16, **limits},
        "output": {"path": f"{folder}/out"},
    }


@pytest.mark.slow
def test_format_probe_finds_a_planted_format_bias_within_its_share(tmp_path: Path, judge: RehearsalProcess) -> None:
    """Slow: a real run, and the real command twice."""
    out = f"{tmp_path}/out"
    run(tree(tmp_path, judge.url))
    before = judge.stats()["requests"]
    asked = ("bias", out, "--score", "score", "--text", "response", "--format", "--share", "0.25", "--json")
    first = scorer(*asked)
    assert first.code == 0, first.err
    # 0.25 x 400 = 100 questions: 20 answers in five forms.
    assert judge.stats()["requests"] - before == 100
    found = first.json()["scores"]
    assert set(found) == {"score", "metric_exact_match", "metric_words"}
    measured = found["score"]["format"]
    assert measured["answers"] == 20
    assert (measured["again"]["n"], measured["again"]["drift"]) == (20, 0.0)

    sample = pl.read_parquet(f"{out}-format/input/answers.parquet").filter(bias_format="as_is")
    plain = np.array([verdict(answer) for answer in sample["response"]])
    gap = verdict('{"response": ') - plain
    drift = measured["formats"]["json"]
    assert drift["drift"] == pytest.approx(gap.mean())
    assert drift["interval"][0] < drift["drift"] < drift["interval"][1]
    assert abs(drift["in_sd"]) > 0.3
    # Capitals begin with the same digits, up to the first letters.
    capitals = np.array([verdict(answer.upper()) for answer in sample["response"]])
    assert measured["formats"]["upper_case"]["drift"] == pytest.approx((capitals - plain).mean())
    # Words are counted whatever their case; a heading and bullets are words to this metric.
    words = found["metric_words"]["format"]["formats"]
    assert (words["upper_case"]["drift"], words["markdown"]["drift"], words["bullets"]["drift"]) == (0, 2, 2)

    again = scorer(*asked[:-1])
    assert again.code == 0, again.err
    assert judge.stats()["requests"] - before == 100
    assert "score, by the form of 20 answers" in again.out
    other = scorer(*asked[:-2], "0.5")
    assert other.code == 2
    assert "holds a sample drawn with --share 0.25: give the same options, or delete the folder" in other.err


@pytest.fixture
def finished(tmp_path: Path, judge: RehearsalProcess) -> str:
    run(tree(tmp_path, judge.url, max_usd=5.0, max_tokens=100_000))
    return f"{tmp_path}/out"


@pytest.mark.slow
def test_format_probe_counts_the_costs_of_the_run_against_the_caps(finished: str) -> None:
    """Slow: a real run."""
    spent = scan_scores(finished).select(pl.col("prompt_tokens", "completion_tokens").sum()).collect().row(0)
    limits = prepare(LocalFiles(), finished, "response", share=0.1).plan.spec.limits
    assert limits.max_tokens == 100_000 - sum(spent)
    assert limits.max_usd is not None
    assert limits.max_usd == pytest.approx(5 - (spent[0] + 2 * spent[1]) / 1e6)
    with pytest.raises(BudgetSpent, match=r"limits.max_tokens of .* is used up"):
        prepare(LocalFiles(), finished, "response", share=0.1, sets=["limits.max_tokens=10"])


@pytest.mark.slow
def test_format_probe_sample_is_random_seeded_and_of_scored_rows(finished: str) -> None:
    """Slow: a real run."""
    places = prepare(LocalFiles(), finished, "response", share=0.1).places
    assert len(places) == 8
    sample = pl.read_parquet(f"{finished}-format/input/answers.parquet")
    assert len(sample) == 40
    assert sample["bias_shard"].n_unique() == 2
    inputs = {shard: pl.read_parquet(shard) for shard in sample["bias_shard"].unique()}
    for row in sample.filter(bias_format="as_is").to_dicts():
        assert inputs[row["bias_shard"]]["id"][row["bias_row"]] == row["id"]


@pytest.mark.slow
def test_format_probe_refuses_wrong_columns_shares_and_folders(finished: str, tmp_path: Path) -> None:
    """Slow: a real run."""
    for arguments, words in (
        ({"text": "respons"}, "Column respons is not in"),
        ({"text": "id"}, "Column id of .* holds Int64, not texts"),
        ({"share": 0.01}, "is too small for two answers in 5 formats each.* give --share 0.025 or more"),
        ({"share": 0.0}, "must be a share of the run's rows"),
        ({"out": str(tmp_path)}, "holds no run. --format needs the judge of a run"),
    ):
        asked = {"out": finished, "text": "response", "share": 0.1, **arguments}
        with pytest.raises(SpecError, match=words):
            prepare(LocalFiles(), asked["out"], asked["text"], share=asked["share"])
    assert not Path(f"{finished}-format").exists()
