"""Promise of the tests' own helper: a command that a failed test left behind is ended, and its streams are closed."""

from __future__ import annotations

import signal

import pytest
from support.command import started
from support.warm_starts import end_all


@pytest.mark.slow
def test_processes_whose_block_was_never_left_are_ended_and_closed() -> None:
    """Slow: a process is started."""
    left = [started("-c", "import time; time.sleep(600)") for _ in range(2)]
    end_all()
    for process in left:
        assert process.returncode == -signal.SIGKILL
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.closed
        assert process.stderr.closed
    end_all()
