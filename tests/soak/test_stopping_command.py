"""Promise: `scorer run` with [stop] decides alike over the same items: in one go, killed and resumed, or by workers.

`tests/job/test_stopping_job.py` tests the same in virtual time.
"""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from support.command import JUDGE, own_score, run_file, scorer, standing, started, wait_until

from scorer.files.local_files import LocalFiles
from scorer.output.status import status
from scorer.rehearsal.process import RehearsalProcess

ITEMS, SYSTEMS = 120, 3
STOP = {"question": "best", "by": "system", "item": "item"}
DECIDED = ("state", "systems", "items", "rows", "intervals", "unread")


def board(folder: Path) -> None:
    """Two shards of rows whose ids decide their scores: those of s1 have 4 or more points."""
    rows = []
    for system in range(SYSTEMS):
        for item in range(ITEMS):
            names = (f"s{system}i{item}x{salt}" for salt in range(100))
            name = next(name for name in names if system != 1 or own_score(name) >= 4)
            rows.append({"id": name, "system": f"s{system}", "item": item, "response": "said"})
    (folder / "in").mkdir(parents=True)
    for number, part in enumerate((rows[::2], rows[1::2])):
        pq.write_table(pa.Table.from_pylist(part), folder / f"in/{number}.parquet")


def decided(folder: Path) -> dict[str, object]:
    answer = status(LocalFiles(), f"{folder}/out").answer
    assert answer is not None
    return {key: answer[key] for key in DECIDED}


def test_killed_runs_and_workers_decide_on_the_same_items(tmp_path: Path) -> None:
    """Slow: three runs, one of them with two workers."""
    with RehearsalProcess(replace(JUDGE, latency_median_s=0.02)) as judge:
        runs = {}
        for name in ("whole", "killed", "workers"):
            board(tmp_path / name)
            output = {"path": f"{tmp_path / name}/out", "flush_rows": 10, "flush_s": 0.1}
            runs[name] = run_file(tmp_path / name, judge.url, stop=STOP, limits={"concurrency": 8}, output=output)
        whole = scorer("run", runs["whole"], "--json")
        assert (whole.code, whole.json()["state"]) == (0, "answered")
        with started("run", runs["killed"]) as process:
            wait_until(lambda: (seen := standing(tmp_path / "killed")) is not None and seen.scored > 20)
            process.send_signal(signal.SIGKILL)
            process.wait()
        for ran in (scorer("run", runs["killed"]), scorer("run", runs["workers"], "--workers", "2")):
            assert ran.code == 0, ran.err
    answer = decided(tmp_path / "whole")
    assert answer["systems"] == ["s1"]
    assert decided(tmp_path / "killed") == answer
    assert decided(tmp_path / "workers") == answer
    for name in runs:
        verified = scorer("verify", tmp_path / name / "out")
        assert verified.code == 0, verified.out
