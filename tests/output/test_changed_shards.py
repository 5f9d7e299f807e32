"""Promise: a run refuses input that changed before any request, and a reader needs no write access."""

from __future__ import annotations

from typing import Any

import pyarrow.parquet as pq
import pytest
from support.file_damage import cut, zeroed
from support.inprocess import Run

from scorer.errors import InputError, OutputError, StorageError
from scorer.files.local_files import LocalFiles
from scorer.output.status import status
from scorer.output.verify.folder import verify


def test_verify_and_status_read_a_folder_that_cannot_be_written(sealed_run: Run) -> None:
    class ReadOnly(LocalFiles):
        def create(self, path: str) -> Any:
            raise StorageError(f"Cannot write {path}: the disk is read-only")

        def delete(self, path: str) -> None:
            raise StorageError(f"Cannot delete {path}: the disk is read-only")

    assert verify(ReadOnly(), sealed_run.out).findings == ()
    assert status(ReadOnly(), sealed_run.out).state == "complete"
    cut(sealed_run.sealed())
    (_, unnoted) = verify(ReadOnly(), sealed_run.out).findings
    assert "what is damaged cannot be noted for `scorer run`" in unnoted
    assert "Move those files away yourself" in unnoted


def test_run_refuses_a_changed_shard_before_any_request(unfinished_run: Run) -> None:
    path = unfinished_run.root / "in" / "b.parquet"
    data, asked = path.read_bytes(), unfinished_run.wire.asked.total()
    pq.write_table(pq.read_table(path).slice(1), path)
    with pytest.raises(OutputError, match=r"b\.parquet has changed since this run first read it.*Restore the old file"):
        unfinished_run.run()
    assert f"{path}: the input shard changed since it was scored" in unfinished_run.verify().findings
    assert unfinished_run.wire.asked.total() == asked
    path.write_bytes(data)
    unfinished_run.run()
    assert not unfinished_run.twice()
    unfinished_run.exact()


def test_run_refuses_a_damaged_shard_of_the_same_size(unfinished_run: Run) -> None:
    path = unfinished_run.root / "in" / "a.parquet"
    zeroed(path)
    with pytest.raises(OutputError, match=r"a\.parquet has changed since"):
        unfinished_run.run()


def test_run_refuses_a_removed_shard_and_scores_an_added_one(unfinished_run: Run) -> None:
    path = unfinished_run.root / "in" / "b.parquet"
    data = path.read_bytes()
    path.unlink()
    with pytest.raises(OutputError, match=r"b\.parquet belongs to this run and is gone"):
        unfinished_run.run()
    assert [
        text for text in unfinished_run.verify().unchecked if text.startswith(f"{path}: the input is not where it was")
    ]
    path.write_bytes(data)
    unfinished_run.add(7)
    unfinished_run.run()
    assert not unfinished_run.twice()
    assert unfinished_run.sealed("c").exists()
    unfinished_run.exact()


def test_run_refuses_an_added_shard_that_is_not_parquet_before_any_request(unfinished_run: Run) -> None:
    asked = unfinished_run.wire.asked.total()
    (unfinished_run.root / "in" / "c.parquet").write_text("mine")
    with pytest.raises(InputError, match=r"c\.parquet is not a readable Parquet file"):
        unfinished_run.run()
    assert unfinished_run.wire.asked.total() == asked
