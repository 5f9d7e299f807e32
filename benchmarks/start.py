"""Start time: `scorer --help`, and `scorer run` until the first byte of its first request.

    python -m benchmarks.start [--repeats 15] [--rows 2000] [--beside CHECKOUT]

The input is one local Parquet file, the tokens are not counted, and no cap is set; `capped` sets one. The judge is a
socket that stamps the first byte and ends the command. `--beside` runs another checkout with the same interpreter, in
turn with this one; `ratio` is ours over theirs. Figures are medians, `cpu_s` is user and system time of the process
until then: a busy machine changes it less than the clock. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from benchmarks.field import NO_PROXY, ROOT, rows
from benchmarks.task import PROMPT

CASES = ("help", "first_request", "capped")


def measure(checkout: Path, case: str, folder: Path, shard: str) -> tuple[float, float]:
    """Seconds by the clock, and of CPU, of one start."""
    environment = os.environ | NO_PROXY | {"PYTHONPATH": str(checkout)}
    command = [sys.executable, "-c", "from scorer.cli.app import main; main()"]
    if case == "help":
        began = time.perf_counter()
        child = subprocess.Popen([*command, "--help"], cwd=folder, env=environment, stdout=subprocess.DEVNULL)
        _, status, used = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - began
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            raise SystemExit(f"scorer --help ended with {child.returncode}")
        return seconds, used.ru_utime + used.ru_stime
    shutil.rmtree(folder / "out", ignore_errors=True)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(30)
        run_file = folder / "run.toml"
        run_file.write_text(_run_file(shard, folder, server.getsockname()[1], capped=case == "capped"), "utf-8")
        began = time.perf_counter()
        child = subprocess.Popen([*command, "run", str(run_file), "--quiet"], cwd=folder, env=environment)
        try:
            connection, _ = server.accept()
            with connection:
                connection.recv(1)
            seconds = time.perf_counter() - began
        finally:
            child.kill()
            _, status, used = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
        return seconds, used.ru_utime + used.ru_stime


def _run_file(shard: str, folder: Path, port: int, *, capped: bool) -> str:
    cap = "max_usd = 100.0" if capped else ""
    return f"""
[input]
shards = [{json.dumps(shard)}]
id = "id"
[judge]
prompt = {json.dumps(PROMPT)}
scale = [1, 5]
[model]
name = "gpt-4o-mini"
base_url = "http://127.0.0.1:{port}/v1"
[limits]
concurrency = 8
{cap}
[output]
path = {json.dumps(str(folder / "out"))}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--beside", type=Path, help="another checkout, measured in turn with this one")
    options = parser.parse_args()
    checkouts = {"ours": ROOT, **({"beside": options.beside.resolve()} if options.beside else {})}
    for checkout in checkouts.values():  # as an installation does; else a start compiles every module: .2 s
        subprocess.run([sys.executable, "-m", "compileall", "-q", checkout / "scorer"], check=True)
    shard = rows(options.rows)
    taken: dict[tuple[str, str], list[tuple[float, float]]] = {}
    load = [round(os.getloadavg()[0], 1)]
    with tempfile.TemporaryDirectory(prefix="bench-start-") as folder:
        for _ in range(options.repeats):
            for case in CASES:
                for name, checkout in checkouts.items():
                    taken.setdefault((case, name), []).append(measure(checkout, case, Path(folder), shard))
    load.append(round(os.getloadavg()[0], 1))
    results: dict[str, object] = {"repeats": options.repeats, "rows": options.rows, "load": load}
    for case in CASES:
        results[case] = one = {name: _figures(taken[case, name]) for name in checkouts}
        if options.beside:
            one["ratio"] = {key: round(one["ours"][key] / one["beside"][key], 3) for key in one["ours"]}
        print(f"{case:14}{one}", flush=True)
    print(json.dumps(results))


def _figures(measured: list[tuple[float, float]]) -> dict[str, float]:
    seconds, cpu = zip(*measured, strict=True)
    return {"wall_s": round(median(seconds), 3), "best_s": round(min(seconds), 3), "cpu_s": round(median(cpu), 3)}


if __name__ == "__main__":
    main()
