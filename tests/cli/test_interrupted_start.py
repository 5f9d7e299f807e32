"""Promise: Ctrl-C before a command has begun is exit code 130 and a sentence, not a traceback."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from scorer.cli import EARLY, app
from scorer.processes import search_path

INTERRUPTED_AT = """
import os, signal, sys

class Finder:
    def find_spec(self, name, path, target=None):
        if name == at:
            os.kill(os.getpid(), signal.SIGINT)

at = sys.argv.pop(1)
sys.meta_path.insert(0, Finder())
from scorer.__main__ import main
main()
"""
"""Ctrl-C as soon as a module is looked for."""
BEFORE_THE_GUARD = """
import sys

before = {*sys.modules}
import scorer.__main__
print(*{*sys.modules} - before)
"""


@pytest.mark.parametrize("module", ["scorer.cli.app", "traceback", "scorer.errors"])
def test_ctrl_c_while_the_first_modules_are_loaded_is_a_sentence(module: str) -> None:
    command = [sys.executable, "-c", INTERRUPTED_AT, module, "status", "out"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", f"{EARLY}\n")


def test_nearly_nothing_is_loaded_before_ctrl_c_has_a_sentence() -> None:
    ended = subprocess.run([sys.executable, "-c", BEFORE_THE_GUARD], capture_output=True, text=True, check=True)
    known = {"scorer", "scorer.__main__", "scorer.cli", "scorer.processes", "scorer.processes.search_path"}
    assert set(ended.stdout.split()) == known


def test_the_console_script_is_the_guarded_one() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["scripts"] == {"scorer": "scorer.__main__:main"}


def test_ctrl_c_while_modules_are_loaded_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(arguments: list[str]) -> int:
        raise KeyboardInterrupt

    for name in ("hold_streams", "end_streams", "end_uncollected"):
        monkeypatch.setattr(app, name, lambda: None)
    monkeypatch.setattr(app, "_exit_code", interrupted)
    with pytest.raises(SystemExit) as ended:
        app.main(["status", "out"])
    assert ended.value.code == 130
    assert capsys.readouterr().err.splitlines() == [EARLY]


def test_a_current_folder_that_is_gone_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    monkeypatch.setattr("sys.argv", ["scorer", "status", "out"])
    search_path.settle_command()
    assert app._exit_code(["status", "out"]) == 2
    assert capsys.readouterr().err == f"{app._NO_FOLDER}\n"
