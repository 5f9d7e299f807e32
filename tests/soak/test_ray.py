"""Promise: `--engine ray` keeps every promise of one process, with two nodes, kill -9 and a judge that counts.

`tests/workers_ray/test_protocol.py` tests the same owner, launcher and actors without Ray.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from support.command import (
    COMMAND,
    FLUSH_ROWS,
    IN_FLIGHT,
    PATIENCE_S,
    SMALL_STEPS,
    assert_pace,
    children,
    ended,
    run_file,
    scorer,
    shard,
    standing,
    started,
    wait_until,
    whole,
)
from support.hostile_modules import SCRIPT, hostile, nothing_taken, started_in
from support.ray_nodes import PATIENT, Nodes, two_nodes, variables
from support.sockets import LISTENING, sockets

from scorer.files.local_files import LocalFiles
from scorer.output.layout import Layout
from scorer.rehearsal.process import RehearsalProcess

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("ray") is None, reason="the extra cluster is not installed"),  # .3 s to import
    pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="tells the workers by /proc, as Linux has it"),
]

ROWS = 200


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables().items():
            patch.setenv(name, value)
        with two_nodes() as found:
            yield found


@pytest.fixture(autouse=True)
def patient_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Ray of one run, too, goes on where other processes take the machine's memory and time."""
    for name, value in PATIENT.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def judge(judge: RehearsalProcess) -> RehearsalProcess:
    """Slow at first, so that a run is amid its work for ten seconds, however late the test comes to look or kill."""
    judge.configure(latency_median_s=1.0)
    return judge


def workers_that_stored(folder: Path) -> set[int]:
    """The workers that have stored rows, by the names of their segments."""
    files, layout = LocalFiles(), Layout(f"{folder}/out")
    return {one.worker for stem in files.folders(layout.segments) for one in layout.segments_of(files, stem)}


def on_ray(run: Path, nodes: Nodes, workers: int) -> tuple[object, ...]:
    return ("run", run, "--engine", "ray", "--address", nodes.address, "--workers", workers)


def listening(owner: int) -> set[str]:
    """The addresses other than loopback at which a process and all that it started take connections."""
    found, processes = set(), [owner]
    for process in processes:
        processes += children(process, lambda _: True)
        found.update(one.local for one in sockets(process) if one.state == LISTENING and not one.loopback)
    assert len(processes) > 3
    return found


def test_ray_nodes_share_limits_and_score_rows_of_killed_worker(
    nodes: Nodes, judge: RehearsalProcess, tmp_path: Path
) -> None:
    """Slow: two nodes start; twelve seconds at the pace of a minute, amid which a worker is killed.

    The judge is slow until both workers have stored rows: a worker that has not begun has no part of what may be in
    flight, and the other one has all. Then two seconds pass, in which the parts become equal.
    """
    judge.configure(requests_per_minute=3000.0, burst_s=2.0)
    rows = 3 * ROWS
    shard(tmp_path / "in/a.parquet", rows)
    limits = {"concurrency": IN_FLIGHT, "requests_per_minute": 3000, "max_usd": 1.0}
    run = run_file(tmp_path, judge.url, **{**SMALL_STEPS, "limits": limits})
    with started(*on_ray(run, nodes, 2), "--json") as process:
        wait_until(lambda: len(workers_that_stored(tmp_path)) == 2)
        judge.configure(latency_median_s=0.05)
        paid = judge.stats()["rows_paid"]
        wait_until(lambda: judge.stats()["rows_paid"] >= paid + 100)
        working = nodes.workers()
        assert [len(pids) for pids in working] == [1, 1]
        os.kill(working[1][0], signal.SIGKILL)
        done = ended(process)
    assert done.code == 0, done.err
    whole(tmp_path, rows)
    stats, status = judge.stats(), done.json()
    assert stats["max_in_flight"] <= IN_FLIGHT
    assert stats["r429"] == 0
    assert_pace(judge, 50)
    assert stats["paid_again"] <= IN_FLIGHT // 2 + 2 * FLUSH_ROWS
    assert status["requests"] >= stats["requests"] - 1  # what was in flight is known as possibly billed
    assert (
        status["cost_usd"] + status["maybe_billed_usd"]
        >= (stats["prompt_tokens"] + 2 * stats["completion_tokens"]) / 1e6
    )
    wait_until(lambda: not any(nodes.workers()))


