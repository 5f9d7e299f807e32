"""Promise: the commands on a run are functions that take its folder or its run file and return results with frames."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

import scorer
from scorer.errors import SpecError


@pytest.fixture
def tree(tmp_path: Path) -> dict[str, Any]:
    """A run of three rows that a recorded judge answers, the last one without a verdict."""
    pl.DataFrame({"x": [1, 2, 3], "text": ["a", "b", "c"]}).write_parquet(tmp_path / "in.parquet")
    replies = pl.DataFrame({"x": [1, 2, 3], "reply": ["Score: 3", '{"score": 4}', "none"]})
    replies.write_parquet(tmp_path / "replies.parquet")
    return {
        "input": {"shards": [str(tmp_path / "in.parquet")]},
        "judge": {"prompt": "{text} Score from 1 to 5?", "attempts": 1},
        "model": {"provider": "recorded", "path": str(tmp_path / "replies.parquet"), "keys": ["x"], "replies": "reply"},
        "limits": {"max_failed_share": 1.0},
        "output": {"path": str(tmp_path / "out")},
    }


def test_run_returns_the_status_with_its_path_and_scores(tree: dict[str, Any]) -> None:
    result = scorer.run(tree)
    assert isinstance(result, scorer.Status)
    assert (result.state, result.scored, result.path) == ("complete", 2, tree["output"]["path"])
    assert result.scores.collect()["score"].to_list() == [3.0, 4.0, None]
    assert result.frame.select("rows", "failed", "errors").rows() == [(3, 1, "Unreadable 1")]
    assert scorer.status(result.path) == result


@pytest.mark.parametrize(
    "given",
    [
        {"output.path": "{0}/other", "limits.max_failed_share": 0.9},
        {"output": {"path": "{0}/other"}},
        ["output.path={0}/other"],
        "output.path={0}/other",
    ],
    ids=str,
)
def test_set_changes_keys_of_this_call_alone(tree: dict[str, Any], given: Any, tmp_path: Path) -> None:
    def filled(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: filled(inner) for name, inner in value.items()}
        if isinstance(value, list):
            return [filled(inner) for inner in value]
        return value.format(tmp_path) if isinstance(value, str) else value

    result = scorer.run(tree, set=filled(given))
    assert result.path == f"{tmp_path}/other"
    assert tree["output"] == {"path": f"{tmp_path}/out"}
    assert scorer.plan(tree, set={"judge.scale": [1, 10]}).rows == 3


def test_set_says_what_is_no_key(tree: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match=r"is not key\.path=value"):
        scorer.run(tree, set=["judge"])
    with pytest.raises(SpecError, match=r"limits\.max_dollars"):
        scorer.run(tree, set={"limits": {"max_dollars": 3}})


def test_retry_reread_and_verify_take_the_folder_or_the_run_file(tree: dict[str, Any], tmp_path: Path) -> None:
    out = tree["output"]["path"]
    scorer.run(tree)
    (tmp_path / "run.toml").write_text(f'output.path = "{out}"')
    replies = pl.read_parquet(tmp_path / "replies.parquet").with_columns(reply=pl.lit("Score: 5"))
    replies.write_parquet(tmp_path / "replies.parquet")
    assert scorer.retry(out, error="Refused").failed == 1
    assert scorer.retry(tmp_path / "run.toml", error=["Unreadable"]).scored == 3
    found = scorer.verify(tmp_path / "run.toml")
    assert found.complete
    assert found.frame.height == 0
    assert scorer.reread(out, set={"judge.scale": [1, 4]}).errors == {"Unreadable": 1}
    Path(out, "scores/in.parquet").write_bytes(b"damaged")
    assert scorer.verify(out).frame["kind"].unique().to_list() == ["finding"]
    with pytest.raises(SpecError, match="--error Gone is no error of a row"):
        scorer.retry(out, error="Gone")


def test_rehearse_scores_into_a_folder_of_its_own(tree: dict[str, Any]) -> None:
    tree = {**tree, "model": {"name": "m", "base_url": "http://127.0.0.1:9/v1"}}
    result = scorer.rehearse(tree, set={"rehearsal.latency_median_s": 0.0})
    assert (result.state, result.rehearsal, result.path) == ("complete", True, f"{tree['output']['path']}-rehearsal")
