"""Promise: a run whose folder is deleted stops asking and says what was spent, and the next start counts that."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import orjson
import pytest
from support.inprocess import Run
from support.inprocess_workers import in_this_process

from scorer.errors import OutputError, StorageError
from scorer.files import local_lock
from scorer.files.local_files import LocalFiles
from scorer.files.local_lock import FolderGone
from scorer.output import ledger

UNCAPPED = {"max_tokens": None}


@pytest.fixture(autouse=True)
def looks_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_lock, "LOOK_S", 0.0)


def run_until(tmp_path: Path, limits: dict[str, Any], *deleted: str) -> Run:
    """A run of 100 rows in whose folder these are deleted at the request for its 30th."""
    run = Run(tmp_path, 100)
    run.limits = limits

    def delete() -> None:
        if run.wire.asked.total() == 30:
            for name in deleted:
                shutil.rmtree(Path(run.out, name))

    run.wire.then = delete
    return run


@pytest.mark.parametrize("limits", [{}, UNCAPPED], ids=["capped", "uncapped"])
def test_a_run_whose_folder_is_deleted_stops_and_books_what_it_spent(tmp_path: Path, limits: dict[str, Any]) -> None:
    run = run_until(tmp_path, limits, ".")
    with pytest.raises(FolderGone, match=r"out was deleted.*Spent until then: [0-9]+ tokens, 0\.00\d+ USD") as ended:
        run.run()
    assert ended.value.exit_code == 7
    assert run.wire.asked.total() <= 34, "requests in flight at the most"
    booked = ledger.totals(LocalFiles(), f"{run.out}/ledger")
    assert booked.tokens >= 12 * run.wire.billed
    assert booked.money_pico >= 14_000_000 * run.wire.billed
    assert f"{booked.prompt_tokens + booked.completion_tokens:,} tokens" in str(ended.value)
    before, run.wire.then = run.wire.billed, lambda: None
    after = run.run()
    assert after.state == "complete"
    run.exact()
    assert ledger.totals(LocalFiles(), f"{run.out}/ledger").tokens >= 12 * run.wire.billed
    assert run.wire.billed > before


@pytest.mark.parametrize("workers", [1, 2])
def test_a_shard_that_is_finished_when_the_folder_is_deleted_hides_neither_that_nor_the_sum(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    """It cannot be sealed, since its other results are gone."""
    run = Run(tmp_path, 40, 10)
    if workers > 1:
        run.workers = in_this_process(monkeypatch, run.wire)

    def delete() -> None:
        if run.wire.asked.total() == 50:
            shutil.rmtree(run.out)

    run.wire.then = delete
    with pytest.raises(FolderGone, match=r"out was deleted.*Spent until then: 600 tokens"):
        run.run()
    assert ledger.totals(LocalFiles(), f"{run.out}/ledger").tokens == 600
    found = orjson.loads(Path(run.out, "progress.json").read_bytes())
    assert (found["exit_code"], found["prompt_tokens"]) == (7, 500)


def test_a_ledger_that_is_deleted_alone_is_written_again(tmp_path: Path) -> None:
    run = run_until(tmp_path, {}, "ledger")
    run.run()
    run.exact()
    booked = ledger.totals(LocalFiles(), f"{run.out}/ledger")
    assert (booked.tokens, booked.maybe_tokens) == (12 * 100, 0)


def test_a_lock_knows_that_its_file_was_deleted_or_replaced(tmp_path: Path) -> None:
    files, path = LocalFiles(), f"{tmp_path}/out/lock"
    lock = files.lock(path, "process 1")
    assert lock.sure()
    Path(path).rename(f"{path}-away")
    with pytest.raises(StorageError, match="was deleted, or its file lock"):
        lock.sure()
    Path(path).write_text("process 1")  # a copy, or a file system that gives numbers of its own
    assert lock.sure()
    Path(path).write_text("process 2")
    with pytest.raises(OutputError, match="belongs to process 2 now"):
        lock.sure()
    lock.release()
