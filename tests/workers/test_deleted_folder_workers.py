"""Promise: what workers spent in a folder that was deleted is said at the end, and counted by the next start."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from support.inprocess import Run
from support.inprocess_workers import in_this_process

from scorer.errors import StorageError
from scorer.files import local_lock
from scorer.files.local_files import LocalFiles
from scorer.output import ledger


def test_what_workers_spent_in_a_deleted_folder_is_said_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_lock, "LOOK_S", 0.0)
    run = Run(tmp_path, 80)
    run.workers = in_this_process(monkeypatch, run.wire)

    def delete() -> None:
        if run.wire.asked.total() == 50:
            shutil.rmtree(run.out)

    run.wire.then = delete
    with pytest.raises(StorageError, match=r"Spent until then: [1-9][0-9,]* tokens"):
        run.run()
    assert ledger.totals(LocalFiles(), f"{run.out}/ledger").tokens >= 12 * run.wire.billed
    run.wire.then, run.workers = lambda: None, None
    run.run()
    run.exact()
    assert ledger.totals(LocalFiles(), f"{run.out}/ledger").tokens >= 12 * run.wire.billed
