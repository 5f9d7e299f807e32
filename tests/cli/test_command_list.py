"""Promise: `scorer --help` lists each command with the first sentence of its own help."""

from __future__ import annotations

import importlib

import pytest

from scorer.cli.app import _exit_code
from scorer.cli.commands import COMMANDS


@pytest.mark.parametrize("name", COMMANDS)
def test_the_summary_of_a_command_begins_its_docstring(name: str) -> None:
    module, _, function = COMMANDS[name].function.partition(":")
    docstring = getattr(importlib.import_module(module), function).__doc__
    assert COMMANDS[name].summary == " ".join(docstring.split("\n\n")[0].split())


def test_help_lists_every_command_with_its_summary(capsys: pytest.CaptureFixture[str]) -> None:
    assert _exit_code(["--help"]) == 0
    listed = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for name, command in COMMANDS.items():
        assert f" {name} {command.summary} " in listed


def test_a_mistyped_command_is_answered_with_the_one_that_is_meant(capsys: pytest.CaptureFixture[str]) -> None:
    assert _exit_code(["stat", "out"]) == 2
    assert 'Did you mean "status"?' in capsys.readouterr().err
