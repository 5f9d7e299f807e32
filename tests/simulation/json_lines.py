"""Simulated runs over JSON Lines: plain and compressed files, some of whose lines are no object."""

from __future__ import annotations

import gzip
import io
import json
from dataclasses import replace
from random import Random

import pyarrow as pa
import pyarrow.parquet as pq
from simulation.settings import Setting

ENDS = ("jsonl", "jsonl.gz", "jsonl.zst")


def in_lines(setting: Setting) -> Setting:
    """The same run over files of JSON Lines; half of the rows whose text is null are lines that are no object."""
    draw = Random(f"lines of {setting.seed}")
    shards = {}
    for path, data in setting.shards.items():
        lines = []
        table = pq.read_table(io.BytesIO(data), use_threads=False)
        for row in table.to_pylist():
            line = json.dumps(row, ensure_ascii=draw.random() < 0.5)
            # Of a file without any object it is not known that it is JSON Lines: it is refused at the start.
            if row["response"] is None and draw.random() < 0.5 and table.num_rows > 2:
                line = line.replace("null", "nothing") if draw.random() < 0.5 else json.dumps([row["id"]])
            lines.append(line + draw.choice(["\n", "\r\n", "\n\n"]))
        whole = "".join(lines).encode()
        end = draw.choice(ENDS)
        if not lines:  # JSON Lines without a row are not finished
            end, whole = "csv", ",".join(table.column_names).encode() + b"\n"
        if end == "jsonl.gz":
            half = draw.randrange(len(whole))
            whole = gzip.compress(whole[:half], mtime=0) + gzip.compress(whole[half:], mtime=0)
        elif end == "jsonl.zst":
            whole = bytes(pa.compress(whole, codec="zstd", asbytes=True))
        shards[path.replace(".parquet", f".{end}")] = whole
    return replace(setting, shards=shards)
