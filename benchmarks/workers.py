"""Rows per second and CPU of `scorer run --workers N` for several N, against nginx.

    .venv/bin/python -m benchmarks.workers --rows 200000 --workers 1 2

Nothing is pinned but the judge, and it only where a further core is free for it: on two cores nginx, the owner and two
workers share them. So the CPU a row stands beside the seconds: it bounds what workers can do with cores of their own.
Repeats are interleaved, figures are medians. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import astuple
from statistics import median
from typing import Any

from benchmarks.field import Contender, Took, measure
from benchmarks.run import FEW, asked


def contender(workers: int) -> Contender:
    return Contender("scorer_run", f"workers={workers}")


def compare(options: argparse.Namespace) -> dict[str, Any]:
    """The medians by number of workers, and their ratios to the first."""
    cores = sorted(os.sched_getaffinity(0))
    spare = cores[-1] if len(cores) > max(options.workers) + 1 else None
    taken: dict[int, list[tuple[Took, Took]]] = {workers: [] for workers in options.workers}
    load = [round(os.getloadavg()[0], 1)]
    with asked("nginx", spare, 0.0) as (url, about):
        for repeat in range(options.repeats):
            for workers in options.workers:
                few, took = (
                    measure(contender(workers), rows, url, options.in_flight, None) for rows in (FEW, options.rows)
                )
                taken[workers].append((few, took))
                print(f"  {repeat + 1} {workers} workers{took.wall_s:8.2f} s{options.rows / took.wall_s:9.0f} rows/s")
    load.append(round(os.getloadavg()[0], 1))
    found = {workers: figures(options.rows, runs) for workers, runs in taken.items()}
    first = found[options.workers[0]]
    for one in found.values():
        one["to_first"] = one["steady_rows_per_s"] / first["steady_rows_per_s"]
        one["cpu_to_first"] = first["cpu_us_per_row"] / one["cpu_us_per_row"]
    return {
        "rows": options.rows,
        "in_flight": options.in_flight,
        "judge": about,
        "cores": len(cores),
        "load": load,
        "repeats": options.repeats,
        "workers": found,
    }


def figures(rows: int, runs: list[tuple[Took, Took]]) -> dict[str, float]:
    few = Took(*(median(values) for values in zip(*(astuple(one) for one, _ in runs), strict=True)))
    all_ = Took(*(median(values) for values in zip(*(astuple(one) for _, one in runs), strict=True)))
    return {
        "rows_per_s": rows / all_.wall_s,
        "steady_rows_per_s": (rows - FEW) / (all_.wall_s - few.wall_s),
        "cpu_us_per_row": (all_.cpu_s - few.cpu_s) / (rows - FEW) * 1e6,
        "cores_busy": all_.cpu_s / all_.wall_s,
        "start_s": few.wall_s,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--in-flight", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=3)
    result = compare(parser.parse_args())
    for workers, one in result["workers"].items():
        print(f"{workers} workers: " + ", ".join(f"{name} {value:.2f}" for name, value in one.items()))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
