"""Which share of what a provider allows a run uses, and how many 429s that costs; by hand, a minute for each case.

    python -m benchmarks.limits [--case NAME ...] [--requests-per-minute 6000] [--tokens-per-minute 1000000]

The rehearsal judge (800 ms median) enforces the limits; `scorer run` is told the same two numbers and nothing of how
the judge counts them. Counted are the judge's own seconds 5 to 55: what it charged, over what it allowed. A lenient
bucket starts with a minute's worth in it, so a share above 1 is possible there. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from typing import Any

from benchmarks import judge
from benchmarks.field import CONTENDERS, ROOT, ranks, rows
from scorer.errors import Interrupted

FIRST_S, LAST_S = 5, 55
ROWS = 20_000
CASES: dict[str, dict[str, Any]] = {
    "bucket of 1 s": {"window": "bucket", "burst_s": 1.0},
    "bucket of 60 s": {"window": "bucket", "burst_s": 60.0},
    "sliding window": {"window": "sliding"},
    "requests bind": {"window": "bucket", "burst_s": 1.0, "tokens_per_minute": 4_000_000},
}


def use(case: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    """Runs against a judge with these limits for a minute and reads its books."""
    mine, theirs = judge.cores()
    limits = {
        "requests_per_minute": options.requests_per_minute,
        "tokens_per_minute": case.get("tokens_per_minute", options.tokens_per_minute),
    }
    told = {**case, **limits, "chars_per_token": 4.6}
    with judge.rehearsal(theirs, **told) as process, tempfile.TemporaryDirectory(prefix="bench-limits-") as folder:
        variant = "+".join(f"{name}={value}" for name, value in limits.items())
        command = [sys.executable, "-m", f"benchmarks.contenders.{CONTENDERS['scorer'].module}"]
        command += ["--rows", rows(ROWS), "--url", process.url, "--out", f"{folder}/out"]
        command += ["--in-flight", "512", "--variant", variant]
        process.reset()
        environment = os.environ | {"TIKTOKEN_CACHE_DIR": ranks()}
        with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL) as child:
            judge.pin(child.pid, mine)
            time.sleep(LAST_S + 1)
            books = process.stats()
            child.send_signal(signal.SIGINT)
        if child.returncode != Interrupted.exit_code:
            raise SystemExit(f"scorer run ended by itself, with {child.returncode}, before the minute was over")
    seconds = {second: counts for second, *counts in books["timeline"]}
    window = [seconds.get(second, [0, 0, 0, 0]) for second in range(FIRST_S, LAST_S)]
    allowed_s = (LAST_S - FIRST_S) / 60
    charged, throttled = sum(counts[3] for counts in window), sum(counts[2] for counts in window)
    admitted = sum(counts[0] for counts in window) - throttled
    shares = {
        "tokens": charged / (limits["tokens_per_minute"] * allowed_s),
        "requests": admitted / (limits["requests_per_minute"] * allowed_s),
    }
    return {**limits, "share": max(shares.values()), "shares": shares, "r429": books["r429"], "ok": books["ok"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", nargs="*", default=list(CASES), choices=CASES)
    parser.add_argument("--requests-per-minute", type=int, default=6_000)
    parser.add_argument("--tokens-per-minute", type=int, default=1_000_000)
    options = parser.parse_args()
    result = {}
    print("| judge | binds | share of the allowed | 429s |\n| --- | --- | ---: | ---: |", flush=True)
    for name in options.case:
        found = result[name] = use(CASES[name], options)
        binds = max(found["shares"], key=found["shares"].get)
        print(f"| {name} | {binds} | {found['share']:.3f} | {found['r429']} |", flush=True)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
