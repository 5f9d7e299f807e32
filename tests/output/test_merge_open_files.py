"""Promise: a merge of many segments has few files open at once, so that it needs no higher limit than the run has."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import pytest
from support.outputs import SCHEMA, result

from scorer.files.local_files import LocalFiles
from scorer.output import merge as merging
from scorer.output import segments as seg
from scorer.output.seal import MERGE_AT
from scorer.output.tables import to_table
from scorer.types import Shard

ROWS = 8
SHARD = Shard("in/s.parquet", "s", 1, "v", MERGE_AT * ROWS, "f")


class CountedFiles(LocalFiles):
    """Notes how many of its files are open at once."""

    def __init__(self) -> None:
        super().__init__()
        self.opened: list[BinaryIO] = []
        self.most = 0

    def open(self, path: str) -> BinaryIO:
        self.opened.append(super().open(path))
        self.most = max(self.most, sum(not file.closed for file in self.opened))
        return self.opened[-1]


@pytest.mark.parametrize("portions", [1, 4])
@pytest.mark.parametrize(("overlap", "most"), [(0, 2), (3, 3)])
def test_a_merge_has_only_files_open_that_overlap(
    portions: int, overlap: int, most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows of each segment reach `overlap` rows into the next one; a segment is loaded in so many portions."""
    if portions > 1:
        monkeypatch.setattr(merging, "MERGE_BYTES", 0)
        monkeypatch.setattr(merging, "LEAST_BYTES", 500)
    inputs = []
    for number in range(MERGE_AT):
        rows = [*range(number * ROWS + (overlap if number else 0), (number + 1) * ROWS)]
        rows += [(number + 1) * ROWS + one for one in range(overlap) if number + 1 < MERGE_AT]
        path = tmp_path / f"{number}.parquet"
        with path.open("wb") as file:
            table = to_table([result(SHARD, row) for row in rows], SCHEMA, "fingerprint")
            seg.write(file, iter([table]), SCHEMA, seg.about(SHARD, "fingerprint", 0, "run"))
        inputs.append((str(path), rows[0], rows[-1]))
    files = CountedFiles()
    merged = [table for _, _, table in merging.merge(files, inputs, SCHEMA)]
    assert [row for table in merged for row in table.column("row").to_pylist()] == list(range(SHARD.rows))
    assert len(files.opened) == MERGE_AT
    assert files.most <= most
    if portions > 1:
        assert len(merged) > MERGE_AT
