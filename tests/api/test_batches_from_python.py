"""Promise: requests are exported and their results imported from Python, with what the commands say as values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest

import scorer
from scorer.errors import SpecError


def answered(requests: Path) -> dict[str, Any]:
    """A result for the first request of a file."""
    first = orjson.loads(requests.read_bytes().splitlines()[0])
    message = {"role": "assistant", "content": "Score: 4"}
    usage = {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    body = {"model": "m", "choices": [choice], "usage": usage}
    return {"custom_id": first["custom_id"], "response": {"status_code": 200, "body": body}, "error": None}


def test_export_and_import_return_what_was_written_taken_and_given_up(tmp_path: Path) -> None:
    pl.DataFrame({"text": ["a", "b"]}).write_parquet(tmp_path / "in.parquet")
    tree = {
        "input": {"shards": [str(tmp_path / "in.parquet")]},
        "judge": {"prompt": "{text} Score from 1 to 5?"},
        "model": {"name": "m", "base_url": "http://127.0.0.1:1/v1", "batch": {"max_requests": 1}},
        "output": {"path": str(tmp_path / "out")},
    }
    files = scorer.export_batch(tree, tmp_path / "requests")
    assert [*files.values()] == [1, 1]
    assert scorer.export_batch(tree, tmp_path / "requests") == {}
    one, other = files
    results = tmp_path / "results.jsonl"
    results.write_bytes(orjson.dumps(answered(one)) + b"\n" + orjson.dumps({**answered(one), "custom_id": "x-0"}))
    assert scorer.import_batch(tree, results) == scorer.BatchImport(
        taken=1, unknown={str(results): 1}, exports_out=1, rows_out=1
    )
    assert scorer.import_batch(tree, results).taken_before == 1
    assert scorer.scan_scores(tmp_path / "out").collect()["score"].to_list() == [4.0]
    assert scorer.import_batch(tree, other, give_up=True) == scorer.BatchImport(given_up=1)
    with pytest.raises(SpecError, match="give_up=True"):
        scorer.import_batch(tree)
