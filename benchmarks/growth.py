"""How start, status, verify, publish and the ledger grow with the rows: CPU seconds at 10^5, 10^6 and 10^7 rows.

    python -m benchmarks.growth [--rows 100000 1000000 10000000] [--shard 10000] [--keep FOLDER]

The runs are made by the store's own code: finished shards of `--shard` rows, and one of 1,000 rows that is not. Each
figure is the CPU time of the real command in a process of its own: `run` until its first request, `status`, `verify`,
and `publish` to a new Delta and a new Iceberg table and once more to each. `ledger` settles as many requests as there
are rows, in entries of 100: CPU of writing, of the next start that reads it, and the bytes and files left. `files` are
those of the output folder. `law` is the exponent of the growth from one size to the next: 1 is linear. The last line is
one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from benchmarks.resume import first_request, make
from scorer.files.local_files import LocalFiles
from scorer.output.ledger import Ledger
from scorer.usage import Usage

T = TypeVar("T")

ENTRY = 100
"""Requests in one write of the ledger."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[10**5, 10**6, 10**7])
    parser.add_argument("--shard", type=int, default=10_000, help="rows of a shard")
    parser.add_argument("--keep", type=Path, help="make the runs here, or find them here")
    options = parser.parse_args()
    folder = options.keep or Path(tempfile.mkdtemp(prefix="growth-"))
    measured: dict[int, dict[str, float]] = {}
    try:
        for rows in options.rows:
            measured[rows] = measure(folder / str(rows), rows, options.shard)
            print(f"{rows:>10,} {measured[rows]}", flush=True)
    finally:
        if options.keep is None:
            shutil.rmtree(folder)
    print(json.dumps({"shard": options.shard, "measured": measured, "law": laws(measured)}))


def measure(root: Path, rows: int, shard: int) -> dict[str, float]:
    """The figures of one size."""
    if not root.exists():
        make(root, "sealed", rows, max(1, rows // shard))
    out, lake = root / "out", root / "lake"
    shutil.rmtree(lake, ignore_errors=True)
    lake.mkdir()
    catalog = {
        "PYICEBERG_CATALOG__GROWTH__URI": f"sqlite:///{lake}/catalog.db",
        "PYICEBERG_CATALOG__GROWTH__WAREHOUSE": f"file://{lake}/warehouse",
    }
    found = {"files": float(sum(path.is_file() for path in out.rglob("*")))}
    found["start"] = round(first_request(root)[1], 2)
    for command in ("status", "verify"):
        found[command] = _command(command, out)
    for address in (f"delta://{lake}/delta", "iceberg://growth/ns.scores"):
        name = address.partition(":")[0]
        found[name] = _command("publish", out, "--to", address, **catalog)
        found[f"{name} again"] = _command("publish", out, "--to", address, **catalog)
    return found | _ledger(root / "ledger", rows)


def _command(*words: object, **environment: str) -> float:
    """CPU seconds of a command."""
    command = [sys.executable, "-m", "scorer", *map(str, words)]
    process = subprocess.Popen(command, env=os.environ | environment, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode > (words[0] == "verify"):  # 1: it finds the rows that are not scored
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return round(used.ru_utime + used.ru_stime, 2)


def _ledger(folder: Path, requests: int) -> dict[str, float]:
    shutil.rmtree(folder, ignore_errors=True)
    began = time.process_time()
    asyncio.run(_settle(folder, requests))
    written = time.process_time()
    following = Ledger(LocalFiles(), str(folder), "2", offload=_now, strict=True)
    files = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    read = time.process_time()
    following.open()
    assert following.totals.requests == requests
    return {
        "ledger": round(written - began, 2),
        "ledger read": round(time.process_time() - read, 3),
        "ledger MB": round(sum(files) / 1e6, 2),
        "ledger files": len(files),
    }


async def _settle(folder: Path, requests: int) -> None:
    ledger = Ledger(LocalFiles(), str(folder), "1", offload=_now, strict=True)
    ledger.open()
    for _ in range(requests // ENTRY):
        numbers = [ledger.reserve(300, 500) for _ in range(ENTRY)]
        await ledger.written()
        for number in numbers:
            ledger.settle(number, Usage(200, 5, 0), 400)
    await ledger.close()


async def _now(work: Callable[..., T], *arguments: object) -> T:
    return work(*arguments)


def laws(measured: Mapping[int, Mapping[str, float]]) -> dict[str, list[float]]:
    """For each figure the exponent between each two sizes."""
    sizes = sorted(measured)
    return {
        name: [
            round(math.log(max(measured[b][name], 1e-3) / max(measured[a][name], 1e-3)) / math.log(b / a), 2)
            for a, b in itertools.pairwise(sizes)
        ]
        for name in measured[sizes[0]]
    }


if __name__ == "__main__":
    main()
