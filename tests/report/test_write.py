"""The file of the report page: whole, private where it holds texts, and never in place of another file."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import polars as pl
import pytest
from support.finished_runs import finished_run

import scorer
from scorer.cli.app import _exit_code


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> str:
    given = pl.DataFrame({"item": ["q1", "q1", "q2", "q2"], "system": ["a", "b"] * 2, "response": ["said"] * 4})
    return finished_run(tmp_path_factory.mktemp("run"), given, {"score": [1.0, 2.0, 3.0, 5.0]})


def mode(file: Path) -> int:
    return stat.S_IMODE(file.stat().st_mode)


def test_report_writes_a_page_with_texts_that_its_owner_alone_can_read(
    out: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert _exit_code(["report", out]) == 0
    (file,) = tmp_path.iterdir()
    assert file.name.startswith("report-")
    assert mode(file) == 0o600
    assert file.read_text().startswith("<!doctype html>")
    said = capsys.readouterr().out
    assert file.name in said
    assert "4 rows" in said


def test_report_without_texts_has_the_mode_of_any_file(
    out: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "page.html"
    umask = os.umask(0o027)
    try:
        assert _exit_code(["report", out, "-o", str(file), "--rows", "0", "--json"]) == 0
    finally:
        os.umask(umask)
    assert mode(file) == 0o640
    found = json.loads(capsys.readouterr().out)
    assert found == {"path": str(file), "bytes": file.stat().st_size, "rows": 0}


def test_report_replaces_a_page_and_no_other_file(out: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page, other = tmp_path / "page.html", tmp_path / "run.toml"
    other.write_text("[input]")
    for _ in range(2):
        assert scorer.write_report(out, page, rows=2).rows == 2
    assert _exit_code(["report", out, "-o", str(other)]) == 2
    assert other.read_text() == "[input]"
    assert "is no report page" in capsys.readouterr().err
    assert sorted(one.name for one in tmp_path.iterdir()) == ["page.html", "run.toml"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "no output folder"),
        ([], "OUT is missing"),
        (["{out}", "-o", "{folder}"], "is a folder"),
        (["{out}", "-o", "-"], "-o -: the page is written to a file"),
        (["{out}", "-o", "{folder}/none/page.html"], "there is no folder"),
        (["{out}", "-o", "{folder}/page.pdf"], "does not end in .html"),
    ],
)
def test_report_says_what_is_wrong_in_a_sentence(
    out: str, tmp_path: Path, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    filled = [argument.format(out=out, folder=tmp_path) for argument in arguments]
    assert _exit_code(["report", *filled]) == 2
    printed = capsys.readouterr().err
    assert said in printed
    assert "Traceback" not in printed
