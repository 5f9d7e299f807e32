"""The cost of a shard: CPU per row, rows per second and files left, by the number of shards and of workers.

    python -m benchmarks.shards [--shapes 1x20000 100x200 1x2000 2000x1] [--workers 1 2] [--repeats 3]

A shape is SHARDSxROWS, the rows of each shard. nginx answers at once. The CPU is that of the whole command with its
workers, less that of a run over one shard of 100 rows. `files` are those in the output folder at the end. The last line
is one JSON object; `cpu_to_first` is the CPU a row over that of the first shape with the same workers.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import pyarrow.parquet as pq

from benchmarks import judge
from benchmarks.field import CACHE, Contender, Took, measure, rows
from benchmarks.run import FEW, asked

SHAPES = ["1x20000", "100x200", "1x2000", "2000x1"]


def made(shape: str) -> str:
    """The folder with the shards of a shape: the benchmark's rows, cut. Made once, under .cache/."""
    shards, each = map(int, shape.split("x"))
    whole = Path(rows(shards * each))
    folder = CACHE / f"{whole.stem}-{shape}"
    if not folder.exists():
        partial = Path(tempfile.mkdtemp(dir=CACHE))
        number = 0
        for batch in pq.ParquetFile(whole).iter_batches(batch_size=each):  # row groups are multiples of small shards
            for start in range(0, batch.num_rows, each):
                piece = batch.slice(start, each)
                if piece.num_rows < each:
                    raise SystemExit(f"{shape}: its rows do not divide the row groups of {whole}")
                with pq.ParquetWriter(partial / f"part-{number:05d}.parquet", piece.schema, compression="zstd") as out:
                    out.write_batch(piece)
                number += 1
        partial.rename(folder)
    return str(folder)


def figures(shape: str, few: list[Took], taken: list[Took], files: int) -> dict[str, float]:
    shards, each = map(int, shape.split("x"))
    start, whole = (median(took.cpu_s for took in some) for some in (few, taken))
    return {
        "cpu_us_per_row": round((whole - start) / (shards * each - FEW) * 1e6, 1),
        "rows_per_s": round(shards * each / median(took.wall_s for took in taken), 1),
        "wall_s": round(median(took.wall_s for took in taken), 2),
        "files": files,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="+", default=SHAPES)
    parser.add_argument("--workers", nargs="+", type=int, default=[1])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--in-flight", type=int, default=512)
    options = parser.parse_args()
    folders = {shape: made(shape) for shape in options.shapes}
    mine, theirs = judge.cores()
    results: dict[str, Any] = {"in_flight": options.in_flight, "repeats": options.repeats}
    load = [round(os.getloadavg()[0], 1)]
    with asked("nginx", theirs, 0.0) as (url, about), tempfile.TemporaryDirectory(prefix="bench-shards-") as kept:
        print(f"{options.in_flight} in flight, {about}", flush=True)
        for workers in options.workers:
            who = Contender("scorer_run", f"workers={workers}" if workers > 1 else "")
            cpu = mine if workers == 1 else None
            few: list[Took] = []
            taken: dict[str, list[Took]] = {shape: [] for shape in options.shapes}
            files: dict[str, int] = {}
            for _ in range(options.repeats):
                few.append(measure(who, FEW, url, options.in_flight, cpu))
                for shape, folder in folders.items():
                    out = f"{kept}/out"
                    took = measure(who, FEW, url, options.in_flight, cpu, 7200, path=folder, keep=out)
                    taken[shape].append(took)
                    files[shape] = sum(len(names) for _, _, names in os.walk(out))
                    shutil.rmtree(out)
            found: dict[str, dict[str, float]] = {}
            for shape in options.shapes:
                found[shape] = one = figures(shape, few, taken[shape], files[shape])
                one["cpu_to_first"] = round(one["cpu_us_per_row"] / found[options.shapes[0]]["cpu_us_per_row"], 2)
                print(f"{workers} workers {shape:12}{one}", flush=True)
            results[f"workers={workers}"] = found
    results["load"] = [*load, round(os.getloadavg()[0], 1)]
    print(json.dumps(results))


if __name__ == "__main__":
    main()
