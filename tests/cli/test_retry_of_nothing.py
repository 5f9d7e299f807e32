"""Promise: a retry that has nothing to score again says so, and changes nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.command import run_file, scorer, shard

from scorer.rehearsal.process import RehearsalProcess


@pytest.fixture
def out(judge: RehearsalProcess, tmp_path: Path) -> Path:
    """Three scored rows and one of which the prompt is null."""
    shard(tmp_path / "in/a.parquet", 3)
    shard(tmp_path / "in/b.parquet", 1, first=3, response=None)
    assert scorer("run", run_file(tmp_path, judge.url, limits={"max_failed_share": 0.5})).code == 0
    return tmp_path / "out"


@pytest.mark.slow
def test_a_retry_of_no_row_says_so_and_leaves_the_folder_as_it_is(out: Path) -> None:
    """Slow: starts the real command."""
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    said = scorer("retry", out, "--error", "Truncated", "--json", "--log-format", "json")
    assert json.loads(said.err.splitlines()[0])["message"] == (
        f"No row of {out} ended in one of these errors: nothing is scored again."
    )
    assert json.loads(said.out)["scored"] == 3
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


@pytest.mark.slow
def test_a_retry_of_a_failed_row_is_no_retry_of_nothing(out: Path) -> None:
    """Slow: starts the real command."""
    assert "nothing is scored again" not in scorer("retry", out).err
