"""Nothing that others wrote reaches the terminal as it is, and no stream that fails ends a run."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import unicodedata
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.command import COMMAND, PATIENCE_S, ended, run_file, scorer, shard, standing, started, wait_until

from scorer.cli.json_text import json_text
from scorer.cli.jsonlog import log
from scorer.cli.progress_views import View
from scorer.cli.run_text import summary_text
from scorer.cli.stdio import to_stderr, to_stdout
from scorer.cli.terminal import TerminalView
from scorer.cli.text_table import aligned
from scorer.errors import StorageError, TooManyFailed
from scorer.escapes import printable, printable_line
from scorer.output.progress import Snapshot
from scorer.output.progress_lines import three_lines
from scorer.output.status import Status
from scorer.rehearsal.process import RehearsalProcess
from scorer.text_width import cells, cropped

HARMFUL = {"Cc", "Cf", "Cs", "Zl", "Zp"}
HOSTILE = "\x1b[2J\x1b]8;;http://evil\x1b\\[red]x[/]\x9b31m\u202egnp\u200b\r\x07"
ANYTHING = st.text(st.characters(), max_size=40)


STATUS = Status(
    state="answered", rows=120, scored=40, failed=0, pending=80, errors={}, prompt_tokens=9, completion_tokens=9,
    cached_tokens=0, requests=40, cost_usd=0.5, maybe_billed_usd=0.0, rows_per_s=1.0, held_back_by={}, shards=1,
    sealed=0,
)  # fmt: skip


def harmless(text: str, allowed: str = "\n\t") -> bool:
    return not any(unicodedata.category(c) in HARMFUL and c not in allowed for c in text)


# --- texts ------------------------------------------------------------------------------------------------------------


@given(ANYTHING)
def test_printable_leaves_no_control_or_invisible_character(text: str) -> None:
    assert harmless(printable(text))
    assert harmless(printable_line(text), allowed="")
    assert printable(printable(text)) == printable(text)


def test_printable_keeps_harmless_text() -> None:
    for text in ("Zürich 東京 עברית", "a\n\tb", "👍🏽 ½ …", "\u00a0", "[red]x[/]"):
        assert printable(text) == text
    assert printable("\x1b[31m\u202e") == "\\x1b[31m\\u202e"


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(st.characters(), max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(_JSON, st.booleans())
def test_json_text_is_the_same_value_and_harmless(value: Any, indent: bool) -> None:
    text = json_text(value, indent=indent)
    assert json.loads(text) == value
    assert harmless(text)


def test_json_text_has_null_for_nan_also_beside_a_name_that_is_no_utf8() -> None:
    for name in ("a", "\udcff"):
        text = json_text({"shard": name, "pace": [float("nan"), 1.5], "use": {"x": float("inf")}})
        assert json.loads(text, parse_constant=pytest.fail) == {"shard": name, "pace": [None, 1.5], "use": {"x": None}}


@given(ANYTHING.map(printable_line), st.integers(0, 50))
def test_cropped_fits_a_text_into_the_width(text: str, width: int) -> None:
    found = cropped(text, width)
    assert cells(found) <= width
    assert found == text or found == "" or found.endswith("…")


def test_aligned_cuts_long_texts_before_it_parts_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    row = {"rank": "1-2", "task": "code", "system": "a-rather-long-model-name-of-7b", "mean": "0.1", "rows": 1}
    whole = aligned([row])
    assert row["system"] in whole.splitlines()[1]
    cut = aligned([{**row, "mean": "3.643 [3.473, 3.809]", "rows": 100}])
    assert "1-2   code  a-rather-...me-of-7b  3.643" in cut  # short texts stay, and give their room
    assert len(cut.splitlines()) == 2
    assert max(map(len, cut.splitlines())) <= 60
    parts = aligned([{**row, "mean": 0.5, **{f"column of numbers {n}": 1.0 for n in range(4)}}])
    assert len(parts.split("\n\n")) > 1
    assert max(map(len, parts.splitlines())) <= 60


def test_aligned_keeps_a_name_with_line_breaks_in_its_line() -> None:
    table = aligned([{"system": f"a\n{HOSTILE}", "score": 1.0}, {"system": "b", "score": 2.0}])
    assert len(table.splitlines()) == 3
    assert harmless(table)


def test_json_log_stays_json_whatever_a_shard_is_called(capsys: pytest.CaptureFixture[str]) -> None:
    log("sealed", {"shard": f"in/{HOSTILE}\udcff.parquet"})
    log("sealed", {"shard": f"in/{HOSTILE}.parquet"})
    first, second = capsys.readouterr().err.splitlines()
    assert json.loads(first)["shard"] == f"in/{HOSTILE}\udcff.parquet"
    assert json.loads(second)["shard"] == f"in/{HOSTILE}.parquet"
    assert harmless(first + second)


# --- streams ----------------------------------------------------------------------------------------------------------


class Failing:
    """A stream on which nothing can be written."""

    encoding = "utf-8"

    def __init__(self, error: Exception) -> None:
        self._error = error

    def write(self, _: str) -> int:
        raise self._error

    def flush(self) -> None:
        raise self._error

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        raise OSError("no file")


@pytest.mark.parametrize("error", [OSError(28, "full"), BrokenPipeError(), ValueError("closed"), OSError(5, "hung up")])
def test_to_stderr_ignores_every_failure_of_stderr(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Failing(error))
    to_stderr("x")
    with TerminalView() as screen:
        screen.show(SNAPSHOT)
        screen.say("x")
    monkeypatch.setattr(sys, "stderr", None)
    to_stderr("x")
    with TerminalView() as screen:
        screen.show(SNAPSHOT)


def test_sentences_break_between_words_at_the_width_of_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = "s1 is best after 40 of 120 items: its mean is 0.81 [0.62, 1.00] above that of s0. " * 3
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setattr("scorer.cli.terminal.size", lambda: (60, 24))
    monkeypatch.setattr("scorer.cli.terminal._is_terminal", lambda: True)
    with TerminalView() as screen:
        screen.say(answer)
    said = capsys.readouterr().err
    assert max(map(len, said.splitlines())) <= 60
    assert said.split()[-4:] == answer.split()[-4:]
    whole = replace(STATUS, answer={"text": answer})
    lines = summary_text("out", whole).splitlines()
    assert max(map(len, lines)) <= 60
    assert " ".join(" ".join(lines).split()).count("its mean is 0.81 [0.62, 1.00] above") == 3


def test_to_stdout_raises_for_a_lost_answer_and_not_for_a_gone_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", Failing(BrokenPipeError()))
    to_stdout("x")
    monkeypatch.setattr(sys, "stdout", Failing(OSError(28, "No space left on device")))
    with pytest.raises(StorageError, match="No space left on device"):
        to_stdout("x")


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    "stderr", ["2>/dev/full", "2>&-", "2> >(head -c 1 >/dev/null)"], ids=["full", "closed", "gone"]
)
def test_run_keeps_its_exit_code_whatever_happens_to_stderr(
    judge: RehearsalProcess, tmp_path: Path, stderr: str, workers: int
) -> None:
    """Slow: real processes."""
    shard(tmp_path / "in/a.parquet", 30)
    run = run_file(tmp_path, judge.url)
    command = " ".join([*COMMAND, "run", str(run), "--json", "--workers", str(workers)])
    poor = ("--set output.path=" + str(tmp_path / "poor") + " --set limits.max_tokens=10", 3)
    for options, code in (("", 0), poor)[workers - 1 :]:  # workers differ in what they inherit, not in how a run ends
        done = subprocess.run(
            ["bash", "-c", f"{command} {options} {stderr}"], capture_output=True, text=True, timeout=PATIENCE_S
        )
        assert done.returncode == code, done
        assert (json.loads(done.stdout)["scored"] == 30) if code == 0 else True


@pytest.mark.slow
def test_commands_end_quietly_without_a_reader_and_report_a_lost_answer(
    judge: RehearsalProcess, tmp_path: Path
) -> None:
    """Slow: real processes."""
    shard(tmp_path / "in/a.parquet", 3)
    assert scorer("run", run_file(tmp_path, judge.url)).code == 0
    command = " ".join([*COMMAND, "status", str(tmp_path / "out")])
    for shell, code, message in (
        (f"{command} | true; exit ${{PIPESTATUS[0]}}", 0, ""),
        (f"{command} >&-", 0, ""),
        (f"{command} >/dev/full", 7, "could not be written to standard output"),
    ):
        done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, timeout=PATIENCE_S)
        assert (done.returncode, bool(done.stderr)) == (code, bool(message)), done
        assert message in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("asked", ["", "--help", "run --help", "--version"])
def test_help_reports_a_full_disk_and_ends_quietly_without_a_reader(asked: str) -> None:
    command = " ".join([*COMMAND, asked])
    for shell, code, message in (
        (f"{command} | true; exit ${{PIPESTATUS[0]}}", 0, ""),
        (f"{command} >/dev/full", 7, "could not be written to standard output"),
    ):
        done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, timeout=PATIENCE_S)
        assert (done.returncode, bool(done.stderr)) == (code, bool(message)), done
        assert message in done.stderr
        assert "Traceback" not in done.stderr


# --- the three lines --------------------------------------------------------------------------------------------------

SNAPSHOT = Snapshot(
    state="running", pid=1, updated_at=1_790_000_000.0, rows_total=1_204_830, rows_before=2000, rows=394_000,
    scored=393_100, errors={"TooLong": 100, "Refused": 800}, rows_per_s=5032.1, tokens_per_minute=1_938_123.4,
    tokens_limit=2_000_000.0, cost_usd=12.3456, maybe_billed_usd=0.0123, in_flight=312,
    held_back_by={"concurrency": 0.05, "tokens_per_minute": 0.93}, outage_s=None, use={"max_usd": 0.617},
)  # fmt: skip
_NUMBERS = st.integers(0, 10**12)


def test_progress_lines_show_pace_and_cost_at_80_columns_and_all_at_200() -> None:
    first, second, third = three_lines(SNAPSHOT, 79)
    assert "396,000 of 1,204,830 rows" in first
    assert "ETA " in first
    assert "2 min 41 s" in first
    for part in ("5,032.1 rows/s", "1,938,123 tokens/min", "12.3456 USD", "0.0123 possibly billed"):
        assert part in second, second
    assert third == "limited by tokens_per_minute 93%, concurrency 5.0% (share of the last minute)"
    first, second, third = three_lines(SNAPSHOT, 199)
    assert "900 failed (Refused 800, TooLong 100)" in first
    assert second == (
        "5,032.1 rows/s | 1,938,123 of 2,000,000 tokens/min | 12.3456 USD (+0.0123 possibly billed), 61% of max_usd | "
        "312 in flight"
    )


def test_progress_lines_name_no_date_at_a_pace_near_zero() -> None:
    first, *_ = three_lines(replace(SNAPSHOT, rows_per_s=7e-163), 199)
    assert "ETA over 10 years" in first


@given(
    st.integers(20, 300), _NUMBERS, _NUMBERS, st.floats(0, 1e9), st.floats(0, 1e7), st.none() | st.floats(0, 1e6),
    st.sampled_from(["running", "interrupted", "stopped", "complete"]), ANYTHING,
)  # fmt: skip
def test_progress_lines_are_never_wider_than_the_terminal(
    width: int, rows: int, total: int, pace: float, usd: float, outage_s: float | None, state: str, problem: str
) -> None:
    snapshot = replace(
        SNAPSHOT, rows=rows, scored=rows // 2, rows_total=rows + total + 2000, rows_per_s=pace, cost_usd=usd,
        outage_s=outage_s, state=state, publish_problem=problem, held_back_by={problem: 0.5},
    )  # fmt: skip
    lines = three_lines(snapshot, width)
    assert 2 <= len(lines) <= 3
    for line in lines:
        assert cells(line) <= width
        assert harmless(line, allowed="")


def on_a_terminal(
    columns: int, *arguments: object, at: str = "", then: signal.Signals | None = None
) -> tuple[int, str]:
    """Exit code, and all that a command wrote to a terminal so wide; once it wrote `at`, it gets the signal `then`."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {**os.environ, "TERM": "xterm"}
    with subprocess.Popen(
        [*COMMAND, *map(str, arguments)], stdout=subprocess.DEVNULL, stderr=theirs, env=environment
    ) as process:
        os.close(theirs)
        said = b""
        try:
            while data := _read(ours):
                said += data
                if then is not None and at.encode() in said:
                    process.send_signal(then)
                    then = None
            return process.wait(PATIENCE_S), said.decode()
        finally:
            process.kill()
            os.close(ours)


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # the other end is closed
        return b""


