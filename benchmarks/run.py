"""Rows per second, CPU and peak memory of all contenders over the same rows and the same judge.

    scripts/bench                                 ours and the bare loop, 20,000 rows, nginx answering at once
    scripts/bench --field all                     the peers too; their environments are made under .cache/ at first use
    scripts/bench --judge rehearsal --in-flight 2048     answers take 800 ms (median)
    scripts/bench --tls                           nginx over TLS
    scripts/bench --all-cores                     contender and judge share all cores; otherwise each has one of its own
    scripts/bench --smoke                         500 rows, ours and the bare loop: do they work? No clock is looked at

Each repeat runs every contender once on a few rows, for what its start costs, and once on all of them. The table holds
medians over the repeats. A ratio is the median of the ratios within a repeat: a machine that changes its speed within
minutes changes both of a repeat. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from statistics import median
from typing import Any

from benchmarks import judge
from benchmarks.field import CONTENDERS, PEERS, Took, measure, python_of, ranks

FEW = 100
SMOKE_ROWS = 500
OURS = ["bare", "bare-exchange", "bare-wire", "scorer", "bare-tokens", "scorer-tokens", "scorer-capped"]
SHOWN = ("aiohttp", "httptools", "msgspec", "orjson", "pyarrow", "tiktoken", "uvloop")


@contextmanager
def asked(kind: str, cpu: int | None, latency_s: float, tls: bool = False) -> Iterator[tuple[str, str]]:
    """A judge's base URL and its name. Only nginx speaks TLS."""
    if kind == "nginx" and judge.nginx() is None:
        print(judge.NO_NGINX)
        kind, latency_s = "rehearsal", 0.0
    if kind == "nginx":
        program = judge.nginx()
        said = subprocess.run([str(program), "-v"], capture_output=True, text=True, check=True).stderr
        with judge.instant(cpu, tls=tls) as url:
            over = " over TLS" if tls else ""
            yield url, f"nginx {said.rpartition('/')[2].strip()}, answering at once{over}"
    else:
        with judge.rehearsal(cpu, latency_median_s=latency_s, chars_per_token=4.6) as process:
            yield process.url, f"the rehearsal judge, {latency_s * 1000:g} ms median"


def compare(names: Sequence[str], options: argparse.Namespace) -> dict[str, Any]:
    """The medians of interleaved repeats by contender, ratios to the bare loop included where it ran.

    Every second repeat goes through the contenders from the last to the first.
    """
    mine, theirs = (None, None) if options.all_cores else judge.cores()
    failed = unready(names)  # while the package index is trusted: over TLS only the judge's authority is
    with asked(options.judge, theirs, options.latency, options.tls) as (url, about):
        print(f"{options.rows} rows, {options.in_flight} in flight, {about}, {options.repeats} repeats", flush=True)
        load = [round(os.getloadavg()[0], 1)]
        runs: dict[str, list[tuple[Took, Took]]] = {name: [] for name in names}
        for repeat in range(options.repeats):
            for name in names if repeat % 2 == 0 else reversed(names):
                if name in failed:
                    continue
                try:
                    few = measure(name, FEW, url, options.in_flight, mine)
                    took = measure(name, options.rows, url, options.in_flight, mine)
                except SystemExit as error:
                    failed[name] = str(error)
                    print(f"{name} failed: {error}", flush=True)
                    continue
                runs[name].append((few, took))
                print(
                    f"  {repeat + 1} {name:16}{took.wall_s:8.2f} s{options.rows / took.wall_s:9.0f} rows/s", flush=True
                )
    load.append(round(os.getloadavg()[0], 1))
    repeats = {
        name: [figures(options.rows, *one) for one in taken]
        for name, taken in runs.items()
        if taken and name not in failed
    }
    return {
        "rows": options.rows,
        "in_flight": options.in_flight,
        "judge": about,
        "repeats": options.repeats,
        "pinned": mine is not None,
        "load": load,
        "python": platform.python_version(),
        "versions": {name: version(name) for name in SHOWN},
        "contenders": {name: {**medians(taken), **ratios(name, repeats)} for name, taken in repeats.items()},
        "failed": failed,
    }


def unready(names: Sequence[str]) -> dict[str, str]:
    """Makes what contenders need; whose environment cannot be made here is left out, with the reason."""
    failed: dict[str, str] = {}
    ranks()
    for name in names:
        try:
            python_of(CONTENDERS[name])
        except SystemExit as error:
            failed[name] = str(error)
            print(f"{name} left out: {error}", flush=True)
    return failed


def figures(count: int, few: Took, all_: Took) -> dict[str, Any]:
    """What one repeat tells. `steady_rows_per_s` and `cpu_us_per_row` leave out what a run on few rows takes.

    Both are None where the start is most of it: their difference would be noise. `cpu_with_start_us_per_row` is all
    CPU of the process, divided by the rows.
    """
    distinct = all_.wall_s > 2 * few.wall_s
    return {
        "rows_per_s": count / all_.wall_s,
        "steady_rows_per_s": (count - FEW) / (all_.wall_s - few.wall_s) if distinct else None,
        "start_s": few.wall_s,
        "cpu_us_per_row": (all_.cpu_s - few.cpu_s) / (count - FEW) * 1e6 if distinct else None,
        "cpu_with_start_us_per_row": all_.cpu_s / count * 1e6,
        "peak_mb": all_.peak_mb,
    }


