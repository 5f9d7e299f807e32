"""Readers of Parquet files, and the rows that they yield."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from scorer.files.local_files import LocalFiles
from scorer.inputs.identity import look
from scorer.inputs.source import Columns, Reader
from scorer.types import Mask, Row, Shard, Work


def write(path: Path, table: pa.Table, **options: Any) -> Shard:
    pq.write_table(table, path, **options)
    return shard_of(path)


def shard_of(path: Path) -> Shard:
    files = LocalFiles()
    (stat,) = files.find([str(path)])
    rows, footer, _ = look(files, stat)
    return Shard(str(path), path.stem, stat.size, stat.version, rows, footer)


def lengths(texts: Sequence[str]) -> list[int]:
    return [len(text) for text in texts]


def reader(
    read: Sequence[str] = (), kept: Sequence[str] = (), judged: Sequence[str] | None = None, **more: Any
) -> Reader:
    columns = Columns(tuple(read), tuple(read if judged is None else judged), tuple(kept))
    return Reader(more.pop("files", LocalFiles()), columns, count=lengths, constant_tokens=more.pop("constant", 0))


def rows_of(given: Reader, shard: Shard, todo: Mask | None = None) -> list[Row]:
    return [row for batch in given.read(Work(shard, todo)) for row in batch]


def values(given: Sequence[Row], name: str) -> list[Any]:
    return [row.values[name] for row in given]
