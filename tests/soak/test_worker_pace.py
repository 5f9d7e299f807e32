"""Promise: worker processes keep a declared rate together, and follow a file of judges that changes while they run.

`test_rate_leases.py` and `test_replicas.py` of tests/workers test the same in virtual time.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import pytest
from support.command import (
    JUDGE,
    SMALL_STEPS,
    assert_pace,
    ended,
    run_file,
    scorer,
    scores,
    shard,
    started,
    wait_until,
    workers_of,
)
from support.sockets import sockets

from scorer.rehearsal.process import RehearsalProcess


def both_ask(owner: int, judge: RehearsalProcess) -> bool:
    """Whether both workers of a run have a connection to the judge."""
    port = urlsplit(judge.url).port
    return [any(one.remote_port == port for one in sockets(worker)) for worker in workers_of(owner)] == [True, True]


@pytest.mark.slow
def test_workers_together_keep_declared_rates(judge: RehearsalProcess, tmp_path: Path) -> None:
    """Slow: four seconds of requests at the pace of a minute."""
    judge.configure(requests_per_minute=3000.0, burst_s=2.0)
    shard(tmp_path / "in/a.parquet", 200)
    limits = {"concurrency": 64, "requests_per_minute": 3000}
    ran = scorer("run", run_file(tmp_path, judge.url, **{**SMALL_STEPS, "limits": limits}), "--workers", 2)
    assert ran.code == 0, ran.err
    assert judge.stats()["r429"] == 0
    assert_pace(judge, 50)


@pytest.mark.slow
def test_workers_follow_a_file_that_changes_while_they_run(tmp_path: Path) -> None:
    """Slow: real processes. The first judge leaves the file, and a second one comes."""
    shard(tmp_path / "in/a.parquet", 400)
    judges = tmp_path / "judges.txt"
    config = JUDGE.changed({"latency_median_s": 0.15})
    with RehearsalProcess(config) as one, RehearsalProcess(config) as two:
        judges.write_text(f"{one.url}\n")
        run_toml = run_file(tmp_path, one.url, limits={"concurrency": 8})
        run_toml.write_text(run_toml.read_text().replace(f'base_url = "{one.url}"', f'base_urls = "file:{judges}"'))
        with started("run", run_toml, "--workers", 2, "--json") as process:
            wait_until(lambda: one.stats()["requests"] > 30)
            judges.write_text(f"# the first one is shut down\n{two.url}\n")
            wait_until(lambda: process.poll() is not None or both_ask(process.pid, two))
            wait_until(lambda: one.stats()["in_flight"] == 0)  # what was sent before has arrived
            left = one.stats()["requests"]
            done = ended(process)
        assert done.code == 0, done.err
        assert one.stats()["requests"] == left
        assert max(judge.stats()["max_in_flight"] for judge in (one, two)) == 8
        paid = [judge.stats()["rows_paid"] for judge in (one, two)]
    assert sum(paid) == 400
    assert sorted(row["id"] for row in scores(tmp_path)) == sorted(f"r{number}" for number in range(400))
