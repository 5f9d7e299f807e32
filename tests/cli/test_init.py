"""Promise: `scorer init` works after a plain install, and says what the embedded judge lacks there."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from scorer.cli.app import _exit_code


def test_init_says_what_the_embedded_judge_lacks_and_its_run_file_can_be_planned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "xllamacpp" else real(name))
    assert _exit_code(["init"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("Wrote run.toml. Next: scorer plan run.toml")
    assert "pip install 'batch-scorer[embedded]'" in said
    assert _exit_code(["plan", "run.toml"]) == 0


def test_init_says_nothing_more_where_the_embedded_judge_is_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("scorer.client.llamacpp_server.find_weights", lambda: tmp_path)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: object())
    assert _exit_code(["init", "other.toml"]) == 0
    assert capsys.readouterr().out == "Wrote other.toml. Next: scorer plan other.toml, then scorer run other.toml\n"
