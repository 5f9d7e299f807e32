"""The share of a provider's limits that a run uses, and its 429s; by hand, a minute for each case.

    python -m benchmarks.limits [--case NAME ...] [--who NAME ...] [--requests-per-minute 6000]
                                [--tokens-per-minute 1000000]

The rehearsal judge (800 ms median) enforces the limits; `scorer run` (and each peer with a limiter, `--who`) is given
the same two numbers and nothing of how the judge counts them. Counted are the judge's own seconds 5 to 55: what it
charged, over what it allowed. A lenient bucket starts with a minute's worth in it, so a share above 1 is possible
there. In some cases the judge changes a limit while the run goes on, and only its headers tell: the share is then the
mean of the stretches between, by their length. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import signal
import subprocess
import tempfile
import time
from dataclasses import replace
from typing import Any

from benchmarks import judge
from benchmarks.field import CONTENDERS, ROOT, command_of, environment_in, rows
from benchmarks.task import Task
from scorer.errors import Interrupted

FIRST_S, LAST_S = 5, 55
ROWS = 20_000
CASES: dict[str, dict[str, Any]] = {
    "bucket of 1 s": {"window": "bucket", "burst_s": 1.0},
    "bucket of 60 s": {"window": "bucket", "burst_s": 60.0},
    "sliding window": {"window": "sliding"},
    "requests bind": {"window": "bucket", "burst_s": 1.0, "tokens_per_minute": 4_000_000},
    "requests, then tokens": {"window": "bucket", "burst_s": 1.0, "tokens_per_minute": 4_000_000},
    "half, then whole": {"window": "bucket", "burst_s": 1.0},
}
CHANGES: dict[str, dict[int, float]] = {
    "requests, then tokens": {30: 1 / 4},
    "half, then whole": {20: 1 / 2, 40: 1.0},
}
"""By case: from this second on, so much of the declared tokens a minute."""


WHO = ("scorer", "cookbook", "curator")
"""Who paces itself by the minute; the others only retry."""


def use(who: str, case: dict[str, Any], changes: dict[int, float], options: argparse.Namespace) -> dict[str, Any]:
    """Runs against a judge with these limits for a minute and reads its counters."""
    mine, theirs = judge.cores()
    limits = {
        "requests_per_minute": options.requests_per_minute,
        "tokens_per_minute": case.get("tokens_per_minute", options.tokens_per_minute),
    }
    settings = {**case, **limits, "chars_per_token": 4.6}
    with judge.rehearsal(theirs, **settings) as process, tempfile.TemporaryDirectory(prefix="bench-limits-") as folder:
        variant = "+".join(f"{name}={value}" for name, value in limits.items())
        contender = replace(CONTENDERS[who], variant=variant)
        command = command_of(contender, Task(rows(ROWS), process.url, f"{folder}/out", 512, variant))
        os.mkdir(f"{folder}/out")
        process.reset()
        began = time.monotonic()  # as the judge counts its seconds
        environment = environment_in(folder)
        heard = None if who == "scorer" else subprocess.DEVNULL
        with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=heard) as child:
            judge.pin(child.pid, mine)
            for second, part in [*changes.items(), (LAST_S + 1, None)]:
                time.sleep(max(0.0, began + second - time.monotonic()))
                if part is not None:
                    process.configure(tokens_per_minute=part * limits["tokens_per_minute"])
            stats = process.stats()
            over = child.poll()
            child.send_signal(signal.SIGINT if who == "scorer" else signal.SIGKILL)
        if over is not None or (who == "scorer" and child.returncode != Interrupted.exit_code):
            raise SystemExit(f"{who} ended by itself, with {child.returncode}, before the minute was over")
    seconds = {second: counts for second, *counts in stats["timeline"]}
    stretches = []
    edges = [FIRST_S, *changes, LAST_S]
    for start, end, part in zip(edges, edges[1:], [1.0, *changes.values()], strict=False):
        window = [seconds.get(second, [0, 0, 0, 0]) for second in range(start, end)]
        charged, throttled = sum(counts[3] for counts in window), sum(counts[2] for counts in window)
        admitted = sum(counts[0] for counts in window) - throttled
        minutes = (end - start) / 60
        shares = {
            "tokens": charged / (limits["tokens_per_minute"] * part * minutes),
            "requests": admitted / (limits["requests_per_minute"] * minutes),
        }
        stretches.append({"from_s": start, "to_s": end, "r429": throttled, "shares": shares})
    share = sum((s["to_s"] - s["from_s"]) * max(s["shares"].values()) for s in stretches) / (LAST_S - FIRST_S)
    return {**limits, "share": share, "stretches": stretches, "r429": stats["r429"], "ok": stats["ok"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", nargs="*", default=list(CASES), choices=CASES)
    parser.add_argument("--who", nargs="*", default=["scorer"], choices=WHO)
    parser.add_argument("--requests-per-minute", type=int, default=6_000)
    parser.add_argument("--tokens-per-minute", type=int, default=1_000_000)
    options = parser.parse_args()
    result: dict[str, dict[str, Any]] = {}
    print("| judge | who | binds | share of the allowed | 429s |\n| --- | --- | --- | ---: | ---: |", flush=True)
    for name, who in itertools.product(options.case, options.who):
        found = use(who, CASES[name], CHANGES.get(name, {}), options)
        result.setdefault(name, {})[who] = found
        binds = ", ".join(max(one["shares"], key=one["shares"].get) for one in found["stretches"])
        print(f"| {name} | {who} | {binds} | {found['share']:.3f} | {found['r429']} |", flush=True)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
