"""Promise: a row that is stored has its cost in the ledger, also after kill -9 at once and without a cap."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow.parquet as pq
import pytest
from support.inprocess import Run

from scorer.errors import StorageError
from scorer.files.local_files import LocalFiles
from scorer.output import ledger

TOKENS = 12
"""What each answer of the wire costs."""
UNCAPPED: dict[str, Any] = {"concurrency": 4, "max_tokens": None}


class LookingFiles(LocalFiles):
    """Notes, whenever a result file appears, the rows that are stored and the tokens that the ledger admits."""

    def __init__(self, out: str) -> None:
        super().__init__()
        self.out = Path(out)
        self.seen: list[tuple[int, int]] = []
        self.refuses_ledger = False

    @contextmanager
    def create(self, path: str) -> Iterator[BinaryIO]:
        with super().create(path) as file:
            yield file
        if "/segments/" in path or "/scores/" in path:
            self._look()

    @contextmanager
    def together(self) -> Iterator[None]:
        with super().together():
            yield
        self._look()

    def _look(self) -> None:
        rows = {
            name
            for found in (*self.out.glob("segments/*/*.parquet"), *self.out.glob("scores/*.parquet"))
            for name in pq.read_table(found, columns=["id"])["id"].to_pylist()
        }
        self.seen.append((len(rows), ledger.totals(LocalFiles(), f"{self.out}/ledger").tokens))

    def append(self, path: str, data: bytes) -> None:
        if self.refuses_ledger and "/ledger/" in path:
            raise StorageError(f"{path}: refused")
        super().append(path, data)


@pytest.mark.parametrize("sizes", [(30,), (1, 1, 1, 1, 1, 1, 1, 1, 1)])
def test_no_row_is_stored_before_its_cost_is_in_the_ledger(tmp_path: Path, sizes: tuple[int, ...]) -> None:
    run = Run(tmp_path, *sizes)
    run.limits = UNCAPPED
    files = LookingFiles(run.out)
    run.run(files)
    run.exact()
    assert files.seen, "rows were stored while the run went on"
    assert [pair for pair in files.seen if pair[1] < pair[0] * TOKENS] == []


def test_rows_are_stored_where_the_ledger_cannot_be_written(tmp_path: Path) -> None:
    run = Run(tmp_path, 30)
    run.limits = UNCAPPED
    files = LookingFiles(run.out)
    files.refuses_ledger = True
    with pytest.raises(StorageError):
        run.run(files)
    assert files.seen
    assert files.seen[-1][0] == sum(run.wire.asked.values())
    run.run()
    run.exact()
    assert not run.twice()
