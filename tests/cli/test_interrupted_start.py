"""Promise: Ctrl-C before a command has begun is exit code 130 and a sentence, not a traceback."""

from __future__ import annotations

from pathlib import Path

import pytest

from scorer.cli import app
from scorer.processes import search_path


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
    assert capsys.readouterr().err.splitlines() == [app._EARLY]


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
