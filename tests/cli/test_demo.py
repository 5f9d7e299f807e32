"""The demo ends with the path of its report page, also where nobody waits for its model."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

import polars as pl
import pytest
from support.finished_runs import finished_run

from scorer.cli import demo
from scorer.cli.sample import sample_path

SCRIPT = Path(__file__).parents[2] / "scripts/demo"


def test_last_lines_of_the_demo_name_its_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program, *words = shlex.split(SCRIPT.read_text().splitlines()[-1])
    assert (program, words[1:3]) == ("exec", ["-m", demo.__name__])
    (folder,) = words[3:]
    monkeypatch.chdir(tmp_path)
    Path(folder).mkdir()
    given, typed = pl.read_parquet(sample_path()).head(60), demo.command

    def command(words: list[str]) -> None:
        """The real commands but those that need the model and its scores."""
        if words[0] == "run":
            keep = [name for name in given.columns if name != "response"]
            finished_run(Path(folder), given, {"score": [float(n % 5) for n in range(60)]}, keep=keep)
        elif words[0] != "agree":
            typed(words)

    monkeypatch.setattr(demo, "command", command)
    assert demo.demo(folder) == 0
    said = capsys.readouterr().out
    (shown,) = [line for line in said.splitlines() if line.startswith("Rows where the judge is most wrong: ")]
    program, *asked = shlex.split(shown.partition(": ")[2])
    assert shutil.which(program)
    with pytest.raises(SystemExit, match="0"):
        typed(asked)
    assert "judge too high: 5 of" in capsys.readouterr().out
    last = said.rstrip().splitlines()[-3:]
    report = Path(folder, "report.html")
    assert any(str(report) in line and not line.startswith("$") for line in last), last
    assert report.stat().st_size > 50_000
