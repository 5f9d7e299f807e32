"""Promise: while no row has a result, every key and the input may change; from the first one on they may not."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.inprocess import Run

from scorer.errors import OutputError, StorageError
from scorer.files.local_files import LocalFiles


class Refuses(LocalFiles):
    """A disk that takes no segment."""

    def create(self, path: str) -> AbstractContextManager[BinaryIO]:
        if "/segments/" in path:
            raise StorageError("refused")
        return super().create(path)


def test_start_accepts_any_change_while_no_row_is_stored_and_keeps_the_ledger(tmp_path: Path) -> None:
    run = Run(tmp_path, 0, 10)
    with pytest.raises(StorageError):
        run.run(Refuses())
    paid = run.wire.asked.total()
    assert paid
    ids = pa.array([f"r{number}" for number in range(6)])
    pq.write_table(pa.table({"id": ids, "response": ["other"] * 6}), tmp_path / "in" / "a.parquet")
    (tmp_path / "in" / "b.parquet").unlink()
    found = run.run(scale=[1, 20])
    assert (found.rows, found.scored, found.state) == (6, 6, "complete")
    assert found.requests == paid + 6
    assert run.verify().findings == ()
    assert pq.read_table(run.sealed("a")).num_rows == 6


def test_start_refuses_another_fingerprint_after_one_stored_row(tmp_path: Path) -> None:
    run = Run(tmp_path, 100)
    run.stop_after(1)
    with pytest.raises(OutputError, match="holds the scores of another run"):
        run.run(scale=[1, 20])
