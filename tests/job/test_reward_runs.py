"""Promise: a reward model scores whole runs through each API of classifiers; they plan, verify, reread and retry."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.clock import inline
from support.clock import run as in_virtual_time
from support.simulated import Simulated

from scorer import scan_scores
from scorer.build.assemble import make_client
from scorer.build.plan import check
from scorer.cli.run_text import plan_text
from scorer.errors import SpecError
from scorer.files.local_files import LocalFiles
from scorer.job.estimate import estimate
from scorer.job.job import Job
from scorer.job.reread import reread
from scorer.judges.reward import sigma
from scorer.output.status import Status
from scorer.output.verify.folder import verify

ROWS = 12
FORMS = [
    ("classify", "chat"),
    ("classify", "text"),
    ("pooling", "chat"),
    ("pooling", "text"),
    ("score", "pair"),
    ("predict", "text"),
    ("predict", "pair"),
]


def tree(folder: Path, api: str, form: str, output: dict[str, Any] | None = None, **judge: Any) -> dict[str, Any]:
    source = folder / "in.parquet"
    if not source.exists():
        columns = {name: [f"{name} {n}" for n in range(ROWS)] for name in ("question", "response", "reference")}
        pq.write_table(pa.table(columns), source)
    prompt = "{question} => {response}" if form == "text" else "{question}"
    return {
        "input": {"shards": [str(source)]},
        "judge": {"kind": "reward", "form": form, "prompt": prompt, **judge},
        "model": {"api": api, "name": "m", "base_url": "http://127.0.0.1:1/v1", "price": {"input": 1.0, "output": 2.0}},
        "limits": {"max_usd": 1.0},
        "output": {"path": str(folder / "out"), **(output or {})},
    }


def run(wire: Simulated, spec: dict[str, Any]) -> Status:
    job = Job(check(spec), LocalFiles(), offload=inline, connect=partial(make_client, transport=wire))
    return in_virtual_time(job.run())


def found(folder: Path) -> pl.DataFrame:
    return scan_scores(str(folder / "out")).collect()


@pytest.mark.parametrize(("api", "form"), FORMS)
def test_reward_run_scores_each_row_by_one_request(tmp_path: Path, api: str, form: str) -> None:
    wire, spec = Simulated(), tree(tmp_path, api, form)
    status = run(wire, spec)
    assert (status.scored, status.failed, len(wire.bodies)) == (ROWS, 0, ROWS)
    assert verify(LocalFiles(), spec["output"]["path"]).findings == ()
    table = found(tmp_path)
    assert table["score"].to_list() == [orjson.loads(raw[0])["values"][0] for raw in table["raw"]]
    assert table["score"].min() < 0  # type: ignore[operator]  # raw values
    assert table["method"].unique().to_list() == ["logit"]
    assert table["completion_tokens"].sum() == 0
    assert table["prompt_tokens"].min() > 0  # type: ignore[operator]
    shown = [orjson.dumps(body).decode() for body in wire.bodies]
    assert all(any(f"response {n}" in body and f"question {n}" in body for body in shown) for n in range(ROWS))


def test_reward_run_with_reference_gives_probability_and_both_logits(tmp_path: Path) -> None:
    wire = Simulated()
    assert run(wire, tree(tmp_path, "classify", "chat", reference="reference")).scored == ROWS
    assert len(wire.bodies) == 2 * ROWS
    for score, first, second in found(tmp_path).select("score", "score_response", "score_reference").iter_rows():
        assert score == sigma(first - second)


def test_reward_run_by_probability_of_a_class(tmp_path: Path) -> None:
    wire = Simulated(classes=("good", "bad"))
    assert run(wire, tree(tmp_path, "predict", "pair", value="probability", label="good")).scored == ROWS
    table = found(tmp_path)
    assert table["score"].is_between(0, 1).all()
    assert (table["score"] > 0.5).to_list() == (table["label"] == "good").to_list()


def test_reward_plan_counts_no_reply_tokens(tmp_path: Path) -> None:
    plan = check(tree(tmp_path, "score", "pair", reference="reference"))
    estimated = estimate(plan, LocalFiles())
    assert (estimated.requests, estimated.completion_tokens_estimate) == (2 * ROWS, 0)
    assert estimated.cost_worst == estimated.cost_low == pytest.approx(estimated.prompt_tokens / 1e6)
    assert "tokens out  0 (a classifier writes no text)" in plan_text(estimated)


@pytest.mark.parametrize("keep", [True, "full"])
def test_reward_reread_takes_another_class_and_sends_nothing(tmp_path: Path, keep: Any) -> None:
    wire = Simulated(classes=("good", "bad"))
    run(wire, tree(tmp_path, "predict", "pair", {"keep_raw": keep}, label="good"))
    before = found(tmp_path)["score"].to_list()
    reread(LocalFiles(), str(tmp_path / "out"), ['judge.label="bad"'])
    after = found(tmp_path)["score"].to_list()
    assert len(wire.bodies) == ROWS
    assert all(one != other for one, other in zip(before, after, strict=True))
    reread(LocalFiles(), str(tmp_path / "out"), ['judge.label="good"'])
    assert found(tmp_path)["score"].to_list() == before


@pytest.mark.parametrize("key", ['value="probability"', 'form="text"', 'reference="reference"'])
def test_reward_reread_refuses_keys_that_change_the_requests(tmp_path: Path, key: str) -> None:
    run(Simulated(), tree(tmp_path, "classify", "chat"))
    with pytest.raises(SpecError, match="changes the requests"):
        reread(LocalFiles(), str(tmp_path / "out"), [f"judge.{key}"])


@pytest.mark.parametrize("fault", ["null", "truncate"])
def test_reward_run_asks_again_after_a_reply_without_values(tmp_path: Path, fault: str) -> None:
    wire = Simulated(**{f"fault_{fault}": 0.5})
    assert run(wire, tree(tmp_path, "classify", "chat")).scored == ROWS


def test_reward_fingerprint_covers_api_and_judge_keys(tmp_path: Path) -> None:
    trees = [
        tree(tmp_path, "classify", "chat"),
        tree(tmp_path, "pooling", "chat"),
        tree(tmp_path, "classify", "chat", value="probability"),
        tree(tmp_path, "classify", "chat", label=1),
        tree(tmp_path, "classify", "chat", label="1"),
        tree(tmp_path, "classify", "chat", reference="reference"),
        tree(tmp_path, "classify", "text"),
    ]
    assert len({check(one).fingerprint for one in trees}) == len(trees)


@pytest.mark.parametrize(
    ("judge", "model", "says"),
    [
        ({}, {"api": "chat"}, 'model.api = "chat" writes text, and judge.kind = "reward" needs the values'),
        ({}, {"api": "score"}, 'judge.form = "chat" is not taken by model.api = "score". Allowed: "pair"'),
        ({}, {"api": "predict"}, 'Allowed: "text" and "pair"'),
        ({"kind": "rating"}, {}, 'judge.kind = "rating" reads none'),
        ({}, {"temperature": 0}, 'model.temperature does not go with model.api = "classify"'),
        ({}, {"reasoning": "low"}, 'model.reasoning does not go with model.api = "classify"'),
        ({}, {"provider": "anthropic"}, 'model.api = "classify" belongs to provider = "openai"'),
        ({}, {"api": "chat", "provider": "embedded", "name": None, "base_url": None}, "needs a classifier"),
    ],
)
def test_reward_spec_refuses_keys_that_contradict(tmp_path: Path, judge: Any, model: Any, says: str) -> None:
    wrong = tree(tmp_path, "classify", "chat", **judge)
    wrong["model"] |= model
    with pytest.raises(SpecError) as caught:
        check(wrong)
    assert says in str(caught.value)