def test_ray_run_resumes_by_same_command_after_driver_is_killed(
    nodes: Nodes, judge: RehearsalProcess, tmp_path: Path
) -> None:
    """Slow: two starts, one of which is killed."""
    shard(tmp_path / "in/a.parquet", ROWS)
    run = run_file(tmp_path, judge.url, **SMALL_STEPS)
    with started(*on_ray(run, nodes, 3), "--quiet") as process:
        wait_until(lambda: len(workers_that_stored(tmp_path)) > 0)
        assert any(nodes.workers())
        assert ended(process, signal.SIGKILL).code == -signal.SIGKILL
    wait_until(lambda: not any(nodes.workers()))
    wait_until(lambda: judge.stats()["in_flight"] == 0)
    left = standing(tmp_path)
    assert left is not None
    assert judge.stats()["rows_paid"] - left.scored <= IN_FLIGHT + 3 * 2 * FLUSH_ROWS
    judge.configure(latency_median_s=0.05)
    assert scorer(*on_ray(run, nodes, 2)).code == 0
    whole(tmp_path, ROWS)
    assert judge.stats()["paid_again"] <= IN_FLIGHT + 3 * 2 * FLUSH_ROWS
    owners = {number // 10**4 for number in workers_that_stored(tmp_path)}
    assert len(owners) == 2  # whoever outlives an owner has a number that the next never gives


def test_ray_run_explains_unshared_output_path_and_differing_versions(
    nodes: Nodes, judge: RehearsalProcess, tmp_path: Path
) -> None:
    """Slow: a worker waits five seconds for a file that is only here."""
    shard(tmp_path / "in/a.parquet", 20)
    here = os.open(tmp_path, os.O_RDONLY)
    # A path that leads here in this process alone, as that of a local disk does on a machine alone.
    run = run_file(tmp_path, judge.url, output={"path": f"/proc/self/fd/{here}/out"})
    command = [*COMMAND, *map(str, on_ray(run, nodes, 1)), "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, pass_fds=(here,))
    os.close(here)
    assert done.returncode == 2, done.stderr
    assert f'output.path = "/proc/self/fd/{here}/out" is not shared with node 127.0.0.1' in done.stderr
    assert "Traceback" not in done.stderr
    assert judge.stats()["requests"] == 0
    assert not list((tmp_path / "out").glob(".partial-*"))

    other = tmp_path / "other"
    other.mkdir()
    (other / "sitecustomize.py").write_text("import scorer\nscorer.__version__ = '0.0.9'\n")
    run = run_file(tmp_path, judge.url)
    mixed = scorer(*on_ray(run, nodes, 1), "--quiet", PYTHONPATH=str(other))
    assert mixed.code == 2, mixed.err
    assert "and this machine 0.0.9. All nodes need the same one" in mixed.err

    (other / "sitecustomize.py").write_text("import ray\nray.__version__ = '1.0.0'\n")
    mixed = scorer(*on_ray(run, nodes, 1), "--quiet", PYTHONPATH=str(other))
    assert mixed.code == 2, mixed.err
    assert "same versions of Ray and of Python" in mixed.err
    assert "Ray: 1.0.0" in mixed.err
    assert "Traceback" not in mixed.err
    assert judge.stats()["requests"] == 0


def test_local_ray_listens_on_loopback_and_ends_with_run(judge: RehearsalProcess, tmp_path: Path) -> None:
    """Slow: Ray starts, listens on loopback alone, and ends at a Ctrl-C; a process of its own does the rest."""
    shard(tmp_path / "in/a.parquet", ROWS)
    run = run_file(tmp_path, judge.url, **SMALL_STEPS)
    with started("run", run, "--engine", "ray", "--workers", 2) as process:
        wait_until(lambda: judge.stats()["rows_paid"] >= 20)
        assert listening(process.pid) == set()
        stopped = ended(process, signal.SIGINT)
    assert stopped.code == 130, stopped.err
    assert judge.stats()["rows_paid"] == standing(tmp_path).scored  # type: ignore[union-attr]
    judge.configure(latency_median_s=0.05)
    last = scorer("run", run, "--json")
    assert last.code == 0, last.err
    assert last.json()["scored"] == ROWS
    whole(tmp_path, ROWS)
    assert judge.stats()["paid_again"] == 0


def test_search_path_of_ray_worker_never_shadows_installed_modules(judge: RehearsalProcess, tmp_path: Path) -> None:
    """Slow: Ray starts. Of itself it puts the driver's folder before everything else of its workers."""
    folder = hostile(tmp_path)
    run = run_file(folder, judge.url, judge={"kind": "mine:Mine"})
    done = started_in(folder, *SCRIPT, "run", run, "--engine", "ray", "--workers", 1, RAY_USAGE_STATS_ENABLED="0")
    nothing_taken(folder, done)
