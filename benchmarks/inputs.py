"""Peak memory and speed of reading each input format: the first look, then all rows; by hand, minutes at 2,000 MB.

    python -m benchmarks.inputs [--mb 200] [--formats parquet jsonl ...] [--folder DIR] [--line-mb 0]

The same rows (an id and two texts, some 2,000 bytes each) in every format, `--mb` of text before compression. Each is
read in a process of its own, whose CPU seconds and peak resident memory it prints. `--line-mb` makes one row of so many
MB in the middle. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

ROW_BYTES = 2000
GROUP = 2000
FORMATS = ("parquet", "jsonl", "jsonl.gz", "jsonl.zst", "csv", "arrow", "arrows")
LONG_AGO_S = 1_600_000_000


def records(mb: int, line_mb: int) -> Iterator[dict[str, Any]]:
    draw = random.Random(1)
    every = draw.choices([f"{n:x}" for n in range(70_000)], k=50_000)
    count = mb * 1_000_000 // ROW_BYTES
    for number in range(count):
        start = draw.randrange(40_000)
        words = " ".join(every[start : start + 370])
        if line_mb and number == count // 2:
            words = "x" * (line_mb * 1_000_000)
        yield {"id": f"r{number}", "question": words[:200], "response": words[200:]}


def write(path: Path, end: str, mb: int, line_mb: int) -> None:
    """The rows in one format."""
    if end.startswith("jsonl"):
        with _opened(path, end) as file:
            for record in records(mb, line_mb):
                file.write(json.dumps(record).encode() + b"\n")
    elif end == "csv":
        with path.open("wb") as file:
            file.write(b"id,question,response\n")
            for record in records(mb, line_mb):
                file.write(",".join(f'"{value}"' for value in record.values()).encode() + b"\n")
    else:
        _write_arrow(path, end, mb, line_mb)
    os.utime(path, (LONG_AGO_S, LONG_AGO_S))


def _opened(path: Path, end: str) -> Any:
    if end == "jsonl.gz":
        return gzip.open(path, "wb", compresslevel=1)
    if end == "jsonl.zst":
        return pa.CompressedOutputStream(pa.OSFile(str(path), "wb"), "zstd")
    return path.open("wb")


def _write_arrow(path: Path, end: str, mb: int, line_mb: int) -> None:
    schema = pa.schema([(name, pa.string()) for name in ("id", "question", "response")])
    made = {"parquet": pq.ParquetWriter, "arrow": pa.ipc.new_file, "arrows": pa.ipc.new_stream}[end]
    with made(str(path), schema) as writer:
        held: list[dict[str, Any]] = []
        for record in records(mb, line_mb):
            held.append(record)
            if len(held) == GROUP:
                writer.write_table(pa.Table.from_pylist(held, schema))
                held = []
        if held:
            writer.write_table(pa.Table.from_pylist(held, schema))


def read(path: str) -> dict[str, float]:
    """The first look and all rows, in this process: seconds of CPU, rows, peak MB."""
    from scorer.files.local_files import LocalFiles
    from scorer.inputs.shards import first_look
    from scorer.inputs.source import Columns, Reader
    from scorer.types import Work

    files = LocalFiles()
    began = time.process_time()
    columns = Columns(("question", "response"), ("question", "response"), ("id",))
    (shard,) = first_look(files, files.find([path]), {path: "s"}, columns.all, columns.kept).shards
    looked = time.process_time()
    reader = Reader(files, columns, count=lambda texts: [len(text) // 4 for text in texts], constant_tokens=0)
    rows = sum(len(batch) for batch in reader.read(Work(shard)))
    assert rows == shard.rows
    status = Path("/proc/self/status").read_text()  # getrusage begins with what the parent had
    peak = int(status.partition("VmHWM:")[2].split()[0]) / 1024
    return {"rows": rows, "look_s": looked - began, "read_s": time.process_time() - looked, "peak_mb": peak}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mb", type=int, default=200)
    parser.add_argument("--line-mb", type=int, default=0)
    parser.add_argument("--formats", nargs="+", default=list(FORMATS))
    parser.add_argument("--folder")
    options = parser.parse_args()
    results: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        for end in options.formats:
            path = Path(folder, f"s.{end}")
            write(path, end, options.mb, options.line_mb)
            command = [sys.executable, "-c", f"from benchmarks.inputs import *; print(json.dumps(read({str(path)!r})))"]
            found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            size = path.stat().st_size / 1e6
            found = {"file_mb": size, **found, "us_a_row": 1e6 * found["read_s"] / found["rows"]}
            results[end] = found
            print(
                f"{end:10} file {size:7.0f} MB  look {found['look_s']:6.2f} s  read {found['read_s']:6.2f} s  "
                f"{found['us_a_row']:5.1f} us a row  peak {found['peak_mb']:6.0f} MB",
                flush=True,
            )
            path.unlink()
    print(json.dumps(results))


if __name__ == "__main__":
    main()
