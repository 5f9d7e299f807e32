"""Promise: a publisher that is killed at random moments leaves, after a repeat, each row once.

`tests/publish/test_kills.py` kills it at each of its steps.
"""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

import pytest
from publish.conftest import lake  # noqa: F401 - a fixture
from publish.lakes import Lake, keys
from publish.runs import begin, end, expected, output

from scorer.files.local_files import LocalFiles
from scorer.publish.publish import publish


@pytest.mark.slow
def test_publish_recovers_from_kill_9_at_random_moments(tmp_path: Path, lake: Lake) -> None:  # noqa: F811
    """Slow: the real command, really killed."""
    made = output(tmp_path / "a", *[20] * 6)
    draw = random.Random(6)
    first = output(tmp_path / "b", 1)
    began = time.monotonic()
    end(begin(first, lake))
    start_up = time.monotonic() - began
    kills = 0
    for _ in range(3):
        process = begin(made, lake)
        time.sleep(start_up * draw.uniform(0.8, 1.4))
        process.kill()
        kills += end(process) == -signal.SIGKILL
    publish(LocalFiles(), made.layout.out, lake.address)
    assert keys(lake.library()) == sorted(expected(made) + expected(first))
    assert publish(LocalFiles(), made.layout.out, lake.address).committed == 0
    assert sum(lake.commits()) == 1 + 6, f"{kills} kills"
