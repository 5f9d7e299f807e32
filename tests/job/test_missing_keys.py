"""Promise: a run that lacks a key or its recorded table makes no output folder, and leaves one as it was."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.inprocess import PROMPT, Run

import scorer
from scorer.errors import SetupError, SpecError
from scorer.processes.event_loop import on_loop

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


COMMAND = [sys.executable, "-c", "import sys; sys.exit('no session')"]


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ({"api_key_command": COMMAND}, "exit code 1: no session"),
        ({"api_key_command": ["no-such-command"]}, "cannot be run"),
        ({"api_key_command": COMMAND, "mode": "batch"}, "exit code 1: no session"),
    ],
)
def test_a_key_command_that_fails_makes_no_folder(tmp_path: Path, model: dict[str, Any], said: str) -> None:
    run = Run(tmp_path, 10)
    run.model = model
    with pytest.raises(SetupError, match=said):
        on_loop(run.job().run())
    assert not Path(run.out).exists()


REPLIES = {"id": ["r0", "r1", "r2"], "said": ["Score: 1", "Score: 2", "Score: 3"]}


@pytest.mark.parametrize(
    ("replies", "said"),
    [
        (None, "cannot be read as Parquet"),
        ({"id": REPLIES["id"]}, "no column 'said'"),
        ({**REPLIES, "id": ["r0", "r1", "r1"]}, "1 keys occur more than once in .*: id = 'r1'. Add a key column"),
        (REPLIES, ""),
    ],
)
def test_a_recorded_table_that_cannot_serve_makes_no_folder(
    tmp_path: Path, replies: dict[str, list[str]] | None, said: str
) -> None:
    run, table = Run(tmp_path, 3), tmp_path / "replies.parquet"
    tree: dict[str, Any] = {
        "input": {"shards": run.patterns, "id": "id"},
        "judge": {"prompt": PROMPT, "scale": [1, 10]},
        "model": {"provider": "recorded", "path": str(table), "keys": ["id"], "replies": "said"},
        "output": {"path": run.out},
    }
    if replies is not None:
        pq.write_table(pa.table(replies), table)
    if not said:
        assert scorer.run(tree).scored == 3
        return
    with pytest.raises(SpecError, match=said):
        scorer.run(tree)
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
