"""Promise: runs in a bucket keep the promises of a local disk: kill -9, resuming elsewhere, one owner at a time.

What waits for seconds, such as a store that is away, is in `tests/soak/test_bucket_outages.py`.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from support.bucket_runs import ROWS, Machine, prepared, renewals_end, rows_stored, run_file, shards, whole
from support.command import PROMPT, scorer, wait_until
from support.proxy import BadDay
from support.seaweed import Weed

from scorer.analysis.open_table import open_table
from scorer.api.runs import run
from scorer.files.files import Files, replace
from scorer.files.router import AnyFiles
from scorer.output.scan import scan_scores
from scorer.output.status import status
from scorer.output.verify.folder import verify
from scorer.rehearsal.process import RehearsalProcess

pytestmark = pytest.mark.slow


@pytest.fixture
def files() -> Files:
    return AnyFiles()


def test_commands_take_uris(judge: RehearsalProcess, files: Files, root: str, tmp_path: Path) -> None:
    """Slow: the real commands, one after another, against a real server."""
    shards(files, root, tmp_path / "scratch")
    replace(files, f"{root}/prompt.txt", PROMPT.encode())
    path = run_file(tmp_path, root, root, judge.url, judge={"prompt_file": f"{root}/prompt.txt"})
    path.write_text("".join(line for line in path.read_text().splitlines(True) if not line.startswith("prompt =")))
    out = f"{root}/out"
    planned = scorer("plan", path, "--json")
    assert (planned.code, planned.json()["rows"]) == (0, ROWS), planned.err
    ran = scorer("run", path, "--quiet", "--json")
    assert (ran.code, ran.json()["scored"]) == (0, ROWS), ran.err
    done = scorer("status", out, "--json")
    assert (done.json()["state"], done.json()["sealed"]) == ("complete", 3)
    assert scorer("verify", out).code == 0
    asked = judge.stats()["requests"]
    assert run(path).scored == ROWS
    assert judge.stats()["requests"] == asked
    whole(out)
    shown = scorer("show", out, "--row", "r7")
    assert "It is right, more or less." in shown.out, shown.err
    joined = open_table(out).collect()
    assert joined["response"].to_list() == ["It is right, more or less."] * ROWS
    assert scorer("reread", out, "--set", "judge.scale=[1, 20]").code == 0
    assert scan_scores(out).collect()["generation"].unique().to_list() == [1]
    assert open_table(f"{out}/scores/*.parquet").collect().height == ROWS


@pytest.mark.parametrize(("remote_in", "end"), [(True, "parquet"), (False, "parquet"), (True, "jsonl.gz")])
def test_run_takes_input_and_output_in_different_storages(
    judge: RehearsalProcess, files: Files, root: str, tmp_path: Path, remote_in: bool, end: str
) -> None:
    """Slow: a run against a real server."""
    root_in, root_out = (root, str(tmp_path)) if remote_in else (str(tmp_path), root)
    shards(files, root_in, tmp_path / "scratch", end)
    table = {"shards": [f"{root_in}/in"]}
    assert run(run_file(tmp_path, root_in, root_out, judge.url, input=table)).scored == ROWS
    whole(f"{root_out}/out")
    assert verify(files, f"{root_out}/out").complete


# --- kill -9, another machine -----------------------------------------------------------------------------------------


def test_run_in_a_bucket_is_resumed_by_another_machine_after_kill_9(
    judge: RehearsalProcess, files: Files, root: str, tmp_path: Path
) -> None:
    """Slow: two processes against a real server, seconds in which the first can be killed, and a lease to run out."""
    judge.configure(latency_median_s=0.5)
    path = prepared(judge, files, root, tmp_path)
    out = f"{root}/out"
    with Machine(path, tmp_path / "one").start() as one:
        wait_until(lambda: rows_stored(files, out) >= 60)
        one.kill()
    renewals_end(files, out)
    before = status(files, out)
    assert before.state == "interrupted"
    assert 0 < before.scored < ROWS
    judge.configure(latency_median_s=0.1)
    with Machine(path, tmp_path / "two").start() as two:
        said = two.communicate()[1]
        assert two.returncode == 0, said
    assert "Waiting a moment, in case that process is dead." in said
    assert judge.stats()["requests"] <= ROWS + 16 + 2 * 20
    whole(out)
    assert verify(files, out).complete
    after = status(files, out)
    assert after.requests >= judge.stats()["requests"]


def test_second_owner_is_refused_while_the_first_is_alive(
    judge: RehearsalProcess, files: Files, root: str, tmp_path: Path
) -> None:
    """Slow: a process that runs for long enough, and the real command beside it, which waits for a renewal.

    The lease is so long that the first process may be held up for seconds, and does not count as dead.
    """
    judge.configure(latency_median_s=0.5)
    path = prepared(judge, files, root, tmp_path)
    with Machine(path, tmp_path / "one").start(lease_s=6.0) as one:
        wait_until(lambda: rows_stored(files, f"{root}/out") >= 20)
        judge.configure(latency_median_s=3.0, latency_sigma=0.0)
        assert status(files, f"{root}/out").state == "running"
        second = scorer("run", path, "--quiet")
        one.kill()
    assert second.code == 5
    assert f"{root}/out is in use by process {one.pid} on" in second.err


# --- a store on a bad day ---------------------------------------------------------------------------------------------


def test_store_errors_and_lost_responses_lose_no_row(
    judge: RehearsalProcess, files: Files, weed: Weed, root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slow: a run through a proxy that refuses a fifth of the requests, loses answers and is late."""
    path = prepared(judge, files, root, tmp_path)
    with BadDay(weed.port, errors={500: 0.1, 503: 0.1}, lost=0.05, delay_s=0.01) as day:
        monkeypatch.setenv("AWS_ENDPOINT_URL", day.url)
        with Machine(path, tmp_path / "one").start() as one:
            assert one.wait() == 0, one.communicate()[1]
        assert day.faults > 10
    monkeypatch.setenv("AWS_ENDPOINT_URL", weed.url)
    assert judge.stats()["requests"] == ROWS
    whole(f"{root}/out")
    assert verify(files, f"{root}/out").complete
