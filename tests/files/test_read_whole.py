"""Promise: only the calling thread touches a file: a reference that ends in another one may end the process."""

from __future__ import annotations

import io
import threading
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import scorer
from scorer.files.parquet_batches import read_whole


class Watched(io.FileIO):
    """A file that notes which threads read it."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.threads = set[threading.Thread]()

    def read(self, size: int | None = -1) -> bytes:
        self.threads.add(threading.current_thread())
        return super().read(size) or b""


def test_a_table_is_read_by_the_calling_thread_alone(tmp_path: Path) -> None:
    table = pa.table({"a": [1, 2], "b": [{"x": 1}, None], "c": ["x", "y"]})
    pq.write_table(table, tmp_path / "t.parquet")
    with Watched(tmp_path / "t.parquet") as file:
        assert read_whole(file, ["c", "b"]) == table.select(["c", "b"])
        assert read_whole(file) == table
        with pytest.raises(KeyError):
            read_whole(file, ["a", "z"])
        assert file.threads == {threading.current_thread()}


def test_no_file_is_read_by_threads_of_arrow() -> None:
    sources = Path(scorer.__file__).parent.rglob("*.py")
    assert [path.name for path in sources if "pq.read_table(" in path.read_text()] == []
