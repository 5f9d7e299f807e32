"""Which rows a store has left to score, and which are in its files."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
from support.outputs import Output

from scorer.output.store import Store


def left(output: Output, store: Store | None = None) -> dict[str, list[int]]:
    """The rows that a start would score, by the stem of their shard."""
    works = (store or output.store()).work(output.shards)
    return {work.shard.stem: work.todo.nonzero()[0].tolist() for work in works if work.todo is not None}


def complete(output: Output, shard: int = 0) -> bool:
    """Each row of the shard is there once, in order."""
    rows = output.rows(shard)
    assert [row["shard"] for row in rows] == [output.shards[shard].path] * len(rows)
    return [row["row"] for row in rows] == list(range(output.shards[shard].rows))


def rows_in(path: Path) -> set[int]:
    """The numbers in the ids of a file."""
    return {int(name[1:]) for name in pq.read_table(path, columns=["id"]).column("id").to_pylist()}
