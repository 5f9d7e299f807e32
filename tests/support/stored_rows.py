"""Which rows a store has left to score, and which are in its files."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
from support.outputs import Output

from scorer.output.store import Store
from scorer.types import Work


def left(output: Output, store: Store | None = None) -> dict[str, list[int]]:
    """The rows that a start would score, by the stem of their shard."""
    return {work.shard.stem: row_numbers(work) for work in (store or output.store()).work(output.shards)}


def row_numbers(work: Work) -> list[int]:
    """The numbers of the rows of a piece of work."""
    return list(range(work.shard.rows)) if work.todo is None else work.todo.nonzero()[0].tolist()


def complete(output: Output, shard: int = 0) -> bool:
    """Each row of the shard is there once, in order."""
    rows = output.rows(shard)
    assert [row["shard"] for row in rows] == [output.shards[shard].path] * len(rows)
    return [row["row"] for row in rows] == list(range(output.shards[shard].rows))


def rows_in(path: Path) -> set[int]:
    """The numbers in the ids of a file."""
    return {int(name[1:]) for name in pq.read_table(path, columns=["id"]).column("id").to_pylist()}
