"""Promise: `scorer show` shows what is asked for at any width, escapes what a terminal obeys, says what is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.clock import run
from support.outputs import Output
from support.recorded import recorded_run

import scorer
from scorer.cli.app import _exit_code
from scorer.cli.card_text import CardText
from scorer.cli.styles import Styles, styles_of_stdout
from scorer.text_width import cells

HOSTILE = "\x1b[31mred\x1b[0m \u202eright to left\u202c zero\u200bwidth \x07 日本語のテキスト 👍🏽 " + "long " * 900
Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> str:
    root = tmp_path_factory.mktemp("show")
    rows = [
        {
            "id": f"r{n}",
            "question": "why?",
            "response": HOSTILE if n == 0 else f"said {n}",
            "human": n % 5 + 1.0,
            "model": "m",
        }
        for n in range(12)
    ]
    replies = [["It is \x1b[2Jbad.\nScore: 1"]] + [
        ["no idea" if n == 5 else f"Because {n}.\nScore: {n % 4 + 2}"] for n in range(1, 12)
    ]
    return recorded_run(root, rows, replies, reason="before")


def output_of(capsys: Capture, *arguments: str, code: int = 0) -> str:
    assert _exit_code(["show", *arguments]) == code
    found = capsys.readouterr()
    return found.err if code else found.out


def as_json(capsys: Capture, *arguments: str) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(output_of(capsys, *arguments, "--json"))
    return value


@pytest.mark.parametrize("width", [30, 80, 200])
def test_show_keeps_to_the_width_and_escapes_what_a_terminal_obeys(
    out: str, width: int, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    text = output_of(capsys, out, "--worst", "1")
    assert max(map(cells, text.splitlines())) <= width
    assert not set(text) & set("\x1b\x07\u202e\u202c\u200b")
    for shown in ("\\x1b[31mred", "\\u202e", "\\u200b", "日本語のテキスト", "characters left out", "\\x1b[2Jbad"):
        assert shown in text.replace("\n│ ", "").replace("\n          ", "")


def test_show_without_options_shows_worst_best_and_three_random_rows(out: str, capsys: Capture) -> None:
    found = as_json(capsys, out)
    assert [(pick["pick"], len(pick["rows"])) for pick in found["picks"]] == [("worst", 1), ("best", 1), ("random", 3)]
    assert found["coverage"] == {"rows": 12, "rows_total": 12}
    (worst,) = found["picks"][0]["rows"]
    assert worst["texts"]["response"] == HOSTILE
    assert worst["verdicts"][0] == {
        "of": "recorded",
        "value": "1",
        "reason": "It is \x1b[2Jbad",
        "raw": "It is \x1b[2Jbad.\nScore: 1",
    }


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("--disagree 5", "--disagree takes the column of human values, and -n the number of rows. Columns that may be"),
        ("--disagree 5", "be it: human."),
        ("--human 5", "--human 5: --human takes the column of human values"),
        (
            "--score 3",
            "--score takes the column of scores, and -n the number of rows. Columns that may be it: score, human",
        ),
        ("--item 3", "--item takes the column that names the item"),
        ("--response 3 --item 3", "--response 3: --response takes the column of the text that was judged"),
        ("--worst human", "--worst human: human is no number of rows, and no output folder. --worst takes a number"),
        ("--best 3 score", "--best score: score is no number of rows"),
        ("--random 2.5", "--random 2.5: 2.5 is no number of rows"),
        ("--failed 5", "5 is no output folder. --failed takes no number: -n 5 is the number of rows."),
        ("--flips --spread 3", "--flips and --spread take no number: -n 3 is the number of rows."),
        ("--worst x --failed 5", "--failed takes no number"),
        ("--disagree humn", "Column humn is not in the table; did you mean human?"),
        ("--disagree response", "name a column of human values"),
    ],
)
def test_number_for_a_column_and_a_column_for_a_number_are_told_apart(
    out: str, words: str, says: str, capsys: Capture
) -> None:
    assert says in " ".join(output_of(capsys, out, *words.split(), code=2).split())


def test_column_with_a_number_for_a_name_is_taken(tmp_path: Path, capsys: Capture) -> None:
    rows = [{"id": f"r{n}", "question": "why?", "response": f"said {n}", "5": n % 5 + 1.0} for n in range(6)]
    out = recorded_run(tmp_path, rows, [["Score: 3"]] * 6)
    assert as_json(capsys, out, "--disagree", "5")["picks"][0]["rows"]


def test_options_combine_and_their_numbers_may_be_left_out(out: str, capsys: Capture) -> None:
    found = as_json(capsys, "--worst", "2", out, "--best", "--failed", "-n", "4", "--where", "human < 5", "--row", "r3")
    assert [(pick["pick"], pick["count"], len(pick["rows"])) for pick in found["picks"]] == [
        ("id", 1, 1),
        ("worst", 9, 2),
        ("best", 9, 4),
        ("failed", 1, 1),
    ]


def test_disagree_shows_both_directions(out: str, capsys: Capture) -> None:
    text = output_of(capsys, out, "--disagree", "human", "-n", "2")
    assert "judge too high: 2 of " in text
    assert "judge too low: 2 of " in text
    assert "score minus human, in points on the scale 1 to 5" in text


def test_a_condition_that_no_row_meets_is_said(out: str, capsys: Capture) -> None:
    assert "No finished row meets --where 'human > 9'." in output_of(capsys, out, "--where", "human > 9")


def test_full_shows_whole_texts(out: str, capsys: Capture) -> None:
    assert output_of(capsys, out, "--row", "0:0", "--full").count("long") == 900
    assert output_of(capsys, out, "--row", "0:0").count("long") < 900


def test_every_mistake_is_told_at_once(out: str, capsys: Capture) -> None:
    said = output_of(capsys, out, "--worst", "0", "-n", "-2", "--human", "people", "--where", "skore > 1", code=2)
    for part in (
        "--worst 0 is not allowed",
        "-n -2 is not allowed",
        "Column people is not in",
        "Column skore is not in",
    ):
        assert part in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "OUT is missing"),
        (["OUT", "--row", "r99"], "--row r99: no finished row has this id"),
        (["OUT", "--row", "0:12"], "has 12 rows, counted from 0"),
        (["OUT", "--disagree", "question"], "Column question holds texts that are no numbers"),
        (["OUT", "--where", "model > 3"], "cannot be evaluated"),
        (["OUT", "--lowest"], "See: scorer show --help"),
        (["/nowhere"], "/nowhere is no output folder of a run"),
    ],
)
def test_a_mistake_is_a_sentence(out: str, arguments: list[str], says: str, capsys: Capture) -> None:
    assert says in output_of(capsys, *(out if one == "OUT" else one for one in arguments), code=2)


def test_a_run_without_results_and_one_under_way_say_so(tmp_path: Path, capsys: Capture) -> None:
    output = Output(tmp_path, 5)
    text = output_of(capsys, output.layout.out)
    assert "The run is not finished: 0 of 5 rows." in text
    assert "lowest scores: none" in text
    run(output.score({0: [3, 1]}, error="Refused"))
    text = output_of(capsys, output.layout.out, "--failed")
    assert "The run is not finished: 2 of 5 rows." in text
    assert "failed rows: 2 of 2 rows (Refused 2)" in text
    assert "error Refused" in text


def test_show_takes_the_run_file_and_the_function_gives_a_frame(out: str, tmp_path: Path, capsys: Capture) -> None:
    file = tmp_path / "run.toml"
    file.write_text(f'[output]\npath = "{out}"\n')
    assert output_of(capsys, str(file), "--row", "r3").count("row 0:3") == 1
    frame = scorer.show(out, worst=2, too_high=1)
    assert frame["pick"].to_list() == ["worst", "worst", "too_high"]
    assert {"id", "score", "reason", "prompt", "question", "response", "verdicts"} <= set(frame.columns)
    assert frame["response"][0] == HOSTILE


def test_colours_are_for_terminals_and_not_where_no_color_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert styles_of_stdout() == Styles(False)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert styles_of_stdout() == Styles(True)
    monkeypatch.setenv("NO_COLOR", "1")
    assert styles_of_stdout() == Styles(False)


def test_styles_are_left_out_where_they_are_off() -> None:
    assert Styles(False).bold("x") == "x"
    assert Styles(True).bold("x") == "\x1b[1mx\x1b[0m"
    assert CardText(80, Styles(False)).heading("t", "1 row") == "t: 1 row"
