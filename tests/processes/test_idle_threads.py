"""Promise: threads of numpy that have nothing to do cost a command no CPU."""

from __future__ import annotations

import subprocess
import sys

import pytest

IMPORTED = """
from scorer.cli.app import _exit_code
import os, sys

assert _exit_code(["--version"]) == 0
assert "numpy" not in sys.modules
print(os.environ["OPENBLAS_THREAD_TIMEOUT"])
"""


@pytest.mark.slow
@pytest.mark.parametrize(("given", "kept"), [({}, "16"), ({"OPENBLAS_THREAD_TIMEOUT": "20"}, "20")])
def test_a_command_sets_how_long_they_spin_before_numpy_is_loaded(given: dict[str, str], kept: str) -> None:
    """Slow: starts an interpreter."""
    environment = {"PATH": "", **given}
    done = subprocess.run([sys.executable, "-c", IMPORTED], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.split()[-1] == kept
