"""A place in workflows: JSON lines, metrics that are really scraped, and the examples of docs/examples."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from support.command import PATIENCE_S, Ended, run_file, scorer, shard, standing, started, wait_until

from scorer.cli.jsonlog import JsonLog, log_error
from scorer.output.progress import Snapshot
from scorer.rehearsal.process import RehearsalProcess

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "docs/examples"
WORKFLOWS = (ROOT / "docs/how-to/schedulers.md").read_text()


@pytest.fixture
def slow_judge(judge: RehearsalProcess) -> RehearsalProcess:
    judge.configure(latency_median_s=0.2)
    return judge


def events(said: Ended) -> list[dict[str, Any]]:
    """The lines on stderr: each a JSON object, or this fails."""
    return [json.loads(line) for line in said.err.splitlines()]


# --- JSON lines -------------------------------------------------------------------------------------------------------

SNAPSHOT = Snapshot(
    state="running", pid=1, updated_at=0.0, rows_total=10, rows_before=2, rows=4, scored=3, errors={"TooLong": 1},
    rows_per_s=2.0, tokens_per_minute=600.0, tokens_limit=1000.0, cost_usd=0.5, maybe_billed_usd=0.0, in_flight=3,
    held_back_by={"concurrency": 0.5}, outage_s=None, requests=4, prompt_tokens=100, completion_tokens=20,
    use={"max_usd": 0.25},
)  # fmt: skip


def filters_of(event: str) -> set[str]:
    """The fields that docs/how-to/schedulers.md promises for an event."""
    row = re.search(rf"^\| `{event}` \|[^|]*\|([^|]*)\|", WORKFLOWS, re.MULTILINE)
    assert row is not None, event
    return {"time", "event", *re.findall(r"`([a-z_]+)`", row[1])}


def test_progress_without_a_terminal_is_a_line_every_ten_seconds_and_a_last_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with JsonLog("out") as log:
        for state in ("running", "running", "complete"):
            log.show(Snapshot(**{**{name: getattr(SNAPSHOT, name) for name in Snapshot.__slots__}, "state": state}))
        log.say("Stopping.")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [(line["event"], line.get("state")) for line in lines] == [
        ("progress", "running"), ("progress", "complete"), ("said", None),
    ]  # fmt: skip
    assert set(lines[0]) == filters_of("progress")
    assert (lines[0]["finished"], lines[0]["eta_s"], lines[0]["out"]) == (6, 2.0, "out")
    assert set(lines[2]) == filters_of("said")


def test_quiet_leaves_out_progress_alone(capsys: pytest.CaptureFixture[str]) -> None:
    with JsonLog("out", quiet=True) as log:
        log.show(SNAPSHOT)
        log.tell("sealed", {"shard": "a", "rows": 1})
    (line,) = capsys.readouterr().err.splitlines()
    assert set(json.loads(line)) == filters_of("sealed")


def test_json_log_has_a_traceback_for_a_bug_and_none_for_a_user_error(capsys: pytest.CaptureFixture[str]) -> None:
    try:
        raise ZeroDivisionError("oh")
    except ZeroDivisionError as bug:
        log_error(bug, 1)
    line = json.loads(capsys.readouterr().err)
    assert set(line) == filters_of("error")
    assert "test_workflows.py" in line["traceback"]
    assert (line["exit_code"], line["error"], line["message"]) == (1, "ZeroDivisionError", "oh")


@pytest.mark.slow
def test_run_writes_its_events_as_json_lines(tmp_path: Path, judge: RehearsalProcess) -> None:
    """Slow: real processes. Every line has the fields that are promised; errors too, whoever finds them."""
    shard(tmp_path / "in/a.parquet", 20)
    run = run_file(tmp_path, judge.url)
    said = scorer("run", run, "--json", "--log-format", "json")
    assert said.code == 0
    lines = events(said)
    assert [line["event"] for line in lines if line["event"] != "progress"] == ["started", "sealed", "finished"]
    status = said.json()
    for line in lines:
        more = set(status) if line["event"] == "finished" else set()
        assert set(line) == filters_of(line["event"]) | more, line
        assert line["out"] == f"{tmp_path}/out"
    assert status.items() <= lines[-1].items(), "finished tells what --json tells"
    spent = scorer("run", run, "--set", f"output.path={tmp_path}/poor", "--set", "limits.max_tokens=10",
                   "--log-format=json")  # fmt: skip
    assert spent.code == 3
    assert events(spent)[-1].items() >= {"event": "error", "error": "BudgetSpent", "exit_code": 3}.items()
    for arguments, code, name in (
        (("run", tmp_path / "none.toml"), 2, "SpecError"),
        (("run", run, "--colour"), 2, "SpecError"),
        (("retry", tmp_path / "none"), 2, "SpecError"),
    ):
        wrong = scorer(*arguments, "--log-format", "json")
        (line,) = events(wrong)
        assert (wrong.code, line["exit_code"], line["error"]) == (code, code, name)
        assert set(line) == filters_of("error") - {"traceback"}


@pytest.mark.slow
def test_interrupted_run_writes_its_events_as_json_lines(tmp_path: Path, slow_judge: RehearsalProcess) -> None:
    """Slow: real processes. The run file comes through stdin the second time, and `--set` speaks last."""
    shard(tmp_path / "in/a.parquet", 200)
    run = run_file(tmp_path, slow_judge.url, limits={"concurrency": 4})
    with started("run", run, "--log-format", "json", "--quiet") as process:
        wait_until(lambda: (now := standing(tmp_path)) is not None and now.scored > 0)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=PATIENCE_S)
        end = Ended(process.returncode, out, err)
    assert (end.code, end.out) == (130, "")
    assert [line["event"] for line in events(end)] == ["started", "said", "error"]
    rest = scorer(
        "run", "-", "--set", "limits.concurrency=64", "--log-format", "json", "--quiet", stdin=run.read_text()
    )
    assert rest.code == 0
    assert events(rest)[-1]["scored"] == 200


# --- metrics ----------------------------------------------------------------------------------------------------------


def scrape(url: str) -> dict[tuple[str, str], float]:
    """Sample name and label value to value."""
    with urllib.request.urlopen(url, timeout=PATIENCE_S) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain")
        text = answer.read().decode()
    return {
        (sample.name, ",".join(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.mark.slow
def test_prometheus_metrics_are_scraped_while_a_run_goes_on(tmp_path: Path, slow_judge: RehearsalProcess) -> None:
    """Slow: a real run and a real scrape. What it tells is what `status` tells in the end.

    The run would take ten seconds; the judge answers at once when it has been looked at.
    """
    shard(tmp_path / "in/a.parquet", 400)
    shard(tmp_path / "in/b.parquet", 10, 400, response=None)
    limits = {"concurrency": 8, "tokens_per_minute": 600_000, "max_usd": 1.0, "max_failed_share": 1.0}
    run = run_file(tmp_path, slow_judge.url, limits=limits)
    with started("run", run, "--metrics-port", "0", "--json") as process:
        assert process.stderr is not None
        said = process.stderr.readline()
        url = re.fullmatch(r"Metrics: (http://127\.0\.0\.1:\d+/metrics)\n", said)
        assert url is not None, said
        seen: dict[tuple[str, str], float] = {}

        def scored() -> bool:
            seen.clear()
            seen.update(scrape(url[1]))
            # Answers are counted at once, the rest is a second old: it may have nothing in flight, or nothing scored.
            busy = ("scorer_limit_used_ratio", "concurrency")
            return seen.get(("scorer_rows", "scored"), 0) >= 20 and seen.get(busy, 0) > 0

        wait_until(scored)
        promised = set(re.findall(r"^\| `(scorer_\w+)` \|", WORKFLOWS, re.MULTILINE))
        names = {re.sub(r"_(bucket|count|sum|created)$", "", name) for name, _ in seen}
        assert names <= promised
        assert promised - names <= {"scorer_row_errors_total", "scorer_limit_held_ratio"}, "where there are any"
        rows = {state: seen["scorer_rows", state] for state in ("found", "scored", "failed", "pending")}
        assert sum(rows.values()) == 410
        assert rows["found"] == 0
        assert {label for name, label in seen if name == "scorer_limit_used_ratio"} == {
            "concurrency", "tokens_per_minute", "max_usd",
        }  # fmt: skip
        assert 0 < seen["scorer_limit_used_ratio", "concurrency"] <= 1
        assert 0 < seen["scorer_limit_used_ratio", "max_usd"] < 1
        assert seen["scorer_answer_seconds_sum", ""] >= 0.05 * seen["scorer_answer_seconds_count", ""]
        slow_judge.configure(latency_median_s=0.0)
        out, _ = process.communicate(timeout=PATIENCE_S)
    assert json.loads(out)["scored"] == 400
    with pytest.raises(OSError):  # the endpoint ends with the run
        scrape(url[1])


def test_prometheus_metrics_are_all_documented() -> None:
    from scorer.cli.prometheus import _metrics

    failing = {**{name: getattr(SNAPSHOT, name) for name in Snapshot.__slots__}, "publish_problem": "down"}
    found = {sample.name for family in _metrics(Snapshot(**failing)) for sample in family.samples}
    promised = set(re.findall(r"^\| `(scorer_\w+)` \|", WORKFLOWS, re.MULTILINE))
    assert promised - found == {"scorer_run_info", "scorer_answer_seconds"}
    assert found <= promised


@pytest.mark.slow
def test_metrics_port_that_is_taken_is_refused(tmp_path: Path, judge: RehearsalProcess) -> None:
    """Slow: a real process."""
    shard(tmp_path / "in/a.parquet", 2)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = scorer("run", run_file(tmp_path, judge.url), "--metrics-port", port)
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith(f"--metrics-port {port} at 127.0.0.1 cannot be opened")
    assert len(said.err.splitlines()) == 1


# --- examples ---------------------------------------------------------------------------------------------------------


def environment(**more: str) -> dict[str, str]:
    """Where the examples find the command."""
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", **more}


@pytest.mark.slow
def test_cron_example_works(tmp_path: Path, judge: RehearsalProcess) -> None:
    """Slow: real processes. It resumes what can be resumed, keeps a log, and says who has to look."""
    shard(tmp_path / "in/a.parquet", 20)
    run = run_file(tmp_path, judge.url)

    def night(**more: str) -> subprocess.CompletedProcess[str]:
        command = ["sh", str(EXAMPLES / "cron.sh"), str(run), str(tmp_path / "log")]
        return subprocess.run(
            command, env=environment(**more), capture_output=True, text=True, timeout=PATIENCE_S, cwd=tmp_path
        )

    good = night()
    assert (good.returncode, good.stderr) == (0, ""), good.stderr
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert lines[-1]["event"] == "finished"
    assert night().stdout == "", "cron mails what is written: nothing where nothing is wrong"
    run.write_text(run.read_text().replace("shards", "shard"))
    wrong = night()
    assert wrong.returncode == 2
    assert "the run file, the arguments or the input are wrong" in wrong.stdout
    assert "input.shard" in wrong.stdout


@pytest.mark.parametrize(
    ("code", "said"), [(0, ""), (9, ""), (8, "has drifted"), (7, "3 times"), (1, "exit code 1, which is a bug")]
)
def test_cron_example_says_what_an_exit_code_means(code: int, said: str, tmp_path: Path) -> None:
    """A program in place of scorer; the script waits for nothing, and gives up at its third try."""
    (tmp_path / "scorer").write_text(f"#!/bin/sh\nexit {code}\n")
    (tmp_path / "scorer").chmod(0o755)
    command = ["sh", str(EXAMPLES / "cron.sh"), "run.toml", str(tmp_path / "log")]
    path = f"{tmp_path}:{os.environ['PATH']}"
    done = subprocess.run(
        command, env={**os.environ, "PATH": path, "PAUSE_S": "0"}, capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert done.returncode == code
    assert said in done.stdout
    assert bool(said) == bool(done.stdout)


def load(name: str) -> Any:
    path = EXAMPLES / name
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_dagster_example_works(tmp_path: Path, judge: RehearsalProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slow: a real materialisation, where dagster is installed."""
    dagster = pytest.importorskip("dagster", reason="left out: dagster is heavy; docs/project/log.md has a run by hand")
    shard(tmp_path / "in/a.parquet", 20)
    monkeypatch.setenv("SCORER_RUN_FILE", str(run_file(tmp_path, judge.url)))
    monkeypatch.setenv("PATH", environment()["PATH"])
    example = load("dagster_scores.py")
    result = dagster.materialize([example.scores])
    assert result.success
    (event,) = result.asset_materializations_for_node("scores")
    assert event.metadata["scored"].value == 20


