"""Promise: each way of judging gives through batches what it gives online, whatever becomes of lines and batches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from support.rehearsed_batches import RehearsedBatches

from scorer.build.plan import check
from scorer.errors import SpecError
from scorer.job.rehearse import _replies
from scorer.judges import JUDGES

ROWS = 9
FAULTS = {
    "create_502": 0.3, "null_output": 0.3, "download_cut": 0.2, "expire": 0.3, "error_lines": 0.1, "lost_lines": 0.05,
    "status_0_lines": 0.05, "twice_lines": 0.2, "foreign_lines": 0.1, "list_twice": 0.3,
}  # fmt: skip
RATE = {"prompt": "[row:{id}] Rate {a:fenced}"}
CRITERIA = [{"name": "truth", "description": "It is so."}, {"name": "style", "scale": [0, 10]}]
APART = {"prompt": "[row:{id}] Rate {a:fenced}", "criteria": CRITERIA, "ask_criteria": "apart"}
PAIR = {"prompt": "{first} or {second}?", "a": "a", "b": "b"}
COMPARED = ("id", "row", "score", "error", "reason", "method", "samples", "raw", "judge_model")

WAYS: dict[str, dict[str, Any]] = {
    "rating, two turns": {**RATE, "turns": 2},
    "rating, samples of criteria": {**RATE, "samples": 3, "criteria": ["truth", "style"]},
    "rating, criteria apart": {**APART, "samples": 2, "reason": "before"},
    "rating, criteria apart in two turns": {**APART, "turns": 2},
    "rating, criteria apart in json": {**APART, "read": "json"},
    "panel, criteria apart": {"kind": "panel", "models": ["x", "y"], **APART},
    "rating, json with a reason": {**RATE, "read": "json", "reason": "before"},
    "rating, expected": {**RATE, "read": "expected"},
    "pairwise, samples of both orders": {"kind": "pairwise", **PAIR, "samples": 2},
    "checklist": {"kind": "checklist", "prompt": "[row:{id}] {a:fenced}", "questions": ["Is it true?", "Is it short?"]},
    "versus_reference": {"kind": "versus_reference", "prompt": "{first} {second}", "response": "a", "reference": "b"},
    "panel, two turns": {"kind": "panel", "models": ["x", "y"], **RATE, "turns": 2},
    "cascade, in doubt": {"kind": "cascade", "models": ["x", "y"], "of": "pairwise", **PAIR, "threshold": 0.9},
    "function": {
        "kind": "function",
        "prompt_function": f"{__name__}:prompt",
        "reply_function": f"{__name__}:read",
        "columns": ["id"],
    },
}  # fmt: skip
CHECKS = ("Q1: yes\nQ2: no", "Q1: yes\nQ2: yes", "Q1: no\nQ2: no")
REFUSED = {"likelihood", "reward"}


def prompt(row: dict[str, Any]) -> str:
    return f"[row:{row['id']}] Rate it."


def read(reply: str) -> float:
    return float(reply.removeprefix("Score: "))


def tree(folder: Path, out: str, judge: dict[str, Any], mode: str) -> dict[str, Any]:
    model = {
        "name": "m",
        "base_url": "http://127.0.0.1:1/v1",
        "price": {"input": 1.0, "output": 2.0},
        "temperature": 0.7 if judge.get("samples", 1) > 1 else 0.0,
        "mode": mode,
        **({"batch": {"max_requests": 12, "min_requests": 1, "poll_s": 10, "grace_s": 5}} if mode == "batch" else {}),
    }
    models = (
        {"models": [{**model, "alias": alias} for alias in judge["models"]]} if "models" in judge else {"model": model}
    )
    return {
        "input": {"shards": [str(folder / "in.parquet")], "id": "id"},
        "judge": judge,
        **models,
        "limits": {"max_failed_share": 1.0},
        "output": {"path": str(folder / out)},
    }


def scored(folder: Path, judge: dict[str, Any], mode: str, **batch: float) -> tuple[pl.DataFrame, RehearsedBatches]:
    given = tree(folder, mode, judge, mode)
    pl.DataFrame(
        {
            "id": [f"r{n}" for n in range(ROWS)],
            **{side: [f"[row:{side}{n}] {side}" for n in range(ROWS)] for side in "ab"},
        }
    ).write_parquet(folder / "in.parquet")
    config: dict[str, Any] = {
        **({"replies": CHECKS} if judge.get("kind") == "checklist" else _replies(check(given))),
        "answer": "json" if judge.get("read") == "json" else "number",
    }
    names = judge.get("criteria")
    if isinstance(names, list) and isinstance(names[0], str) and "ask_criteria" not in judge:
        config["names"] = tuple(names)
    config["labels"] = tuple(judge.get("labels", ()))
    provider = RehearsedBatches(batch, **config)
    provider.run(given)
    return pl.read_parquet(folder / mode / "scores/*.parquet"), provider


@pytest.mark.parametrize("way", WAYS)
def test_way_of_judging_gives_through_batches_what_it_gives_online(tmp_path: Path, way: str) -> None:
    online, _ = scored(tmp_path, WAYS[way], "online")
    batched, provider = scored(tmp_path, WAYS[way], "batch", **FAULTS)
    assert not provider.wire.bodies, "something was asked online"
    stats = provider.stats
    assert (stats["paid_not_fetched"], online["score"].null_count()) == (0, 0)
    assert batched["batch"].null_count() == 0
    said = [*COMPARED, *(field.name for field in check(tree(tmp_path, "batch", WAYS[way], "batch")).judge.fields)]
    for name in said:
        assert batched[name].to_list() == online[name].to_list(), name
    assert online["score"].n_unique() > 1, "scores that are all the same show nothing"


@pytest.mark.parametrize(
    ("kind", "judge", "model", "said"),
    [
        ("likelihood", {"prompt": "{a}", "response": "b"}, {}, "no batch API gives the log-probabilities"),
        ("reward", {"prompt": "{a}"}, {"api": "classify"}, 'model.api = "classify"'),
    ],
)
def test_judge_whose_requests_no_batch_takes_is_refused(
    tmp_path: Path, kind: str, judge: dict[str, Any], model: dict[str, Any], said: str
) -> None:
    given = tree(tmp_path, "out", {"kind": kind, **judge}, "batch")
    given["model"] |= model
    with pytest.raises(SpecError, match='mode = "batch"') as error:
        check(given)
    assert said in str(error.value)


def test_every_kind_of_judge_is_tried_or_refused() -> None:
    assert {judge.get("kind", "rating") for judge in WAYS.values()} | REFUSED == set(JUDGES)
