"""Promise: what a run costs lies between the low and the worst cost of its plan, before and after a sample."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.inprocess import Run

from scorer.files.local_files import LocalFiles
from scorer.job import estimate as estimate_module
from scorer.job.estimate import Estimate, estimate
from scorer.types import Call, Reply

ROWS = 400
SHARED = "Rate the answer, whatever it says. " * 20


class Judge(Run):
    """A server that bills `each` tokens for a byte of a prompt, once for all choices, with `cached` of them cached."""

    def __init__(self, root: Path, each: float, cached: float = 0.0, **judge: Any) -> None:
        super().__init__(root)
        self.judge = judge
        self.model = {"price": {"input": 1.0, "output": 2.0, "cached_input": 0.1}}
        ids = [f"r{row}" for row in range(ROWS)]
        texts = ["word " * (1 + row * row % 83) for row in range(ROWS)]
        (root / "in").mkdir()
        pq.write_table(pa.table({"id": ids, "response": texts}), root / "in/a.parquet")
        real = self.wire.reply

        async def reply(call: Call, number: int) -> Reply:
            body, asked = orjson.loads((await real(call, number)).body), orjson.loads(call.body)
            prompt = round(each * len(asked["messages"][-1]["content"]))
            body["choices"] *= asked.get("n", 1)
            body["usage"] = {"prompt_tokens": prompt, "completion_tokens": 4 * len(body["choices"])}
            body["usage"]["prompt_tokens_details"] = {"cached_tokens": round(cached * prompt)}
            return Reply(200, {"content-type": "application/json"}, orjson.dumps(body))

        self.wire.reply = reply  # type: ignore[method-assign]

    def plan(self) -> Estimate:
        return estimate(self.job(**self.judge).plan, LocalFiles())

    def cost(self, sample: str | None = None) -> float:
        return self.run(sample=sample, **self.judge).cost_usd


def holds(plan: Estimate, cost: float) -> bool:
    assert plan.cost_low is not None
    assert plan.cost_worst is not None
    return plan.cost_low <= cost <= plan.cost_worst


@pytest.mark.parametrize("each", [0.1, 0.25, 0.6])
@pytest.mark.parametrize("drawn", [False, True], ids=["all rows", "a sample"])
def test_plan_after_a_sample_has_what_the_server_bills(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, each: float, drawn: bool
) -> None:
    judge = Judge(tmp_path, each)
    judge.cost("60")
    if drawn:  # as of an input of more rows than are counted
        monkeypatch.setattr(estimate_module, "EXACT_ROWS", 300)
        monkeypatch.setattr(estimate_module, "SAMPLE_ROWS", 200)
    plan = judge.plan()
    real = judge.cost()
    assert holds(plan, real)
    assert plan.cost_expected == pytest.approx(real, rel=0.05)


def test_plan_from_a_part_of_the_rows_is_unbiased_where_lengths_differ(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = Judge(tmp_path, 0.25)
    counted = judge.plan().prompt_tokens
    monkeypatch.setattr(estimate_module, "EXACT_ROWS", 300)
    monkeypatch.setattr(estimate_module, "SAMPLE_ROWS", 200)
    drawn = judge.plan()
    assert drawn.prompt_tokens == pytest.approx(counted, rel=0.001), "a prompt's tokens are those of its text"
    assert drawn.prompt_tokens_low <= counted <= drawn.prompt_tokens_high


def test_plan_after_a_sample_has_the_share_that_the_server_cached(tmp_path: Path) -> None:
    judge = Judge(tmp_path, 0.25, 0.8)
    judge.cost("60")
    plan = judge.plan()
    real = judge.cost()
    assert holds(plan, real)
    assert plan.cost_expected == pytest.approx(real, rel=0.05)


@pytest.mark.parametrize("left", [ROWS // 4, ROWS], ids=["fewer rows", "other rows"])
def test_plan_of_a_changed_shard_takes_no_bills_from_the_rows_that_it_had(tmp_path: Path, left: int) -> None:
    judge = Judge(tmp_path, 0.6)
    judge.cost()
    assert judge.plan().billed_ratio is not None
    path = tmp_path / "in/a.parquet"
    table = pq.read_table(path).slice(0, left)
    pq.write_table(table.set_column(1, "response", pa.array(["Other words."] * left)), path)
    changed = judge.plan()
    assert changed.rows == left
    assert changed.billed_ratio is None


def test_low_cost_has_the_shared_beginning_of_prompts_cached(tmp_path: Path) -> None:
    judge = Judge(tmp_path, 0.25, 0.7, prompt=SHARED + "[row:{id}] {response}")
    assert holds(judge.plan(), judge.cost())


def test_low_cost_has_a_prompt_billed_once_for_all_its_samples(tmp_path: Path) -> None:
    judge = Judge(tmp_path, 0.25, samples=4, prompt="[row:{id}] {response}" + SHARED)
    judge.model["temperature"] = 0.7
    plan = judge.plan()
    real = judge.cost()
    assert holds(plan, real)
    after = judge.plan()
    assert holds(after, real)
    assert after.cost_expected == pytest.approx(real, rel=0.01)


def test_plan_with_a_prompt_cache_reads_at_least_what_finished_rows_had_read(tmp_path: Path) -> None:
    judge = Judge(tmp_path, 0.25, 0.8)
    judge.model["cache"] = "auto"
    judge.cost("60")
    plan = judge.plan()
    assert holds(plan, judge.cost())
