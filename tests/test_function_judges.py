"""Promise: a judge of functions works in score_frame and in run, and its source is part of the fingerprint."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import scorer
from scorer.errors import OutputError, SpecError

FRAME = pl.DataFrame({"text": ["a", "b", None, "d"], "x": [1, 2, 3, 4]})
MODULE = """
import scorer

def prompt(row):
    return f"Rate {row['text']} from 1 to 5."

def read(reply):
    return float(reply)

judge = scorer.judge(prompt, read)

@scorer.judge
def in_one(row):
    reply = yield f"Rate {row['text']} from 1 to 5."
    return int(reply)
"""


@pytest.fixture
def model(tmp_path: Path) -> dict[str, Any]:
    """A recorded judge that answers 3 to row x = 1, then 4, 5, 6."""
    pl.DataFrame({"x": [1, 2, 3, 4], "reply": ["3", "4", "5", "6"]}).write_parquet(tmp_path / "replies.parquet")
    return {"provider": "recorded", "path": str(tmp_path / "replies.parquet"), "keys": ["x"], "replies": "reply"}


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A module of functions in a folder that children find too."""
    (tmp_path / "own_judges.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    import own_judges  # type: ignore[import-not-found]

    yield own_judges
    del sys.modules["own_judges"]


def tree(folder: Path, judge: Any, model: dict[str, Any]) -> dict[str, Any]:
    FRAME.write_parquet(folder / "in.parquet")
    return {
        "input": {"shards": [str(folder / "in.parquet")]},
        "judge": judge,
        "model": model,
        "limits": {"max_failed_share": 1.0},
        "output": {"path": str(folder / "out")},
    }


def session_judge(scale: int) -> Any:
    return scorer.judge(lambda row: f"{scale} {row['text']}", float, attempts=1)


def test_a_judge_of_lambdas_scores_a_frame(model: dict[str, Any]) -> None:
    with pytest.warns(UserWarning, match="1 of 4 rows failed"):
        found = scorer.score_frame(FRAME, judge=session_judge(5), model=model)
    assert found["score"].to_list() == [3, 4, None, 6]
    assert found["error"].to_list() == [None, None, "BadRow", None]
    assert found["method"].drop_nulls().unique().to_list() == ["function"]


@pytest.mark.parametrize("which", ["judge", "in_one"])
def test_a_judge_of_a_module_runs_resumes_and_serves_a_run_file(
    module: Any, which: str, model: dict[str, Any], tmp_path: Path
) -> None:
    wanted = tree(tmp_path, getattr(module, which), model)
    assert scorer.run(wanted).scored == 3
    assert scorer.run(wanted).scored == 3
    named = {**wanted, "judge": dict(wanted["judge"])}  # as a run file would have it
    assert named["judge"]["prompt_function"].startswith("own_judges:")
    assert scorer.run(named).state == "complete"


def test_another_source_is_another_fingerprint(model: dict[str, Any], tmp_path: Path) -> None:
    assert scorer.run(tree(tmp_path, session_judge(5), model)).scored == 3
    assert scorer.run(tree(tmp_path, session_judge(5), model)).scored == 3  # defined again, and the same
    with pytest.raises(OutputError, match=r"judge\.prompt_function was"):
        scorer.run(tree(tmp_path, session_judge(6), model))


def test_a_changed_function_of_a_module_is_refused_on_resume(
    module: Any, model: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert scorer.run(tree(tmp_path, module.judge, model)).scored == 3

    def prompt(row: Any) -> str:
        return f"Judge {row['text']}."

    changed: Callable[[Any], str] = prompt
    changed.__module__, changed.__qualname__ = "own_judges", "prompt"
    monkeypatch.setattr(module, "prompt", changed)
    with pytest.raises(OutputError, match=r"judge\.source was"):
        scorer.run(tree(tmp_path, scorer.judge(module.prompt, module.read), model))


@pytest.mark.slow
def test_a_judge_of_lambdas_can_be_rehearsed(tmp_path: Path) -> None:
    """Slow: the simulated judge starts."""
    judge = scorer.judge(lambda row: f"Rate {row['text']}.", float)
    wanted = tree(tmp_path, judge, {"name": "m", "base_url": "http://127.0.0.1:9/v1"})
    result = scorer.rehearse(wanted, set={"rehearsal.latency_median_s": 0.0})
    assert (result.scored, result.errors) == (3, {"BadRow": 1})


def test_workers_refuse_a_judge_of_the_session_before_anything_is_written(
    model: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(SpecError, match="need a judge that can be imported"):
        scorer.run(tree(tmp_path, session_judge(5), model), workers=2)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_workers_import_a_judge_of_a_module(module: Any, model: dict[str, Any], tmp_path: Path) -> None:
    """Slow: two processes start."""
    assert scorer.run(tree(tmp_path, module.judge, model), workers=2).scored == 3


def test_two_lambdas_on_one_line_are_two_functions(model: dict[str, Any]) -> None:
    judge = scorer.judge(lambda row: f"Rate {row['text']} from 1 to 5.", lambda reply: float(reply) / 2)
    assert scorer.score_frame(FRAME.drop_nulls(), judge=judge, model=model)["score"].to_list() == [1.5, 2.0, 3.0]
