"""Result schemas: the footer of one shard of each kind is read; a shard of other types never gets another's schema."""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scorer.build.plan import ResultSchemas, RunPlan, check
from scorer.files.local_files import LocalFiles
from scorer.inputs.shards import find, first_look
from scorer.types import Shard


class Counted(LocalFiles):
    """Counts the files that are opened."""

    opened = 0

    def open(self, path: str) -> BinaryIO:
        self.opened += 1
        return super().open(path)


def planned(folder: Path, *keep: str) -> RunPlan:
    tree: dict[str, Any] = {
        "input": {"shards": [str(folder)], "id": "id", "keep": list(keep)},
        "judge": {"prompt": "{text}", "scale": [1, 5]},
        "model": {"name": "m", "base_url": "http://127.0.0.1:9/v1"},
        "output": {"path": str(folder / "out")},
    }
    return check(tree)


def looked_at(plan: RunPlan) -> tuple[Shard, ...]:
    stats = find(LocalFiles(), plan.spec.input.shards)
    names = {stat.path: Path(stat.path).stem for stat in stats}
    return first_look(LocalFiles(), stats, names, plan.needed, plan.columns.kept).shards


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three shards: `a` is text in each; `b` is an integer in one, and text in two."""
    for name, b in (("0", ["x"]), ("1", [1]), ("2", ["y"])):
        table = pa.table({"id": ["r"], "text": ["t"], "a": ["k"], "b": b})
        pq.write_table(table, tmp_path / f"{name}.parquet")
    return tmp_path


def test_one_footer_is_read_for_shards_of_equal_types(folder: Path) -> None:
    plan, files = planned(folder, "b"), Counted()
    of = ResultSchemas(plan, files).of
    found = [of(shard).field("b").type for shard in looked_at(plan) for _ in range(2)]
    assert found == [pa.string(), pa.string(), pa.int64(), pa.int64(), pa.string(), pa.string()]
    assert files.opened == 2


@pytest.mark.parametrize("now", [("b",), ("a", "b")])
def test_types_of_columns_that_were_kept_before_say_nothing_of_those_that_are_kept_now(
    folder: Path, now: tuple[str, ...]
) -> None:
    before = looked_at(planned(folder, "a"))
    assert len({shard.types for shard in before}) == 1
    of = ResultSchemas(planned(folder, *now), LocalFiles()).of
    assert [of(shard).field("b").type for shard in before] == [pa.string(), pa.int64(), pa.string()]
