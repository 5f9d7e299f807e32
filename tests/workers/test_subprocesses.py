"""Promise: `--workers N` keeps every promise of one process, with real processes, kill -9 and a judge that counts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.command import (
    FLUSH_ROWS,
    IN_FLIGHT,
    SMALL_STEPS,
    Ended,
    ended,
    own_score,
    run_file,
    scorer,
    shard,
    standing,
    started,
    wait_until,
    whole,
    workers_of,
)

from scorer.files.local_files import LocalFiles
from scorer.output.ledger import totals
from scorer.rehearsal.process import RehearsalProcess

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="tells the workers by /proc, as Linux has it"),
]

ROWS = 400


@pytest.fixture
def judge(judge: RehearsalProcess) -> RehearsalProcess:
    """Slow enough to be killed amid its work, also by a test that stands still for five seconds."""
    judge.configure(latency_median_s=0.25)
    return judge


def segments(folder: Path) -> list[str]:
    return [path.name for path in (folder / "out/segments").rglob("*.parquet")]


def test_workers_split_one_large_shard_and_request_each_row_once(judge: RehearsalProcess, tmp_path: Path) -> None:
    """Slow: two processes start. Until both have begun rows, the judge takes a second for each reply."""
    judge.configure(latency_median_s=1.0)
    shard(tmp_path / "in/a.parquet", ROWS)
    limits = {"concurrency": IN_FLIGHT, "max_usd": 1.0}
    run = run_file(tmp_path, judge.url, **{**SMALL_STEPS, "limits": limits})
    with started("run", run, "--workers", 2, "--json", "--quiet") as process:
        wait_until(lambda: len([*(tmp_path / "out/ledger").glob("*-w*")]) == 2)
        judge.configure(latency_median_s=0.02)
        ran = ended(process)
    assert ran.code == 0, ran.err
    assert ran.json()["requests"] == ROWS
    whole(tmp_path, ROWS)
    assert {(row["recv"], row["paid"]) for row in judge.rows().values()} == {(1, 1)}
    assert judge.stats()["max_in_flight"] <= IN_FLIGHT
    assert {name.split("-")[1] for name in segments(tmp_path)} == {"w1", "w2"}


def test_killed_worker_costs_only_its_rows_in_flight_and_unwritten(judge: RehearsalProcess, tmp_path: Path) -> None:
    """Slow: three processes, two of which are killed and replaced."""
    for number in range(2):
        shard(tmp_path / f"in/{number}.parquet", ROWS // 2, first=number * ROWS // 2)
    run = run_file(tmp_path, judge.url, **{**SMALL_STEPS, "limits": {"concurrency": IN_FLIGHT, "max_usd": 1.0}})
    with started("run", run, "--workers", 3, "--quiet", "--json") as process:
        for moment in (40, 100):
            wait_until(lambda moment=moment: judge.stats()["rows_paid"] >= moment)  # type: ignore[misc]
            wait_until(lambda: len(workers_of(process.pid)) == 3)
            os.kill(workers_of(process.pid)[0], signal.SIGKILL)
        judge.configure(latency_median_s=0.05)
        done = ended(process)
    assert done.code == 0, done.err
    whole(tmp_path, ROWS)
    stats = judge.stats()
    assert stats["paid_again"] <= 2 * (IN_FLIGHT // 3 + 1 + 2 * FLUSH_ROWS)
    value = done.json()
    assert value["requests"] >= stats["requests"] - 2  # those that were in flight are known as possibly billed


IMPATIENT = "import scorer.workers.silence as silence; silence.SILENT_S = 5.0; from scorer.cli.app import main; main()"
"""The command, whose workers may be silent for five seconds."""


def test_stopped_worker_is_killed_and_its_rows_are_scored_by_others(judge: RehearsalProcess, tmp_path: Path) -> None:
    """Slow: three processes, one of which is stopped for five seconds. Woken again it does nothing any more."""
    shard(tmp_path / "in/a.parquet", ROWS)
    run = run_file(tmp_path, judge.url, **{**SMALL_STEPS, "limits": {"concurrency": IN_FLIGHT, "max_usd": 1.0}})
    with subprocess.Popen(
        [sys.executable, "-c", IMPATIENT, "run", run, "--workers", "2", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            wait_until(lambda: judge.stats()["rows_paid"] >= 40)
            wait_until(lambda: len([*(tmp_path / "out/ledger").glob("*-w*")]) == 2)  # both have begun rows
            stopped = workers_of(process.pid)[0]
            os.kill(stopped, signal.SIGSTOP)
            judge.configure(latency_median_s=0.05)
            done = ended(process)
        finally:
            process.kill()
    with pytest.raises(ProcessLookupError):
        os.kill(stopped, signal.SIGCONT)
    assert done.code == 0, done.err
    assert "A worker ended early (reported nothing for 5 s and was killed)." in done.err
    whole(tmp_path, ROWS)
    stats = judge.stats()
    assert stats["paid_again"] <= IN_FLIGHT // 2 + 1 + 2 * FLUSH_ROWS
    assert done.json()["requests"] >= stats["requests"] - 1


def test_run_ends_though_a_worker_that_has_no_row_is_stopped_while_it_starts(
    judge: RehearsalProcess, tmp_path: Path
) -> None:
    """Slow: three processes. One of the two workers stops itself before it has said anything."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os, signal, sys\n"
        "if 'scorer.workers' in sys.orig_argv:\n"
        "    try:\n"
        f"        os.mkdir({str(tmp_path / 'stopped')!r})\n"
        "    except FileExistsError:\n"
        "        pass\n"
        "    else:\n"
        "        os.kill(os.getpid(), signal.SIGSTOP)\n"
    )
    shard(tmp_path / "in/a.parquet", 40)
    run = run_file(tmp_path, judge.url, **SMALL_STEPS)
    with subprocess.Popen(
        [sys.executable, "-c", IMPATIENT, "run", run, "--workers", "2", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    ) as process:
        try:
            done = ended(process)
        finally:
            with suppress(ProcessLookupError):
                for worker in workers_of(process.pid):  # a stopped one does not see that its owner is gone
                    os.kill(worker, signal.SIGKILL)
            process.kill()
    assert done.code == 0, done.err
    assert (tmp_path / "stopped").exists()
    assert "ended early" not in done.err
    whole(tmp_path, 40)


def test_workers_end_with_their_owner_and_any_number_resumes(judge: RehearsalProcess, tmp_path: Path) -> None:
    """Slow: three starts, two of which are killed."""
    shard(tmp_path / "in/a.parquet", ROWS)
    run = run_file(tmp_path, judge.url, **SMALL_STEPS)
    for workers, moment in ((2, 60), (3, 120)):
        with started("run", run, "--workers", workers, "--quiet") as process:
            wait_until(lambda moment=moment: judge.stats()["rows_paid"] >= moment)  # type: ignore[misc]
            wait_until(lambda n=workers, of=process.pid: len(workers_of(of)) == n)  # type: ignore[misc]
            crew = workers_of(process.pid)  # the start before may have come beyond the moment of this one
            assert ended(process, signal.SIGKILL).code == -signal.SIGKILL
        wait_until(lambda crew=crew: not any(Path(f"/proc/{pid}").exists() for pid in crew))  # type: ignore[misc]
        wait_until(lambda: judge.stats()["in_flight"] == 0)
        left = standing(tmp_path)
        assert left is not None
        assert judge.stats()["rows_paid"] - left.scored <= IN_FLIGHT + workers * 2 * FLUSH_ROWS
    judge.configure(latency_median_s=0.05)
    last = scorer("run", run)
    assert last.code == 0, last.err
    whole(tmp_path, ROWS)
    assert judge.stats()["paid_again"] <= 2 * IN_FLIGHT + 5 * 2 * FLUSH_ROWS


def test_workers_keep_cap_as_billed_by_judge_across_kills(judge: RehearsalProcess, tmp_path: Path) -> None:
    """Slow: a worker killed half-way, the budget spent, and one more start that has nothing left to spend."""
    shard(tmp_path / "in/a.parquet", ROWS)
    run = run_file(tmp_path, judge.url, **{**SMALL_STEPS, "limits": {"concurrency": 8, "max_usd": 0.01}})
    with started("run", run, "--workers", 2, "--quiet") as process:
        wait_until(lambda: judge.stats()["rows_paid"] >= 60)
        os.kill(workers_of(process.pid)[0], signal.SIGKILL)
        judge.configure(latency_median_s=0.05)
        stopped = ended(process)
    assert stopped.code == 3, stopped.err
    assert "limits.max_usd = 0.01 is used up" in stopped.err
    stats = judge.stats()
    assert (stats["prompt_tokens"] + 2 * stats["completion_tokens"]) / 1e6 <= 0.01
    ledger = totals(LocalFiles(), f"{tmp_path}/out/ledger")
    # What the killed one may have spent: its requests in flight, and those written ahead, more on a slow disk.
    assert ledger.maybe_requests <= 2 * 8
    assert 0.0095 < ledger.money_pico / 1e12 <= 0.01  # what is left is less than the worst case of the next
    assert scorer("run", run, "--workers", 2).code == 3
    assert judge.stats()["requests"] - stats["requests"] <= 1
    judge.configure(latency_median_s=0.0)
    assert scorer("run", run, "--set", "limits.max_usd=0.1").code == 0
    whole(tmp_path, ROWS)


def test_workers_finish_started_rows_on_ctrl_c_and_leave_on_second(judge: RehearsalProcess, tmp_path: Path) -> None:
    """Slow: two starts that are stopped, and one that ends."""
    shard(tmp_path / "in/a.parquet", ROWS)
    run = run_file(tmp_path, judge.url, **SMALL_STEPS)
    with started("run", run, "--workers", 2) as process:
        wait_until(lambda: judge.stats()["rows_paid"] >= 50)
        stopped = ended(process, signal.SIGINT)
    assert stopped.code == 130, stopped.err
    assert judge.stats()["rows_paid"] == standing(tmp_path).scored  # type: ignore[union-attr]
    judge.configure(latency_median_s=1.5)
    with started("run", run, "--workers", 2) as process:
        wait_until(lambda: judge.stats()["in_flight"] >= IN_FLIGHT)
        left = ended(process, signal.SIGINT, signal.SIGINT)
    assert left.code == 130, left.err
    judge.configure(latency_median_s=0.01)
    wait_until(lambda: judge.stats()["in_flight"] == 0)
    assert scorer("run", run).code == 0
    whole(tmp_path, ROWS)
    assert judge.stats()["paid_again"] <= IN_FLIGHT


def test_workers_stop_with_reason_on_setup_error_of_one(tmp_path: Path) -> None:
    """Slow: two processes start, in vain."""
    shard(tmp_path / "in/a.parquet", 20)
    run = run_file(tmp_path, "http://127.0.0.1:9/v1", model={"api_key_env": "NOT_SET_ANYWHERE"})
    ran = scorer("run", run, "--workers", 2)
    assert ran.code == 4
    assert "NOT_SET_ANYWHERE" in ran.err
    assert "Traceback" not in ran.err


def with_my_judge(folder: Path, url: str, text: str) -> Ended:
    """What becomes of 20 rows, two workers and a judge of somebody's own: `text` is its module, whose class is Mine."""
    (folder / "mine.py").write_text(text)
    shard(folder / "in/a.parquet", 20)
    run = run_file(folder, url, judge={"kind": "mine:Mine"})
    return scorer("run", run, "--workers", 2, PYTHONPATH=str(folder))


def test_worker_bug_shows_full_traceback(judge: RehearsalProcess, tmp_path: Path) -> None:
    """Slow: two processes start."""
    ran = with_my_judge(
        tmp_path,
        judge.url,
        "import sys\n"
        "from scorer.engine import engine\n"
        "from scorer.judges.rating import Rating\n"
        "class Mine(Rating):\n"
        "    pass\n"
        "async def broken(*given):\n"
        "    raise RuntimeError('a bug')\n"
        "if 'scorer.workers' in ' '.join(sys.orig_argv):\n"
        "    engine.score_row = broken\n",
    )
    assert ran.code == 1
    assert "RuntimeError: a bug" in ran.err


def test_run_ends_when_workers_keep_dying(judge: RehearsalProcess, tmp_path: Path) -> None:
    """Slow: three processes that end as soon as they start."""
    ran = with_my_judge(
        tmp_path,
        judge.url,
        "import os, sys\n"
        "from scorer.judges.rating import Rating\n"
        "class Mine(Rating):\n"
        "    def __init__(self, *args, **options):\n"
        "        super().__init__(*args, **options)\n"
        "        if 'scorer.workers' in ' '.join(sys.orig_argv):\n"
        "            os.kill(os.getpid(), 9)\n",
    )
    assert ran.code == 1
    assert "was killed by signal 9" in ran.err
    assert "Traceback" not in ran.err


def test_workers_read_recorded_replies(tmp_path: Path) -> None:
    """Slow: two processes start."""
    shard(tmp_path / "in/a.parquet", 100)
    ids = [f"r{number}" for number in range(100)]
    replies = [f"Score: {own_score(row):g}" for row in ids]
    pq.write_table(pa.table({"id": ids, "reply": replies}), tmp_path / "replies.parquet")
    run = run_file(tmp_path, "unused")
    text = run.read_text().replace('base_url = "unused"', f'path = "{tmp_path}/replies.parquet"')
    recorded = text.replace('name = "rehearsal-judge"', 'provider = "recorded"\nkeys = ["id"]\nreplies = "reply"')
    run.write_text("\n".join(line for line in recorded.splitlines() if not line.startswith("price")))
    ran = scorer("run", run, "--workers", 2)
    assert ran.code == 0, ran.err
    whole(tmp_path, 100)


def test_workers_are_at_most_concurrency(judge: RehearsalProcess, tmp_path: Path) -> None:
    """Slow: two processes start where nine were wished for."""
    shard(tmp_path / "in/a.parquet", 40)
    run = run_file(tmp_path, judge.url, limits={"concurrency": 2})
    with started("run", run, "--workers", 9, "--quiet") as process:
        wait_until(lambda: judge.stats()["rows_paid"] >= 10)
        assert len(workers_of(process.pid)) == 2
        judge.configure(latency_median_s=0.02)
        assert ended(process).code == 0
    assert judge.stats()["max_in_flight"] <= 2


def test_workers_option_refuses_zero(tmp_path: Path) -> None:
    """Slow: a process starts."""
    ran = scorer("run", tmp_path / "run.toml", "--workers", 0)
    assert ran.code == 2
    assert "--workers" in ran.err
