"""Promise: workers fail, retry and mark rows as one process does. The real owner and workers, in virtual time.

`test_subprocesses.py` has what is a matter of processes: kills, signals, and a worker that is stopped.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from support.inprocess import Run
from support.inprocess_workers import in_this_process

from scorer.job.retry import Retry


def with_workers(folder: Path, patch: pytest.MonkeyPatch, *sizes: int) -> Run:
    made = Run(folder, *sizes)
    made.workers = in_this_process(patch, made.wire)
    return made


def test_workers_retry_failed_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = with_workers(tmp_path, monkeypatch, 100)
    made.wire.refuses = set(range(7, 100, 10))
    assert made.run().failed == 10
    made.exact()
    made.wire.refuses = set()
    assert made.run(retry=Retry()).failed == 0
    made.exact()
    assert made.twice() == set(range(7, 100, 10))
    assert sum(pq.read_table(made.sealed()).column("generation").to_pylist()) == 10


def test_workers_mark_unreadable_rows_damaged_and_retry_them_once_shard_is_restored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = with_workers(tmp_path, monkeypatch, 100, 100)
    made.stop_after(20)
    begun = set(made.wire.asked)
    path = tmp_path / "in/b.parquet"
    whole_shard = path.read_bytes()
    path.write_bytes(whole_shard[:4] + bytes(200) + whole_shard[204:])
    found = made.run()
    damaged = 100 - len(begun & set(range(100, 200)))
    assert (found.scored, found.failed) == (200 - damaged, damaged)
    assert set(pq.read_table(made.sealed("b")).column("error").to_pylist()) <= {None, "Damaged"}
    path.write_bytes(whole_shard)
    assert made.run(retry=Retry(("Damaged",))).failed == 0
    made.exact()
    assert made.twice() == set()


def test_worker_fails_only_row_on_which_judge_raises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "raises_at_15.py").write_text(
        "from scorer.judges.rating import Rating\n"
        "class Mine(Rating):\n"
        "    def __call__(self, row):\n"
        "        if row.number == 15:\n"
        "            raise RuntimeError('a bug')\n"
        "        return (yield from super().__call__(row))\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    made = with_workers(tmp_path, monkeypatch, 30)
    assert made.run(kind="raises_at_15:Mine").failed == 1
    rows = pq.read_table(made.sealed()).to_pylist()
    assert [row["row"] for row in rows if row["error"] is not None] == [15]
    assert rows[15]["error"] == "Unreadable"
    assert "RuntimeError: a bug (__call__, line 5)" in rows[15]["error_detail"]
