"""What the command promises to scripts: exit codes, JSON, signals, resuming. Every test starts the real command."""

from __future__ import annotations

import io
import re
import shlex
import shutil
import signal
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from rich.console import Console
from support.command import (
    JUDGE,
    all_places_wait,
    ended,
    own_score,
    run_file,
    scorer,
    scores,
    shard,
    standing,
    started,
    wait_until,
)

from scorer.cli.app import _exit_code, command_line
from scorer.cli.commands import COMMANDS
from scorer.rehearsal.process import RehearsalProcess

STATUS_KEYS = {
    "state", "rows", "scored", "failed", "pending", "errors", "prompt_tokens", "completion_tokens", "cost_usd",
    "maybe_billed_usd", "rows_per_s", "held_back_by",
}  # fmt: skip
PLAN_KEYS = {
    "rows", "shards", "prompt_tokens", "completion_tokens_estimate", "cost_usd", "seconds", "binding_limit", "exact",
}  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_with_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert _exit_code([command, "--help"]) == 0
    printed = capsys.readouterr()
    assert f"Example: scorer {command}" in printed.out
    assert not printed.err


@pytest.mark.parametrize("command", COMMANDS)
def test_help_breaks_lines_where_the_screen_ends(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Help as plaintext keeps the line breaks of a docstring's paragraphs; as markdown it joins them."""
    as_it_is = _help(command)
    monkeypatch.setitem(COMMANDS, command, COMMANDS[command]._replace(help_format="markdown"))
    assert as_it_is == _help(command), 'the command needs help_format="markdown" in COMMANDS'


def _help(command: str) -> list[str]:
    printed = io.StringIO()
    command_line([command]).help_print(
        [command], console=Console(file=printed, width=80, color_system=None, force_terminal=False)
    )
    return [line.rstrip() for line in printed.getvalue().splitlines()]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["scale", "out", "--human", "human"], "scorer scale needs --task. The column that names the task."),
        (["agree", "out", "--score"], "scorer agree: --score needs a value. A column of scores; "),
        (["run"], "scorer run needs RUN_FILE. The run file; "),
        (["run", "x.toml", "--nonsense"], "Unknown option: --nonsense."),
        (["run", "x.toml", "a b"], "scorer run takes fewer arguments: leave out 'a b'."),
    ],
)
def test_what_is_missing_is_said_with_its_meaning(
    given: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _exit_code(given) == 2
    printed = capsys.readouterr().err
    assert printed.startswith(said)
    assert printed.rstrip().endswith(f"See: scorer {given[0]} --help")


def test_ctrl_c_ends_a_command_with_a_sentence(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def pressed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("scorer.report.write.write_report_file", pressed)
    assert _exit_code(["report", "out"]) == 130
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == (
        "",
        "Interrupted before the command was done. Give it again to do the rest.\n",
    )


@pytest.mark.slow
def test_commands_from_plan_to_verify_work_in_order(judge: RehearsalProcess, tmp_path: Path) -> None:
    """Slow: six starts of the real command."""
    shard(tmp_path / "in/a.parquet", 30)
    shard(tmp_path / "in/b.parquet", 12, first=30)
    shard(tmp_path / "in/empty.parquet", 0)
    run = run_file(tmp_path, judge.url)

    planned = scorer("plan", run, "--exact", "--json").json()
    assert planned.keys() >= PLAN_KEYS
    assert (planned["rows"], planned["shards"], planned["requests"]) == (42, 3, 42)
    assert judge.stats()["requests"] == 0

    first = scorer("run", "-", "--set", "output.flush_rows=5", "--json", stdin=run.read_text())
    assert first.code == 0
    value = first.json()
    assert value.keys() >= STATUS_KEYS
    assert (value["state"], value["rows"], value["scored"], value["failed"], value["pending"]) == (
        "complete",
        42,
        42,
        0,
        0,
    )
    stats = judge.stats()
    assert (value["prompt_tokens"], value["completion_tokens"]) == (stats["prompt_tokens"], stats["completion_tokens"])
    assert value["cost_usd"] == pytest.approx((stats["prompt_tokens"] + 2 * stats["completion_tokens"]) / 1e6)
    assert re.search(r"42 of 42 rows \| .* rows/s \| .* tokens/min \| .* USD", first.err)
    rows = scores(tmp_path)
    assert [row["id"] for row in rows] == [f"r{number}" for number in range(42)]
    assert all(row["score"] == own_score(row["id"]) and row["error"] is None for row in rows)

    again = scorer("run", run, "--quiet")
    assert (again.code, again.err) == (0, "")
    assert "42 scored, 0 failed, 0 pending (3 of 3 shards sealed)" in again.out
    assert judge.stats()["requests"] == 42

    assert scorer("status", tmp_path / "out", "--json").json() == value
    proof = scorer("verify", tmp_path / "out", "--json")
    assert (proof.code, proof.json()["complete"], proof.json()["rows"]) == (0, True, 42)


@pytest.mark.slow
def test_verify_finds_what_is_wrong_and_exits_1(judge: RehearsalProcess, tmp_path: Path) -> None:
    """Slow: three starts of the real command."""
    shard(tmp_path / "in/a.parquet", 20)
    assert scorer("run", run_file(tmp_path, judge.url)).code == 0
    sealed = tmp_path / "out/scores/a.parquet"
    data = bytearray(sealed.read_bytes())
    data[_last_byte(sealed, "score")] ^= 1
    sealed.write_bytes(data)
    found = scorer("verify", tmp_path / "out")
    assert found.code == 1
    assert "a.parquet: is damaged" in found.out
    sealed.unlink()
    shutil.rmtree(tmp_path / "out/segments", ignore_errors=True)  # a shard whose results come together has none
    lost = scorer("verify", tmp_path / "out", "--json")
    assert lost.code == 1
    assert lost.json()["findings"] == [f"{tmp_path}/in/a.parquet: 20 of 20 rows have no result yet"]


def _last_byte(path: Path, column: str) -> int:
    """Where the last value of a column is written."""
    group = pq.read_metadata(path).row_group(0)
    chunk = next(c for c in map(group.column, range(group.num_columns)) if c.path_in_schema == column)
    start = chunk.data_page_offset if chunk.dictionary_page_offset is None else chunk.dictionary_page_offset
    return int(start) + int(chunk.total_compressed_size) - 1


@pytest.mark.slow
def test_run_loses_only_the_row_that_the_judge_fails_on(judge: RehearsalProcess, tmp_path: Path) -> None:
    """Slow: one start of the real command. The reply is stored, so a corrected judge reads it again for nothing."""
    (tmp_path / "mine.py").write_text(
        "from scorer.judges.rating import Rating\n"
        "class Careless(Rating):\n"
        "    def __call__(self, row):\n"
        "        score = yield from super().__call__(row)\n"
        "        return {}['r9'] if row.values['id'] == 'r9' else score\n"
    )
    shard(tmp_path / "in/a.parquet", 10)
    run = run_file(tmp_path, judge.url, judge={"kind": "mine:Careless"}, limits={"concurrency": 1})
    broke = scorer("run", run, PYTHONPATH=str(tmp_path))
    assert broke.code == 6
    left = standing(tmp_path)
    assert left is not None
    assert (left.scored, left.errors, left.pending) == (9, {"Unreadable": 1}, 0)
    (failed,) = [row for row in scores(tmp_path) if row["error"]]
    assert "KeyError: 'r9'" in failed["error_detail"]
    assert failed["raw"]


@pytest.mark.slow
def test_wrong_arguments_exit_2_before_anything_is_written(judge: RehearsalProcess, tmp_path: Path) -> None:
    """Slow: three starts of the real command."""
    shard(tmp_path / "in/a.parquet", 3)
    wrong = scorer("run", run_file(tmp_path, judge.url, judge={"scael": [1, 5]}))
    assert (wrong.code, wrong.out) == (2, "")
    assert "judge.scael" in wrong.err
    missing = scorer("run", run_file(tmp_path, judge.url, input={"id": "nowhere"}))
    assert missing.code == 2
    assert "a.parquet has no column 'nowhere'" in missing.err
    assert "It has: id, response" in missing.err
    assert not (tmp_path / "out/run.json").exists()
    assert scorer("run", "a.toml", "b.toml").code == 2


@pytest.mark.slow
def test_a_spent_budget_exits_3_and_the_command_that_it_prints_ends_the_run(
    judge: RehearsalProcess, tmp_path: Path
) -> None:
    """Slow: two starts of the real command."""
    shard(tmp_path / "in/a.parquet", 60)
    run = run_file(tmp_path, judge.url, limits={"max_tokens": 1500, "concurrency": 4})
    spent = scorer("run", run)
    assert spent.code == 3
    assert "limits.max_tokens = 1500 is used up" in spent.err
    left, stats = standing(tmp_path), judge.stats()
    assert left is not None
    assert left.state == "stopped"
    assert left.scored > 0
    assert left.pending > 0
    assert stats["prompt_tokens"] + stats["completion_tokens"] <= 1500
    typed = shlex.split(spent.err.splitlines()[-1].partition(": scorer ")[2])
    assert typed[:2] == ["run", str(run)]
    raised = scorer(*typed, "--json").json()
    assert (raised["scored"], judge.stats()["paid_again"]) == (60, 0)


@pytest.mark.slow
def test_run_with_a_wrong_set_up_exits_4_and_fails_no_row(judge: RehearsalProcess, tmp_path: Path) -> None:
    """Slow: three starts of the real command."""
    shard(tmp_path / "in/a.parquet", 40)
    judge.configure(always="401")
    refused = scorer("run", run_file(tmp_path, judge.url))
    assert refused.code == 4
    assert "does not accept the key" in refused.err
    assert "Traceback" not in refused.err
    unset = scorer("run", run_file(tmp_path, judge.url, model={"api_key_env": "KEY_THAT_IS_NOT_SET"}))
    assert unset.code == 4
    assert unset.err.count('api_key_env = "KEY_THAT_IS_NOT_SET": that environment variable is not set') == 1
    judge.configure(always="")
    mended = scorer("run", run_file(tmp_path, judge.url), "--json").json()
    assert (mended["scored"], mended["failed"]) == (40, 0)


@pytest.mark.slow
def test_run_exits_5_for_other_scores_or_changed_shards_and_takes_new_shards(
    judge: RehearsalProcess, tmp_path: Path
) -> None:
    """Slow: five starts of the real command."""
    old = shard(tmp_path / "in/a.parquet", 10)
    run = run_file(tmp_path, judge.url)
    assert scorer("run", run).code == 0

    other = scorer("run", run, "--set", "model.temperature=0.7")
    assert other.code == 5
    assert "temperature" in other.err
    assert "0.7" in other.err

    shard(tmp_path / "in/b.parquet", 5, first=10)
    allowed = ("--set", "limits.concurrency=3", "--set", "output.flush_rows=7", "--set", "model.timeout_s=30")
    extended = scorer("run", run, *allowed, "--json").json()
    assert (extended["rows"], extended["scored"], judge.stats()["requests"]) == (15, 15, 15)

    before = old.read_bytes()
    shard(old, 10, first=100)
    changed = scorer("run", run)
    assert changed.code == 5
    assert f"{old} has changed since this run first read it" in changed.err
    old.write_bytes(before)  # another mtime, the same footer: the same rows
    assert scorer("run", run).code == 0


@pytest.mark.slow
def test_run_with_too_many_failures_exits_6_and_retry_scores_them(judge: RehearsalProcess, tmp_path: Path) -> None:
    """Slow: four starts of the real command."""
    shard(tmp_path / "in/a.parquet", 20)
    judge.configure(poison=r"\[row:r1?7\]")
    failed = scorer("run", run_file(tmp_path, judge.url))
    assert failed.code == 6
    assert "2 of 20 rows failed (TooLong 2)" in failed.err
    assert "limits.max_failed_share = 0.05" in failed.err
    rows = {row["id"]: row for row in scores(tmp_path)}
    assert [row["error"] for row in rows.values() if row["score"] is None] == ["TooLong", "TooLong"]

    still = scorer("retry", tmp_path / "out", "--error", "TooLong", "--set", "limits.max_failed_share=1", "--json")
    assert (still.code, still.json()["errors"]) == (0, {"TooLong": 2})
    judge.configure(poison="")
    unknown = scorer("retry", tmp_path / "out", "--error", "Tired")
    assert unknown.code == 2
    assert "--error Tired is no error of a row. Allowed: Refused" in unknown.err
    mended = scorer("retry", tmp_path / "out", "--json").json()
    assert (mended["scored"], mended["failed"], mended["errors"]) == (20, 0, {})
    rows = {row["id"]: row for row in scores(tmp_path)}
    assert {name: row["generation"] for name, row in rows.items() if row["generation"]} == {"r7": 2, "r17": 2}
    assert all(row["score"] == own_score(name) for name, row in rows.items())
    assert len(rows) == 20


@pytest.mark.slow
def test_run_stops_after_two_hundred_equal_failures(judge: RehearsalProcess, tmp_path: Path) -> None:
    """Slow: one start of the real command."""
    shard(tmp_path / "in/a.parquet", 600)
    judge.configure(fault_prose=1.0)
    alike = scorer("run", run_file(tmp_path, judge.url, judge={"attempts": 1}))
    assert alike.code == 6
    assert "The first 200 rows all ended in Unreadable" in alike.err
    assert judge.stats()["requests"] < 400


@pytest.mark.slow
def test_run_refuses_an_output_path_that_is_a_file(judge: RehearsalProcess, tmp_path: Path) -> None:
    """Slow: one start of the real command."""
    shard(tmp_path / "in/a.parquet", 3)
    (tmp_path / "file").write_text("no folder")
    full = scorer("run", run_file(tmp_path, judge.url, output={"path": f"{tmp_path}/file/out"}))
    assert full.code == 2
    assert f"{tmp_path}/file is a file" in full.err
    assert "Traceback" not in full.err


@pytest.mark.slow
def test_run_stopped_by_a_signal_resumes_by_the_same_command(tmp_path: Path) -> None:
    """Slow: five starts of the real command, some of which are left to work for a while, and a judge of its own.

    It is slow enough that a run is amid its work also for a test that stands still for five seconds.
    """
    with RehearsalProcess(JUDGE) as judge:
        resumes_by_the_same_command(judge, tmp_path)


def resumes_by_the_same_command(judge: RehearsalProcess, tmp_path: Path) -> None:
    shard(tmp_path / "in/a.parquet", 800)
    judge.configure(latency_median_s=0.25)
    run = run_file(tmp_path, judge.url, output={"flush_rows": 10})

    with started("run", run) as process:
        _scored(tmp_path, 20)
        # So that it still runs when the two commands have looked at it.
        judge.configure(latency_median_s=1.0, latency_sigma=0.0)
        under_way = scorer("status", tmp_path / "out", "--json").json()
        assert under_way["state"] == "running"
        assert under_way.keys() >= STATUS_KEYS
        second = scorer("run", run)
        assert second.code == 5
        assert f"in use by process {process.pid}" in second.err
        drained = ended(process, signal.SIGINT)
    assert drained.code == 130
    assert "Press Ctrl-C again to leave them" in drained.err
    assert "the same command resumes" in drained.err
    left = standing(tmp_path)
    assert left is not None
    assert left.state == "interrupted"
    assert left.scored == judge.stats()["ok"]  # every answer that was paid is in the table

    judge.configure(latency_median_s=0.25)
    with started("run", run) as process:
        _scored(tmp_path, left.scored + 20)
        judge.configure(latency_median_s=600.0)  # after the first signal the run goes on for three seconds
        wait_until(lambda: all_places_wait(judge))
        process.send_signal(signal.SIGTERM)
        cancelled = ended(process, signal.SIGINT)
    assert cancelled.code == 130
    assert "Leaving now" in cancelled.err
    left = standing(tmp_path)
    assert left is not None

    judge.configure(latency_median_s=0.25)
    with started("run", run) as process:
        _scored(tmp_path, left.scored + 20)
        assert ended(process, signal.SIGKILL).code == -signal.SIGKILL

    judge.configure(latency_median_s=0.0)
    last = scorer("run", run, "--json").json()
    assert (last["state"], last["scored"], last["failed"]) == ("complete", 800, 0)
    rows = scores(tmp_path)
    assert [row["id"] for row in rows] == [f"r{number}" for number in range(800)]
    assert all(row["score"] == own_score(row["id"]) for row in rows)
    assert scorer("verify", tmp_path / "out").code == 0


def _scored(folder: Path, rows: int) -> None:
    def enough() -> bool:
        left = standing(folder)
        return left is not None and left.scored >= rows

    wait_until(enough)


@pytest.mark.slow
def test_rehearse_asks_no_real_judge_and_leaves_the_real_output_alone(tmp_path: Path) -> None:
    """Slow: two starts of the real command, with a judge of its own."""
    shard(tmp_path / "in/a.parquet", 50)
    rehearsal = {"latency_median_s": 0.01, "fault_500": 0.05}
    run = run_file(tmp_path, "http://127.0.0.1:9/v1", rehearsal=rehearsal)
    night = scorer("rehearse", run, "--json")
    assert night.code == 0
    value = night.json()
    assert value.keys() >= STATUS_KEYS
    assert (value["state"], value["scored"]) == ("complete", 50)
    assert value["judge"]["ok"] == 50
    assert value["judge"]["failed"] == value["judge"]["requests"] - 50
    assert len(scores(tmp_path, "out-rehearsal")) == 50
    assert not (tmp_path / "out").exists()
    wrong = scorer("rehearse", run, "--set", "rehearsal.fault_500=2")
    assert wrong.code == 2
    assert "fault_500 must be at least 0 and at most 1, not 2" in wrong.err


@pytest.mark.slow
def test_run_handles_no_rows_and_refuses_no_matches(judge: RehearsalProcess, tmp_path: Path) -> None:
    """Slow: three starts of the real command."""
    run = run_file(tmp_path, judge.url)
    nothing = scorer("run", run)
    assert nothing.code == 2
    assert "matches no file" in nothing.err
    shard(tmp_path / "in/none.parquet", 0)
    empty = scorer("run", run, "--json")
    assert empty.code == 0
    assert (empty.json()["rows"], empty.json()["state"], empty.json()["sealed"]) == (0, "complete", 1)
    assert scorer("verify", tmp_path / "out").code == 0


def test_init_writes_a_run_file_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert _exit_code(["init", "mine.toml"]) == 0
    assert "Next: scorer plan mine.toml" in capsys.readouterr().out
    written = Path("mine.toml").read_bytes()
    assert _exit_code(["init", "mine.toml"]) == 2
    assert "mine.toml is there already" in capsys.readouterr().err
    assert Path("mine.toml").read_bytes() == written
    assert _exit_code(["plan", "mine.toml"]) == 0
    assert "60 in 1 shard, 60 requests" in capsys.readouterr().out
