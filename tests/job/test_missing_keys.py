"""Promise: a run that lacks a key makes no output folder, and leaves one as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.inprocess import Run

from scorer.errors import SetupError

UNSET = "KEY_THAT_IS_NOT_SET"
LACKING = [
    {"api_key_env": UNSET},
    {"headers": {"x-project": f"${{{UNSET}}}"}},
    {"query": {"api-version": f"${{{UNSET}}}"}},
    {"mode": "batch", "api_key_env": UNSET},
]


def contents(folder: str) -> dict[str, bytes]:
    """The files below a folder, without the lock, which names its last process."""
    found = [path for path in Path(folder).rglob("*") if path.is_file() and path.name != "lock"]
    return {str(path): path.read_bytes() for path in found}


@pytest.mark.parametrize("model", LACKING)
def test_a_new_folder_is_not_made(tmp_path: Path, model: dict[str, Any]) -> None:
    run = Run(tmp_path, 10)
    run.model = model
    with pytest.raises(SetupError, match=UNSET):
        run.run()
    assert not Path(run.out).exists()


@pytest.mark.parametrize("model", LACKING[:3])
def test_a_folder_stays_as_it_was_and_a_finished_run_needs_no_key(
    tmp_path: Path, model: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(tmp_path, 10)
    run.model = model
    monkeypatch.setenv(UNSET, "a value")
    run.stop_after(3)
    before = contents(run.out)
    monkeypatch.delenv(UNSET)
    with pytest.raises(SetupError, match=UNSET):
        run.run()
    assert contents(run.out) == before
    monkeypatch.setenv(UNSET, "a value")
    run.run()
    monkeypatch.delenv(UNSET)
    assert run.run().state == "complete"
    run.exact()