@pytest.mark.slow
@pytest.mark.parametrize("columns", [80, 200])
def test_terminal_view_writes_only_its_own_sequences_and_keeps_the_last_state(
    judge: RehearsalProcess, tmp_path: Path, columns: int
) -> None:
    """Slow: a real run on a terminal, stopped by a Ctrl-C. Its folder and its judge are called as nobody should be."""
    judge.configure(latency_median_s=0.5)  # half a minute in all
    folder = tmp_path / f"{HOSTILE.replace('/', '|')}"
    shard(folder / "in/a.parquet", 1000)
    run = run_file(folder, judge.url)
    run.write_text(
        re.sub(r'"[^"]*in/\*\.parquet"', '"in"', run.read_text()).replace(json.dumps(f"{folder}/out"), '"out"')
    )
    tree = {"input.shards": json.dumps([f"{folder}/in"]), "output.path": json.dumps(f"{folder}/out")}
    sets = [word for key, value in tree.items() for word in ("--set", f"{key}={value}")]
    code, said = on_a_terminal(columns, "run", run, *sets, at="limited by", then=signal.SIGINT)
    assert code == 130, said
    drawn = re.sub(r"\x1b\[\d+A\r\x1b\[J|\r\x1b\[K", "", said).replace("\r\n", "\n")
    assert harmless(drawn), drawn
    *_, last = re.split(r"\x1b\[\d+A\r\x1b\[J", said)
    far, pace, limit = last.split("\r\n")[:3]
    assert "of 1,000 rows" in far
    assert "interrupted" in far
    assert " rows/s | " in pace
    assert " USD" in pace
    assert limit == "The same command resumes."
    assert all(cells(line) < columns for line in (far, pace, limit))
    assert "out: interrupted" in last
    assert last.rstrip().endswith("the same command resumes.")


