"""The same rows as files of every input format."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from scorer.files.local_files import LocalFiles
from scorer.inputs.identity import look
from scorer.types import Shard

Rows = Sequence[Mapping[str, Any]]
LONG_AGO_S = 1_600_000_000
"""The time that files were last changed, so that they are finished."""


def json_lines(rows: Rows) -> bytes:
    return b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)


def csv_text(rows: Rows) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    names = list(rows[0]) if rows else ["id"]
    writer.writerow(names)
    writer.writerows([["" if row[name] is None else row[name] for name in names] for row in rows])
    return text.getvalue().encode()


def parquet(rows: Rows) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(list(rows)), out, row_group_size=100)
    return out.getvalue()


def arrow(rows: Rows, *, stream: bool = False) -> bytes:
    table = pa.Table.from_pylist(list(rows))
    out = io.BytesIO()
    with (pa.ipc.new_stream if stream else pa.ipc.new_file)(out, table.schema) as writer:
        writer.write_table(table, max_chunksize=100)
    return out.getvalue()


def zstd(data: bytes) -> bytes:
    return bytes(pa.compress(data, codec="zstd", asbytes=True))


WRITERS: dict[str, Callable[[Rows], bytes]] = {
    "parquet": parquet,
    "jsonl": json_lines,
    "jsonl.gz": lambda rows: gzip.compress(json_lines(rows)),
    "jsonl.zst": lambda rows: zstd(json_lines(rows)),
    "csv": csv_text,
    "csv.gz": lambda rows: gzip.compress(csv_text(rows)),
    "arrow": arrow,
    "arrows": lambda rows: arrow(rows, stream=True),
}
"""How each format is written, by the end of a file's name."""


def written(path: Path, data: bytes, changed_s: float = LONG_AGO_S) -> Path:
    """A file with this content that was last changed then."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    os.utime(path, (changed_s, changed_s))
    return path


def shard_of(path: Path) -> Shard:
    """The file as a start sees it."""
    (stat,) = LocalFiles().find([str(path)])
    rows, mark, _ = look(LocalFiles(), stat)
    return Shard(str(path), path.name.partition(".")[0], stat.size, stat.version, rows, mark)
