"""Promise: a process that may have too few files open says so before it makes a folder, and what to type."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.command import run_file, shard

from scorer.cli.app import _exit_code
from scorer.processes import file_limit
from scorer.processes.file_limit import LEAST, MOST, raise_file_limit

URL = "http://127.0.0.1:9/v1"


@pytest.fixture
def soft() -> Iterator[int]:
    """A soft limit that is lower than the hard one, which cannot be raised again in a test."""
    before, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lower = LEAST + 200
    resource.setrlimit(resource.RLIMIT_NOFILE, (lower, hard))
    yield lower
    resource.setrlimit(resource.RLIMIT_NOFILE, (before, hard))


def test_the_soft_limit_is_raised_to_the_hard_one(soft: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert hard == resource.RLIM_INFINITY or hard > soft
    assert raise_file_limit() == (MOST if hard == resource.RLIM_INFINITY else min(hard, MOST))


def test_a_refused_raise_leaves_the_limit(soft: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise ValueError("current limit exceeds maximum limit")

    with monkeypatch.context() as patched:
        patched.setattr(resource, "setrlimit", refused)
        assert raise_file_limit() == soft


@pytest.mark.parametrize("allowed", [16, 20, 32, LEAST - 1])
def test_too_few_files_for_any_command(
    allowed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("scorer.cli.app.raise_file_limit", lambda: allowed)
    shard(tmp_path / "in/a.parquet", 3)
    assert _exit_code(["run", str(run_file(tmp_path, URL))]) == 2
    said = capsys.readouterr().err
    assert f"may have {allowed} files open" in said
    assert "Type `ulimit -n 1024`" in said
    assert not (tmp_path / "out").exists()


def test_too_few_files_for_the_requests_in_flight(
    soft: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("scorer.cli.app.raise_file_limit", file_limit.file_limit)
    shard(tmp_path / "in/a.parquet", 3)
    path = str(run_file(tmp_path, URL, limits={"concurrency": 500}))
    assert _exit_code(["run", path]) == 2
    said = capsys.readouterr().err
    assert f"limits.concurrency = 500 needs {LEAST + 500} open files in a process, and this one may have {soft}" in said
    assert f"lower limits.concurrency to at most {soft - LEAST}." in said
    assert not (tmp_path / "out").exists()
    assert _exit_code(["run", path, "--workers", "2"]) == 2
    assert f"needs {LEAST + 250} open files" in capsys.readouterr().err