@pytest.mark.slow
def test_airflow_example_works(tmp_path: Path, judge: RehearsalProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slow: a real run of the DAG, where airflow is installed."""
    pytest.importorskip("airflow", reason="left out: airflow is heavy; docs/project/log.md has a run by hand")
    shard(tmp_path / "in/a.parquet", 20)
    monkeypatch.setenv("SCORER_RUN_FILE", str(run_file(tmp_path, judge.url)))
    monkeypatch.setenv("SCORER_OUT", str(tmp_path / "out"))
    monkeypatch.setenv("SCORER_TABLE", f"delta://{tmp_path}/table")
    monkeypatch.setenv("PATH", environment()["PATH"])
    example = load("airflow_scores.py")
    assert str(example.dag.test().state) == "success"


@pytest.mark.parametrize(
    ("code", "becomes", "result"),
    [
        (0, 0, "0"),
        (1, 0, "1"),
        (2, 0, "2"),
        (3, 99, ""),
        (4, 0, "4"),
        (5, 5, "5"),
        (6, 0, "6"),
        (7, 7, "7"),
        (8, 0, "8"),
        (130, 130, "130"),
    ],
)
def test_airflow_example_maps_exit_codes(tmp_path: Path, code: int, becomes: int, result: str) -> None:
    """Non-zero is retried, 99 skips, zero with a code as its result is for somebody to look at."""
    (tmp_path / "scorer").write_text(f"#!/bin/sh\necho told\nexit {code}\n")
    (tmp_path / "scorer").chmod(0o755)
    text = (EXAMPLES / "airflow_scores.py").read_text()
    command = re.search(r'COMMAND = """(.*?)"""', text, re.DOTALL)
    assert command is not None
    done = subprocess.run(
        ["bash", "-c", command[1]],
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "SCORER_RUN_FILE": "run.toml"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert (done.returncode, done.stdout.strip()) == (becomes, result)
