"""Throughput of `concurrency = "auto"` beside the best fixed number; by hand, five minutes a case.

    python -m benchmarks.auto [--case NAME ...] [--places 100] [--latency 0.5]

The rehearsal judge (of that median latency, in seconds) has so many places; beyond them a request waits its turn, as at
a vLLM replica whose batch is full, or gets a 429. Auto gets no limit. Its ok replies from second 60 to 90 are set
against the best of three fixed numbers around the judge's places, each in its own seconds 10 to 30; then the judge
loses half of its places without a word, and gets them back 45 s later: each time the last 15 s before the next change
count, against the same share of the best. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import tempfile
import time
from typing import Any

from benchmarks import judge
from benchmarks.contenders import scorer_run
from benchmarks.field import NO_PROXY, ROOT, rows
from benchmarks.task import KEY, Task
from scorer.errors import Interrupted

CASES = {"waits": "queue", "429": "429"}
FIXED = (0.9, 1.0, 1.25)
"""Fixed numbers in flight, as parts of the judge's places."""
CHANGES = {90: 0.5, 135: 1.0}
"""From this second on, so much of the judge's places."""
WINDOWS = {"whole": (60, 90, 1.0), "half": (120, 135, 0.5), "whole again": (165, 180, 1.0)}
ROWS = 200_000


def seconds(mode: str, options: argparse.Namespace, fixed: int | None, until: int) -> dict[int, list[int]]:
    """By the judge's counters: requests, ok replies, 429s and tokens of each second of a run; `fixed` None is auto."""
    mine, theirs = judge.cores()
    settings = {"capacity": options.places, "capacity_mode": mode, "latency_median_s": options.latency}
    with judge.rehearsal(theirs, **settings) as process, tempfile.TemporaryDirectory(prefix="bench-auto-") as folder:
        os.mkdir(f"{folder}/out")
        variant = "auto" if fixed is None else ""
        command = scorer_run.command(Task(rows(ROWS), process.url, f"{folder}/out", fixed or 1, variant))
        process.reset()
        began = time.monotonic()  # as the judge counts its seconds
        environment = os.environ | {"TMPDIR": folder, "OPENAI_API_KEY": KEY} | NO_PROXY
        with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL) as child:
            judge.pin(child.pid, mine)
            for second, part in [*({} if fixed else CHANGES).items(), (until, None)]:
                time.sleep(max(0.0, began + second - time.monotonic()))
                if part is not None:
                    process.configure(capacity=int(part * options.places))
            stats = process.stats()
            over = child.poll()
            child.send_signal(signal.SIGINT)
        if over is not None or child.returncode != Interrupted.exit_code:
            raise SystemExit(f"scorer ended by itself, with {child.returncode}, before the time was over")
    return {second: counts for second, *counts in stats["timeline"]}


def pace(counts: dict[int, list[int]], start: int, end: int) -> float:
    """Ok replies a second in these seconds."""
    return sum(counts.get(second, [0, 0])[1] for second in range(start, end)) / (end - start)


def compare(mode: str, options: argparse.Namespace) -> dict[str, Any]:
    """The best of the fixed numbers, and auto's share of it in each window."""
    best = max(pace(seconds(mode, options, int(part * options.places), 32), 10, 30) for part in FIXED)
    counts = seconds(mode, options, None, 181)
    shares = {name: pace(counts, start, end) / (best * part) for name, (start, end, part) in WINDOWS.items()}
    first = [counts[second] for second in counts if second < min(CHANGES)]
    throttled = sum(c[2] for c in first) / sum(c[0] for c in first)
    later = sum(c[2] for c in counts.values()) / sum(c[0] for c in counts.values())
    return {"best": best, "shares": shares, "throttled_in_90_s": throttled, "throttled": later}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", nargs="*", default=list(CASES), choices=CASES)
    parser.add_argument("--places", type=int, default=100)
    parser.add_argument("--latency", type=float, default=0.5)
    options = parser.parse_args()
    result: dict[str, dict[str, Any]] = {}
    print("| beyond its places | best fixed, ok/s | " + " | ".join(WINDOWS) + " | 429s in 90 s | in all |", flush=True)
    print("| --- | ---: | " + "---: | " * len(WINDOWS) + "---: | ---: |", flush=True)
    for name in options.case:
        found = result[name] = compare(CASES[name], options)
        shares = " | ".join(f"{share:.3f}" for share in found["shares"].values())
        throttled = f"{found['throttled_in_90_s']:.2%} | {found['throttled']:.2%}"
        print(f"| {name} | {found['best']:.1f} | {shares} | {throttled} |", flush=True)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
