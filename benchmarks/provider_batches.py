"""A run through provider batches beside the same rows online: CPU, memory, files and money; by hand, some minutes.

    python -m benchmarks.provider_batches [--rows 100000] [--chunk 20000] [--online-rows 20000] [--deadline-rows 20000]

The rehearsal judge is the provider, in a process of its own. CPU is that of scorer's process, less that of a run over
100 rows of the same mode. `files` are those in the output folder at the end, `open_files` the most that scorer's
process had open when looked at, ten times a second. Money is compared over the first `--online-rows` rows of both runs.
The run with a deadline has chunks of 1,000 rows, which the provider works on for `--work` seconds, and a deadline
`--after` seconds from its start: `moved_online` is the share of its rows that were asked online. 0 rows leave a part
out. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks import judge
from benchmarks.field import ROOT, Contender, Took, measure
from benchmarks.run import FEW

DEADLINE_CHUNK = 1000
PATIENCE_S = 3600
LOOK_S = 0.1


@contextmanager
def watched() -> Iterator[list[int]]:
    """The most files that a child of this process, `python -m scorer run`, has open meanwhile; as the one item."""
    most, ended = [0], threading.Event()

    def look() -> None:
        while not ended.wait(LOOK_S):
            for child in _children():
                with suppress(OSError):  # it has ended
                    if b"\0scorer\0run\0" in Path(f"/proc/{child}/cmdline").read_bytes():
                        most[0] = max(most[0], len(os.listdir(f"/proc/{child}/fd")))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield most
    finally:
        ended.set()
        thread.join()


def _children() -> list[str]:
    """Ids of this process's children; none where there is no /proc."""
    found: list[str] = []
    for task in Path("/proc/self/task").glob("*/children"):
        with suppress(OSError):
            found += task.read_text().split()
    return found


def table(out: str, first: int) -> dict[str, Any]:
    """Money and ways of the rows of an output folder, in a process of its own, whose memory is not measured."""
    text = subprocess.run(
        [sys.executable, "-m", "benchmarks.provider_batches", "--read", out, str(first)],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    found: dict[str, Any] = json.loads(text)
    return found


def read(out: str, first: int) -> dict[str, Any]:
    """`usd` of all rows, `usd_first` of the first ones by id, `online` rows that no batch answered."""
    import polars as pl  # here: see `table`

    rows = pl.scan_parquet(f"{out}/scores/*.parquet").select("id", "batch", "cost_microusd").collect()
    of_first = rows.sort("id").head(first)
    return {
        "usd": int(rows["cost_microusd"].sum()) / 1e6,
        "usd_first": int(of_first["cost_microusd"].sum()) / 1e6,
        "online": rows["batch"].null_count(),
    }


def figures(count: int, few: Took, took: Took, out: str, first: int, open_files: int) -> dict[str, Any]:
    found = table(out, first)
    return {
        "rows": count,
        "cpu_us_per_row": round((took.cpu_s - few.cpu_s) / (count - FEW) * 1e6, 1),
        "wall_s": round(took.wall_s, 1),
        "peak_mb": round(took.peak_mb, 1),
        "files": sum(len(names) for _, _, names in os.walk(out)),
        "open_files": open_files,
        "usd": round(found["usd"], 4),
        "usd_first": round(found["usd_first"], 4),
        "moved_online": round(found["online"] / count, 4),
    }


def measured(name: str, count: int, first: int, in_flight: int, batch: dict[str, Any] | None, work_s: float) -> Any:
    """A run over so many rows, and one over 100 before it, each against a provider of its own."""
    mine, theirs = judge.cores()
    took: list[Took] = []
    with tempfile.TemporaryDirectory(prefix="bench-batches-") as kept, watched() as most:
        out = f"{kept}/out"
        for rows, keep in ((FEW, None), (count, out)):
            with judge.rehearsal(
                theirs, latency_median_s=0.0, chars_per_token=4.6, batch={"work_s": work_s if keep else 1.0}
            ) as process:
                options = dict(batch or {})
                if keep and (after := options.pop("after_s", None)) is not None:
                    options["deadline"] = (datetime.now() + timedelta(seconds=after)).isoformat(timespec="seconds")
                options.pop("after_s", None)
                who = Contender("scorer_run", f"batch={json.dumps(options)}" if batch else "")
                took.append(measure(who, rows, process.url, in_flight, mine, PATIENCE_S, keep=keep))
                paid = process.stats() if keep else None
        found = figures(count, took[0], took[1], out, first, most[0])
    assert paid is not None
    found["paid_again"] = paid["paid_again"] + paid["batches"]["paid_again"]
    found["batches"] = paid["batches"].get("batches", 0)
    print(f"{name:10}{found}", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--chunk", type=int, default=20_000, help="rows of one batch")
    parser.add_argument("--online-rows", type=int, default=20_000)
    parser.add_argument("--deadline-rows", type=int, default=20_000)
    parser.add_argument("--work", type=float, default=40.0, help="seconds a batch takes in the run with a deadline")
    parser.add_argument("--after", type=float, default=30.0, help="seconds from its start to its deadline")
    parser.add_argument("--in-flight", type=int, default=512)
    parser.add_argument("--read", nargs=2, metavar=("OUT", "FIRST"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.read:
        print(json.dumps(read(options.read[0], int(options.read[1]))))
        return
    first = min(options.rows or options.online_rows, options.online_rows)
    results: dict[str, Any] = {"chunk": options.chunk, "in_flight": options.in_flight, "load": [_load()]}
    if options.online_rows:
        results["online"] = measured("online", options.online_rows, first, options.in_flight, None, 1.0)
    if options.rows:
        batch = {"max_requests": options.chunk, "min_requests": 1}
        results["batches"] = measured("batches", options.rows, first, options.in_flight, batch, 2.0)
    if options.rows and options.online_rows:
        results["money_to_online"] = round(results["batches"]["usd_first"] / results["online"]["usd_first"], 4)
    if options.deadline_rows:
        batch = {"max_requests": DEADLINE_CHUNK, "min_requests": 1, "after_s": options.after}
        count = options.deadline_rows
        results["deadline"] = measured("deadline", count, count, options.in_flight, batch, options.work)
    results["load"].append(_load())
    print(json.dumps(results))


def _load() -> float:
    return round(os.getloadavg()[0], 1)


if __name__ == "__main__":
    main()
