"""A soak test: millions of rows, a judge with faults, repeated kill -9, and then a check of the table.

    python -m benchmarks.soak [--rows 2000000] [--kill-every 30] [--fault 0.005] [--in-flight 512]

The rehearsal judge answers at once but for its faults, `scorer run` is killed every so many seconds (drawn between half
and one and a half times that) and started again, until it ends by itself. Told: the table against what the judge says
of each row, rows paid twice a kill against the bound (in flight + 2 x flush_rows), and over the longest stretches the
resident memory and the open files of the run, first quarter against last. Any row missing, doubled or wrong ends it
with exit 1. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path
from statistics import median
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.judge import cores, pin, rehearsal
from scorer.output.scan import scan_scores

ROOT = Path(__file__).parents[1]
SHARDS = 20
FLUSH_ROWS = 1000
SAMPLE_S = 0.5
_RUN_FILE = """
[input]
shards = ["{folder}/in/*.parquet"]
id = "id"

[judge]
prompt = "Rate it from 1 to 5: {{text:fenced}} [row:{{id}}] Reply with one line: Score: <number>"
scale = [1, 5]
attempts = 10

[model]
name = "rehearsal-judge"
base_url = "{url}"
timeout_s = 10

[limits]
concurrency = {in_flight}
max_usd = 1000000.0

[output]
path = "{folder}/out"
flush_rows = {flush}
"""
_PRICE = "\n[model.price]\ninput = 0.15\noutput = 0.60\n"


def make(folder: str, rows: int) -> None:
    """The input: SHARDS files of short rows, `id` running through all of them."""
    os.makedirs(f"{folder}/in")
    step = -(-rows // SHARDS)
    for shard, start in enumerate(range(0, rows, step)):
        ids = [f"r{n:08d}" for n in range(start, min(rows, start + step))]
        texts = [f"Answer {n} of a model to a question that many have asked before." for n in ids]
        pq.write_table(pa.table({"id": ids, "text": texts}), f"{folder}/in/s{shard:03d}.parquet")


class Watched:
    """One process of the run, its memory and open files noted every SAMPLE_S seconds until it ends or is killed."""

    def __init__(self, command: list[str], cpu: int | None) -> None:
        self.samples: list[tuple[float, int]] = []
        self._child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        pin(self._child.pid, cpu)

    def until(self, patience_s: float | None) -> int | None:
        """The exit code; None where it was killed after `patience_s`."""
        began = time.monotonic()
        while self._child.poll() is None:
            if patience_s is not None and time.monotonic() - began > patience_s:
                self._child.send_signal(signal.SIGKILL)
                self._child.communicate()
                return None
            self._note()
            time.sleep(SAMPLE_S)
        self.said = self._child.communicate()[1].decode(errors="replace")[-2000:]
        return self._child.returncode

    def _note(self) -> None:
        process = f"/proc/{self._child.pid}"
        try:
            status, files = Path(process, "status").read_text(), len(os.listdir(f"{process}/fd"))
        except OSError:
            return  # it has just ended
        resident = next((line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")), None)
        if resident is not None:
            self.samples.append((int(resident) / 1024, files))


def quarters(samples: list[tuple[float, int]], column: int) -> list[float]:
    """The medians of the second and the last quarter of a process's life; its first one is the start."""
    values, step = [sample[column] for sample in samples], max(1, len(samples) // 4)
    return [round(median(values[step : 2 * step]), 1), round(median(values[-step:]), 1)]


def wrong_rows(folder: str, rows: int) -> int:
    """Rows that are missing, there twice, failed, or have another score than the judge gave them."""
    found = scan_scores(f"{folder}/out").select("id", "score", "error").collect()
    own = pl.Series([1.0 + zlib.crc32(name.encode()) % 5 for name in found["id"]])
    bad = int((found["score"].is_null() | (found["score"] != own)).sum())
    return bad + abs(rows - found["id"].n_unique()) + len(found) - found["id"].n_unique()


def soak(options: argparse.Namespace, folder: str) -> dict[str, Any]:
    make(folder, options.rows)
    mine, theirs = cores()
    faults = dict.fromkeys(("429", "500", "503", "reset", "cut", "truncate", "html", "error_200"), options.fault)
    config = {f"fault_{name}": share for name, share in faults.items()}
    command = [sys.executable, "-m", "scorer", "run", f"{folder}/run.toml"]
    draw, lives, kills, began = random.Random(options.seed), [], 0, time.monotonic()
    with rehearsal(theirs, latency_median_s=0.0, retry_after_s=0.2, **config) as judge:
        text = _RUN_FILE.format(folder=folder, url=judge.url, in_flight=options.in_flight, flush=FLUSH_ROWS) + _PRICE
        Path(f"{folder}/run.toml").write_text(text, "utf-8")
        while True:
            life = Watched(command, mine)
            lives.append(life)
            code = life.until(draw.uniform(0.5, 1.5) * options.kill_every)
            if code is not None:
                break
            kills += 1
            print(f"kill {kills} after {time.monotonic() - began:.0f} s, {judge.stats()['rows_paid']} rows", flush=True)
        seconds, stats = time.monotonic() - began, judge.stats()
    if code:
        raise SystemExit(f"scorer run ended with {code}: {life.said}")
    verified = subprocess.run([sys.executable, "-m", "scorer", "verify", f"{folder}/out"], cwd=ROOT, check=False)
    longest = sorted(lives, key=lambda life: -len(life.samples))[:5]
    return {
        "rows": options.rows,
        "seconds": round(seconds, 1),
        "rows_per_s": round(options.rows / seconds),
        "kills": kills,
        "wrong": wrong_rows(folder, options.rows),
        "verify": verified.returncode,
        "requests": stats["requests"],
        "faults": stats["faults"],
        "paid_again": stats["paid_again"],
        "paid_again_a_kill": round(stats["paid_again"] / max(1, kills), 1),
        "bound_a_kill": options.in_flight + 2 * FLUSH_ROWS,
        "resident_mb": [quarters(life.samples, 0) for life in longest],
        "open_files": [quarters(life.samples, 1) for life in longest],
        "peak_mb": round(max(sample[0] for life in lives for sample in life.samples), 1),
        "out_mb": round(sum(f.stat().st_size for f in Path(folder, "out").rglob("*") if f.is_file()) / 2**20, 1),
        "ledger_mb": round(sum(f.stat().st_size for f in Path(folder, "out/ledger").rglob("*")) / 2**20, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--kill-every", type=float, default=30.0, metavar="SECONDS")
    parser.add_argument("--fault", type=float, default=0.005, help="the share of each of eight faults")
    parser.add_argument("--in-flight", type=int, default=512)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        figures = soak(options, folder)
    print(json.dumps(figures))
    sys.exit(bool(figures["wrong"] or figures["verify"]))


if __name__ == "__main__":
    main()
