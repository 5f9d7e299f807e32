"""Time of a resume until its first request with many finished rows: in sealed shards, or in one open shard.

    python -m benchmarks.resume [--rows 10000000] [--shards 1000] [--repeats 3] [--keep FOLDER]

The output folders are made by the store's own code, without a judge: `sealed` has its rows in so many sealed shards,
and one more shard to score; `open` has all but the last thousandth in the segments of a single shard, merged as a run
merges them. Then `scorer run` is started against a socket that answers nothing, and ended at its first byte. Of
`scan_scores` over the sealed shards the first look, a count and a mean are timed too. The last line is one JSON object,
in seconds; `cpu` is that of the process, which a busy machine changes little.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from scorer.build.plan import (
    RunPlan,
    check,
    schema_of,
)
from scorer.files.local_files import LocalFiles
from scorer.job.start import (
    open_manifest,
)
from scorer.output import segments as seg
from scorer.output.layout import Layout, Segment
from scorer.output.scan import scan_scores
from scorer.output.seal import MERGE_AT
from scorer.types import Shard

FLUSH_ROWS = 1000
BLOCK = 25 * seg.WINDOW
"""Rows made at once."""
SHAPES = ("sealed", "open")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--shards", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--keep", type=Path, help="make the folders here, or find them here as an earlier call left them"
    )
    options = parser.parse_args()
    folder = options.keep or Path(tempfile.mkdtemp(prefix="resume-"))
    results: dict[str, Any] = {"rows": options.rows, "shards": options.shards}
    try:
        for shape in SHAPES:
            root = folder / shape
            if not root.exists():
                make(root, shape, options.rows, options.shards)
            measured = [first_request(root) for _ in range(options.repeats)]
            times, cpu = zip(*measured, strict=True)
            results[shape] = {
                "first_request": round(statistics.median(times), 3),
                "worst": round(max(times), 3),
                "cpu": round(statistics.median(cpu), 3),
            }
            print(f"{shape:8}{results[shape]}", flush=True)
        results["scan"] = _scanned(folder / "sealed" / "out")
        print(f"scan    {results['scan']}", flush=True)
    finally:
        if options.keep is None:
            shutil.rmtree(folder)
    print(json.dumps(results))


# --- the folders ------------------------------------------------------------------------------------------------------


def make(root: Path, shape: str, rows: int, shards: int) -> None:
    began = time.perf_counter()
    (root / "in").mkdir(parents=True)
    if shape == "sealed":
        each = max(1, rows // shards)
        for number in range(shards):
            _input(root / "in" / f"{number:05d}.parquet", each)
        _input(root / "in" / "last.parquet", 1000)
    else:
        _input(root / "in" / "one.parquet", rows)
    plan, files, layout = check(_tree(root, "http://127.0.0.1:1")), LocalFiles(), Layout(str(root / "out"))
    manifest = open_manifest(plan, files, layout)
    for shard in manifest.shards:
        if shape == "open":
            _under_way(plan, files, layout, shard)
        elif shard.stem != "last":
            _write(plan, files, layout.sealed(shard.stem), shard, 0, shard.rows)
            Path(layout.segments, shard.stem).mkdir(parents=True)  # empty, as a run leaves it
    print(f"{shape}: made in {time.perf_counter() - began:.0f} s", flush=True)


def _input(path: Path, rows: int) -> None:
    schema = pa.schema([("id", pa.string()), ("response", pa.string())])
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for start in range(0, rows, BLOCK):
            numbers = pa.array(np.arange(start, min(rows, start + BLOCK)))
            ids = pc.binary_join_element_wise("r", pc.cast(numbers, pa.string()), "")
            texts = pc.binary_join_element_wise("It is about number", pc.cast(numbers, pa.string()), " ")
            writer.write_table(pa.Table.from_arrays([ids, texts], schema=schema))


def _under_way(plan: RunPlan, files: LocalFiles, layout: Layout, shard: Shard) -> None:
    """The flushes of a run that merges at each factor of MERGE_AT; rows come a little out of order."""
    done, low = shard.rows - max(1, shard.rows // 1000), 0
    flushes = done // FLUSH_ROWS
    size = 1
    while size * MERGE_AT <= flushes:
        size *= MERGE_AT
    while flushes:
        size = size if size <= flushes else max(1, size // MERGE_AT)
        if size <= flushes:
            first, last = low * FLUSH_ROWS, (low + size) * FLUSH_ROWS - 1
            segment = Segment(shard.stem, 0, 0, first, last, low, low + size - 1)
            _write(plan, files, layout.segment(segment), shard, first, last + 1)
            low, flushes = low + size, flushes - size


def _write(plan: RunPlan, files: LocalFiles, path: str, shard: Shard, first: int, stop: int) -> None:
    schema = schema_of(plan, files, shard)
    with files.create(path) as file:
        tables = (_results(plan, schema, shard, at, min(stop, at + BLOCK)) for at in range(first, stop, BLOCK))
        windows = (table.slice(at, seg.WINDOW) for table in tables for at in range(0, table.num_rows, seg.WINDOW))
        seg.write(file, windows, schema, seg.about(shard, plan.fingerprint, 0, run=""))


def _results(plan: RunPlan, schema: pa.Schema, shard: Shard, first: int, stop: int) -> pa.Table:
    """As `to_table` makes them, all at once."""
    rows = np.arange(first, stop)
    count = len(rows)
    finished = pa.array(1_790_000_000_000_000 + rows * 137, pa.int64()).cast(pa.timestamp("us", tz="UTC"))
    columns: dict[str, Any] = {
        "shard": pa.repeat(shard.path, count),
        "row": pa.array(rows),
        "id": pc.binary_join_element_wise("r", pc.cast(pa.array(rows), pa.string()), ""),
        "score": pa.array(rows % 10 + 1.0),
        "finish_reason": pa.repeat("stop", count),
        "raw": pa.ListArray.from_arrays(np.arange(count + 1, dtype=np.int32), pa.repeat("Score: 4", count)),
        "model": pa.repeat("wire", count),
        "judge": pa.repeat(plan.fingerprint, count),
        "method": pa.repeat("number", count),
        "samples": pa.array(np.ones(count, np.int32)),
        "prompt_tokens": pa.array(rows % 97 + 200),
        "completion_tokens": pa.array(rows % 3 + 4),
        "attempts": pa.array(np.ones(count, np.int32)),
        "waited_s": pa.array(rows % 101 * 0.01),
        "answered_s": pa.array(rows % 1009 * 0.001),
        "finished_at": finished,
        "generation": pa.array(np.zeros(count, np.int32)),
    }
    missing: Iterator[str] = (name for name in schema.names if name not in columns)
    columns |= {name: pa.nulls(count, schema.field(name).type) for name in list(missing)}
    return pa.Table.from_arrays([columns[name].cast(schema.field(name).type) for name in schema.names], schema=schema)


def _tree(root: Path, url: str) -> dict[str, Any]:
    return {
        "input": {"shards": [f"{root}/in/*.parquet"], "id": "id"},
        "judge": {"prompt": "[row:{id}] Rate from 1 to 10.\n{response}\nScore:", "scale": [1, 10]},
        "model": {"name": "judge", "base_url": url, "price": {"input": 1.0, "output": 2.0}},
        "limits": {"concurrency": 8, "max_tokens": 10**12},
        "output": {"path": str(root / "out")},
    }


# --- what is timed ----------------------------------------------------------------------------------------------------


def first_request(root: Path) -> tuple[float, float]:
    """Seconds from the start of the command to the first byte of its first request, and of CPU until then."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(120)
        path = root / "run.toml"
        path.write_text(_toml(_tree(root, f"http://127.0.0.1:{server.getsockname()[1]}/v1")))
        began = time.perf_counter()
        command = [sys.executable, "-m", "scorer", "run", str(path), "--quiet"]
        process = subprocess.Popen(command)
        try:
            connection, _ = server.accept()
            with connection:
                connection.recv(1)
            seconds = time.perf_counter() - began
        finally:
            process.kill()
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        return seconds, used.ru_utime + used.ru_stime


def _toml(tree: dict[str, dict[str, Any]]) -> str:
    lines = []
    for table, keys in tree.items():
        prices = {"price": "{input = 1.0, output = 2.0}"}
        lines += [f"[{table}]", *(f"{key} = {prices.get(key) or json.dumps(value)}" for key, value in keys.items())]
    return "\n".join(lines)


def _scanned(out: Path) -> dict[str, float]:
    import polars as pl

    times = {}
    began = time.perf_counter()
    frame = scan_scores(str(out))
    times["scan"] = time.perf_counter() - began
    for name, question in (("count", pl.len()), ("mean", pl.col("score").mean())):
        began = time.perf_counter()
        frame.select(question).collect()
        times[name] = time.perf_counter() - began
    return {name: round(seconds, 3) for name, seconds in times.items()}


if __name__ == "__main__":
    main()
