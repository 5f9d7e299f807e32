"""Promise: reasoning and schemas are asked as the server takes them, in whole runs; a refusal is reported once."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.clock import inline
from support.clock import run as in_virtual_time
from support.simulated import Simulated

from scorer.analysis.open_table import open_table
from scorer.build.assemble import make_client
from scorer.build.plan import check
from scorer.cli.run_text import plan_text, summary_text
from scorer.errors import SpecError
from scorer.files.local_files import LocalFiles
from scorer.job.callbacks import Callbacks
from scorer.job.estimate import Estimate, estimate
from scorer.job.job import Job
from scorer.output.status import Status
from scorer.output.verify.folder import verify

ROWS = 12
CRITERIA = [{"name": "wit", "weight": 2}, {"name": "tact", "scale": [0, 10]}]


def tree(folder: Path, judge: dict[str, Any], model: dict[str, Any]) -> dict[str, Any]:
    source = folder / "in.parquet"
    if not source.exists():
        pq.write_table(pa.table({"a": [f"answer {n}" for n in range(ROWS)]}), source)
    return {
        "input": {"shards": [str(source)]},
        "judge": {"prompt": "Rate {a:fenced}", **judge},
        "model": {"name": "m", "base_url": "http://127.0.0.1:1/v1", "price": {"input": 1.0, "output": 2.0}, **model},
        "limits": {"concurrency": 3, "max_usd": 5.0, "max_failed_share": 1.0},
        "output": {"path": f"{folder}/out"},
    }


def ran(
    folder: Path, wire: Simulated, judge: dict[str, Any], model: dict[str, Any]
) -> tuple[Status, list[dict[str, Any]], list[str]]:
    """The status, the rows and what was said of a run to its end."""
    said: list[str] = []
    job = Job(
        check(tree(folder, judge, model)),
        LocalFiles(),
        offload=inline,
        wall_s=lambda: 1_790_000_000.0,
        connect=partial(make_client, transport=wire),
        callbacks=Callbacks(say=said.append),
    )
    status = in_virtual_time(job.run())
    assert verify(LocalFiles(), f"{folder}/out").findings == ()
    return status, pq.read_table(folder / "out/scores/in.parquet").to_pylist(), said


def test_a_schema_is_sent_and_its_reply_read(tmp_path: Path) -> None:
    wire = Simulated()
    judge = {"read": "json", "criteria": CRITERIA, "reason": "before"}
    status, rows, _ = ran(tmp_path, wire, judge, {"max_output_tokens": 200})
    assert status.scored == ROWS
    assert all(body["response_format"]["type"] == "json_schema" for body in wire.bodies)
    for row in rows:
        assert row["criteria_read"] == 2
        assert row["score"] == pytest.approx((2 * row["score_wit"] + 1 + row["score_tact"] * 0.4) / 3)
        assert row["reason_wit"] == row["reason_tact"] == "Accurate, clear and complete."


def test_a_refused_schema_and_temperature_are_left_out_and_told_once(tmp_path: Path) -> None:
    wire = Simulated(refuses=("temperature", "response_format"), answer="json")
    status, _, said = ran(tmp_path, wire, {"read": "json"}, {"temperature": 0.0})
    assert status.scored == ROWS
    assert status.cost_usd > 0
    assert not {"temperature", "response_format"} & wire.bodies[-1].keys()
    messages = [sentence for sentence in said if "is refused" in sentence]
    assert sorted(re.split(r" is refused", sentence)[0] for sentence in messages) == [
        'The JSON schema of judge.read = "json"',
        'The JSON schema of judge.read = "json"',  # to any JSON object, then to none
        "model.temperature",
    ]


def test_reasoning_has_room_is_counted_and_shown(tmp_path: Path) -> None:
    wire = Simulated(reasoning_tokens=1000)
    status, rows, _ = ran(tmp_path, wire, {}, {"reasoning": "low", "max_output_tokens": 8})
    assert {body["max_tokens"] for body in wire.bodies} == {4104}
    assert {body["reasoning_effort"] for body in wire.bodies} == {"low"}
    assert status.scored == ROWS
    assert [row["reasoning_tokens"] for row in rows] == [1000] * ROWS
    assert status.reasoning_tokens == 1000 * ROWS < status.completion_tokens
    assert f"out ({status.reasoning_tokens:,} reasoning), in" in summary_text("out", status)
    assert status.cost_usd == pytest.approx((status.prompt_tokens + 2 * status.completion_tokens) / 1e6)


def test_without_room_the_row_says_that_it_was_reasoning(tmp_path: Path) -> None:
    _, rows, _ = ran(tmp_path, Simulated(reasoning_tokens=1000), {}, {"max_output_tokens": 8})
    assert {row["error"] for row in rows} == {"Truncated"}
    assert "8 tokens of it were reasoning. Set model.reasoning" in rows[0]["error_detail"]
    assert [row["reasoning_tokens"] for row in rows] == [8] * ROWS


def test_another_reasoning_or_schema_is_another_fingerprint(tmp_path: Path) -> None:
    json = {"read": "json"}
    variants = [
        (json, {}),
        (json, {"reasoning": "low"}),
        (json, {"reasoning": 4096}),
        ({**json, "structured": "none"}, {}),
    ]
    prints = {check(tree(tmp_path, judge, model)).fingerprint for judge, model in variants}
    assert len(prints) == len(variants)


def plan_of(folder: Path, **model: Any) -> Estimate:
    return estimate(check(tree(folder, {}, model)), LocalFiles())


def test_the_plan_counts_reasoning_and_warns(tmp_path: Path) -> None:
    without, medium = plan_of(tmp_path), plan_of(tmp_path, reasoning="medium")
    assert medium.cost_low == without.cost_low
    assert without.cost_worst is not None
    assert medium.cost_worst == pytest.approx(without.cost_worst + ROWS * 8192 * 2 / 1e6)
    assert medium.completion_tokens_estimate > without.completion_tokens_estimate
    assert 'model.reasoning = "medium" sets aside 8,192 output tokens a reply' in plan_text(medium)
    assert "advice" not in plan_text(without)
    by_itself = plan_of(tmp_path, name="gpt-5-mini")
    assert "gpt-5-mini reasons before it replies" in plan_text(by_itself)
    assert "advice" not in plan_text(plan_of(tmp_path, name="gpt-5-mini", extra={"reasoning_effort": "low"}))


def test_the_plan_counts_the_schema_where_the_server_reads_it(tmp_path: Path) -> None:
    def tokens(model: dict[str, Any], **judge: Any) -> int:
        return estimate(check(tree(tmp_path, {"read": "json", **judge}, model)), LocalFiles()).prompt_tokens

    without = tokens({}, structured="none")
    schema = tokens({}) - without
    assert schema > 0
    assert schema % ROWS == 0
    assert tokens({"provider": "anthropic"}) == without + schema
    assert tokens({"dialect": "vllm"}) == tokens({"dialect": "llamacpp"}) == without


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"reasoning": "much"}, "model.reasoning"),
        ({"reasoning": 0}, "model.reasoning"),
        (
            {"provider": "embedded", "base_url": None, "reasoning": "low"},
            'does not go with model.provider = "embedded"',
        ),
        (
            {"provider": "anthropic", "reasoning": "low", "temperature": 0.5},
            "model.temperature: 0.5 is not allowed with",
        ),
    ],
)
def test_a_wrong_reasoning_is_told_before_anything_is_sent(tmp_path: Path, model: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError) as caught:
        check(tree(tmp_path, {}, model))
    assert any(message in problem for problem in caught.value.problems), caught.value.problems


def test_a_row_with_some_criteria_keeps_them_and_an_analysis_counts_them(tmp_path: Path) -> None:
    wire = Simulated(replies=("wit: 4\ntact: none", "wit: 2\ntact: 5", "wit: no\ntact: no"))
    status, rows, _ = ran(tmp_path, wire, {"criteria": CRITERIA, "attempts": 1}, {"max_output_tokens": 40})
    read = [row["score_wit"] for row in rows if row["score_wit"] is not None]
    half = [row for row in rows if row["error"] and row["score_wit"] is not None]
    assert half
    assert {(row["error"], row["score"], row["criteria_read"], row["score_wit"]) for row in half} == {
        ("Unreadable", None, 1, 4.0)
    }
    assert status.failed == sum(row["error"] is not None for row in rows) > len(half)
    frame = open_table(f"{tmp_path}/out").collect()
    assert sorted(frame["score_wit"].drop_nulls().to_list()) == sorted(read)