# --- the summary ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_run_prints_its_summary_before_the_reason_of_its_end(judge: RehearsalProcess, tmp_path: Path) -> None:
    """Slow: real processes."""
    shard(tmp_path / "in/a.parquet", 40)
    run = run_file(tmp_path, judge.url, limits={"concurrency": 4})

    def sees(code: int, out: str, state: str, *options: str) -> None:
        done = scorer("run", run, "--set", f"output.path={tmp_path}/{out}", *options)
        assert done.code == code, done.err
        assert f"{tmp_path}/{out}: {state}\n  rows       40: " in done.err, done.err
        summary = done.err.index(f"{tmp_path}/{out}: {state}\n  rows       40: ")
        assert summary < done.err.rindex("\n", 0, -1)
        assert done.out == ""

    sees(3, "three", "stopped", "--set", "limits.max_tokens=300")
    judge.configure(refuse="r")
    sees(6, "six", "complete")
    sees(6, "six", "complete")
    judge.configure(refuse="", always="401")
    sees(4, "four", "stopped")
    judge.configure(always="", latency_median_s=0.3)
    with started("run", run, "--set", "limits.concurrency=2") as process:  # 6 s in all
        wait_until(lambda: (now := standing(tmp_path)) is not None and now.scored > 0)
        stopped = ended(process, signal.SIGTERM)
    assert stopped.code == 130
    assert f"{tmp_path}/out: interrupted\n  rows       40: " in stopped.err
    wrong = scorer("run", run, "--set", "judge.scale=[1,7]")
    assert (wrong.code, "rows  " in wrong.err) == (5, False)


def test_view_shows_the_last_state_where_the_output_cannot_be_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    view = View(TerminalView(quiet=True), None, f"{tmp_path}/none")
    view.ended(StorageError("gone"))
    assert capsys.readouterr().err == ""
    view.show(SNAPSHOT)
    view.ended(StorageError("gone"))
    assert "396000 of" in capsys.readouterr().err.replace(",", "")
    view.ended(TooManyFailed("x"))
