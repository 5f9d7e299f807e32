"""Promise: what CI downloads is tried once more where it fails, and a second failure is the end."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FAILS_UNTIL = 'echo tried >> tries; test "$(wc -l < tries)" -ge "$0" || exit 7'


@pytest.mark.parametrize(("succeeds_at", "tries", "code"), [(1, 1, 0), (2, 2, 0), (3, 2, 7)])
def test_a_command_that_fails_is_run_once_more_and_its_second_end_counts(
    succeeds_at: int, tries: int, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGAIN_AFTER_S", "0")
    command = [ROOT / "scripts/again", "sh", "-c", FAILS_UNTIL, str(succeeds_at)]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert ended.returncode == code
    assert (tmp_path / "tries").read_text() == "tried\n" * tries
    assert ("tried once more: sh -c" in ended.stderr) is (tries > 1)
