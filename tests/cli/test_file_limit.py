"""Promise: a process that may have too few files open says so before it makes a folder, and what to type."""

from __future__ import annotations

import resource
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from support.command import run_file, shard

from scorer.build.endpoints import concurrency
from scorer.build.file_limit_checks import check_file_limit
from scorer.cli.app import _exit_code
from scorer.config.spec import Rates, Spec
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


@pytest.fixture
def hard(soft: int, monkeypatch: pytest.MonkeyPatch) -> int:
    """A limit of open files that cannot be raised."""
    monkeypatch.setattr("scorer.cli.app.raise_file_limit", file_limit.file_limit)
    monkeypatch.setattr("scorer.build.file_limit_checks.raise_file_limit", file_limit.file_limit)
    return soft


def test_too_few_files_for_the_requests_in_flight(
    hard: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shard(tmp_path / "in/a.parquet", 3)
    path = str(run_file(tmp_path, URL, limits={"concurrency": 500}))
    assert _exit_code(["run", path]) == 2
    said = capsys.readouterr().err
    assert f"limits.concurrency = 500 needs {LEAST + 500} open files in a process, and this one may have {hard}" in said
    assert f"lower limits.concurrency to at most {hard - LEAST}." in said
    assert not (tmp_path / "out").exists()
    assert _exit_code(["run", path, "--workers", "2"]) == 2
    assert f"needs {LEAST + 250} open files" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("allowed", "lower"), [(LEAST, ""), (LEAST + 63, ", or lower limits.concurrency to at most 63")]
)
def test_too_few_files_for_the_default_concurrency(
    allowed: int, lower: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    limit_is(monkeypatch, allowed)
    shard(tmp_path / "in/a.parquet", 3)
    assert _exit_code(["run", str(without_concurrency(tmp_path))]) == 2
    said = capsys.readouterr().err
    assert f"limits.concurrency = 64 by default needs {LEAST + 64} open files in a process" in said
    assert f"this one may have {allowed} (`ulimit -n`)" in said
    assert f"Type `ulimit -n {LEAST + 64}` before the command{lower}." in said
    assert not (tmp_path / "out").exists()


def test_the_default_is_checked_at_the_request_rate_and_at_each_endpoint(
    hard: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shard(tmp_path / "in/a.parquet", 3)
    path = str(without_concurrency(tmp_path))
    assert _exit_code(["run", path, "--set", "limits.requests_per_minute=3000"]) == 2
    assert f"= 500 by default needs {LEAST + 500} open files" in capsys.readouterr().err
    endpoints = [{"base_url": f"http://127.0.0.{last}:9/v1"} for last in range(1, 6)]
    path = str(without_concurrency(tmp_path, model={"base_url": None, "endpoints": endpoints}))
    assert _exit_code(["run", path]) == 2
    said = capsys.readouterr().err
    assert f"limits.concurrency of all endpoints = 320 by default needs {LEAST + 320} open files" in said
    assert f"to at most {(hard - LEAST) // 5} at each endpoint." in said


def test_an_adapted_concurrency_grows_no_further_than_the_open_files(monkeypatch: pytest.MonkeyPatch) -> None:
    limit_is(monkeypatch, LEAST + 10)
    assert concurrency(Rates(concurrency="auto"), "openai") == 10
    assert concurrency(Rates(concurrency=500), "openai") == 500
    limit_is(monkeypatch, LEAST + 5_000)
    assert concurrency(Rates(concurrency="auto"), "openai") == 1024


def test_a_run_in_a_notebook_raises_the_limit_where_it_needs_more(soft: int, monkeypatch: pytest.MonkeyPatch) -> None:
    few, many = (
        Spec.model_validate(
            {"input": {"shards": ["x"]}, "model": {"name": "m"}, "limits": {"concurrency": number},
             "output": {"path": "out"}}
        )
        for number in (soft - LEAST, soft - LEAST + 1)
    )  # fmt: skip
    check_file_limit(few, 1)
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == soft
    check_file_limit(many, 1)
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > soft


def limit_is(monkeypatch: pytest.MonkeyPatch, allowed: int) -> None:
    """This process may have so many files open, by all that ask."""
    for name in ("cli.app.raise_file_limit", "build.file_limit_checks.raise_file_limit",
                 "build.file_limit_checks.file_limit", "build.endpoints.file_limit"):  # fmt: skip
        monkeypatch.setattr(f"scorer.{name}", lambda: allowed)


def without_concurrency(folder: Path, **tables: Mapping[str, Any]) -> Path:
    path = run_file(folder, URL, **tables)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if "concurrency" not in line and "null" not in line))
    return path