def medians(repeats: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Of each figure the median over the repeats that have it; None where none has. All repeats' CPU as it came."""
    found = {key: _median([one[key] for one in repeats]) for key in repeats[0]}
    return {**found, "cpu_of_repeats": [round(one["cpu_with_start_us_per_row"], 1) for one in repeats]}


def ratios(name: str, repeats: dict[str, list[dict[str, Any]]]) -> dict[str, float | None]:
    """A contender beside the bare loop that counts what it counts, and beside `bare-wire`, repeat by repeat.

    Rates are a multiple of the bare loop's (more is better), CPU is a share of its CPU (less is better).
    """
    counting = CONTENDERS[name].variant in ("tokens", "capped")
    bare, wire = repeats.get("bare-tokens" if counting else "bare"), repeats.get("bare-wire")
    found: dict[str, float | None] = {}
    if bare is not None:
        for key in ("rows_per_s", "steady_rows_per_s", "cpu_us_per_row", "cpu_with_start_us_per_row"):
            found[f"{key}_to_bare"] = _ratio(repeats[name], bare, key)
    if wire is not None:
        found["cpu_us_per_row_to_wire"] = _ratio(repeats[name], wire, "cpu_us_per_row")
    return found


def _ratio(ours: Sequence[dict[str, Any]], theirs: Sequence[dict[str, Any]], key: str) -> float | None:
    """The median of the ratios within a repeat."""
    pairs = zip(ours, theirs, strict=True)
    return _median([one[key] / other[key] if one[key] and other[key] else None for one, other in pairs])


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None


_COLUMNS = (
    ("rows_per_s", 0),
    ("rows_per_s_to_bare", 2),
    ("steady_rows_per_s", 0),
    ("steady_rows_per_s_to_bare", 2),
    ("cpu_us_per_row", 0),
    ("cpu_us_per_row_to_bare", 2),
    ("cpu_us_per_row_to_wire", 2),
    ("cpu_with_start_us_per_row", 0),
    ("cpu_with_start_us_per_row_to_bare", 2),
    ("peak_mb", 0),
    ("start_s", 2),
)
"""The columns of the table after the name, and their digits after the point."""


def table(result: dict[str, Any]) -> str:
    """What people read, as Markdown."""
    lines = [
        "| contender | rows/s | to bare | without start | to bare | CPU us/row | to bare | to wire "
        "| CPU with start | to bare | peak MB | start s |",
        "| --- " + "| ---: " * 11 + "|",
    ]
    for name, one in result["contenders"].items():
        lines.append(f"| {name} | " + " | ".join(_cell(one.get(key), digits) for key, digits in _COLUMNS) + " |")
    return "\n".join(lines)


def _cell(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def smoke() -> dict[str, Any]:
    """Ours and the bare loop do 500 rows each; the judge's own counters say so too."""
    with judge.rehearsal(None, latency_median_s=0) as process:
        for name in ("bare", "scorer"):
            process.reset()
            measure(name, SMOKE_ROWS, process.url, 64, None)
            stats = process.stats()
            if (stats["rows_paid"], stats["paid_again"]) != (SMOKE_ROWS, 0):
                raise SystemExit(
                    f"{name}: the judge was paid for {stats['rows_paid']} rows, {stats['paid_again']} twice"
                )
    return {"smoke": "passed", "rows": SMOKE_ROWS}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--field", nargs="+", default=["ours"], help="ours, peers, all, or contenders by name")
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--in-flight", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--judge", choices=("nginx", "rehearsal"), default="nginx")
    parser.add_argument("--latency", type=float, default=0.8, help="seconds, of the rehearsal judge (median)")
    parser.add_argument("--tls", action="store_true", help="nginx speaks TLS; contenders find it by SSL_CERT_FILE")
    parser.add_argument("--all-cores", action="store_true", help="contender and judge share all cores")
    parser.add_argument("--smoke", action="store_true")
    options = parser.parse_args()
    if options.smoke:
        print(json.dumps(smoke()))
        return
    if options.tls and (options.judge != "nginx" or judge.nginx() is None):
        parser.error("--tls needs nginx as the judge")
    groups = {"ours": OURS, "peers": PEERS, "all": [*OURS, *PEERS]}
    names = list(dict.fromkeys(name for word in options.field for name in groups.get(word, [word])))
    if unknown := [name for name in names if name not in CONTENDERS]:
        parser.error(f"{', '.join(unknown)}: unknown; there are {', '.join((*groups, *CONTENDERS))}")
    result = compare(names, options)
    print(table(result))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
