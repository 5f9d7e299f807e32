"""Promise: on the command line `--score` may be left out wherever the function in Python may be called without it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import scorer
from scorer.cli.app import _exit_code
from scorer.cli.bias_command import bias
from scorer.cli.cascade_command import cascade
from scorer.cli.curves_command import curves
from scorer.cli.decision_commands import gate
from scorer.cli.judge_commands import agree, scale
from scorer.cli.samples_command import samples
from scorer.cli.system_commands import compare, estimate, leaderboard

COMMANDS = [agree, bias, cascade, compare, curves, estimate, gate, leaderboard, samples, scale]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.__name__)
def test_command_and_function_have_the_same_default(command: Callable[..., Any]) -> None:
    function = getattr(scorer, command.__name__)
    given = inspect.signature(command).parameters["score"].default
    assert (given if isinstance(given, str) else ", ".join(given)) == "score"
    assert inspect.signature(function).parameters["score"].default == "score"


def test_agree_without_score_says_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scores = [1.0, 2.0, 2.5, 4.0, 4.5, 6.0]
    table = str(tmp_path / "table.parquet")
    pl.DataFrame({"score": scores, "noise": scores[::-1], "human": [1, 2, 3, 4, 6, 5]}).write_parquet(table)
    said = []
    for given in ([], ["--score", "score"], ["--score", "noise"]):
        assert _exit_code(["agree", table, "--human", "human", "--bootstrap", "0", "--json", *given]) == 0
        said.append(capsys.readouterr().out)
    assert said[0] == said[1] != said[2]
