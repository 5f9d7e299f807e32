"""Simulates whole runs with faults: `scripts/simulate --seed N` prints the events of one, `--seeds A-B` runs many."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import TypeVar

from simulation.batches.run import BatchRun
from simulation.batches.run import Report as BatchReport
from simulation.simulated_run import Report, SimulatedRun

Made = TypeVar("Made")


def main() -> int:
    """Returns 1 where a promise was broken."""
    parser = argparse.ArgumentParser(prog="scripts/simulate", description=__doc__)
    parser.add_argument("--seed", type=int, help="simulate one run and print its events")
    parser.add_argument("--seeds", metavar="A-B", help="simulate all runs with the seeds A to B")
    parser.add_argument("--twins", action="store_true", help="many rows are duplicates, with judge.dedupe")
    parser.add_argument("--pages", action="store_true", help="some row groups of the input are damaged")
    parser.add_argument("--lines", action="store_true", help="the input is JSON Lines, some of them bad")
    parser.add_argument("--lies", action="store_true", help="the judge reports wrong usage")
    parser.add_argument("--pauses", action="store_true", help="a person pauses the run and raises its caps")
    parser.add_argument("--batches", action="store_true", help="the run goes through provider batches")
    asked = parser.parse_args()
    if asked.batches:
        return through_batches(asked.seed, asked.seeds or "0-99")
    variations = {name: getattr(asked, name) for name in ("twins", "lies", "pages", "lines", "pauses")}
    if asked.seed is not None:
        report = SimulatedRun(asked.seed, print, **variations).run()
        print(report)  # noqa: T201 - this is what it is for
        return bool(report.findings)
    bad, sums, began = [], Counter[str](), time.monotonic()
    for seed, report in on_all_cores(partial(simulated, **variations), seeds(asked.seeds or "0-199")):
        sums.update(rows=report.rows, requests=report.requests, outages=report.outages, crashes=report.crashes)
        sums.update(starts=report.starts, again=report.paid_again, seconds=int(report.seconds), runs=1)
        if report.findings:
            bad.append(seed)
            print(f"seed {seed}: {report.findings[0]}", flush=True)  # noqa: T201
    print(f"{dict(sums)}, {len(bad)} bad, {time.monotonic() - began:.1f} s of real time")  # noqa: T201
    return bool(bad)


def through_batches(seed: int | None, many: str) -> int:
    """The same for runs through provider batches."""
    if seed is not None:
        found = BatchRun(seed, print).run()
        print(found)  # noqa: T201
        return bool(found.findings)
    bad, sums, began = 0, Counter[str](), time.monotonic()
    for number, report in on_all_cores(simulated_batches, seeds(many)):
        sums.update(rows=report.rows, batches=report.batches, deaths=report.deaths, starts=report.starts, runs=1)
        if report.findings:
            bad += 1
            print(f"seed {number}: {report.findings[0]}", flush=True)  # noqa: T201
    print(f"{dict(sums)}, {bad} bad, {time.monotonic() - began:.1f} s of real time")  # noqa: T201
    return bool(bad)


def simulated(seed: int, **variations: bool) -> Report:
    """One run to its end."""
    return SimulatedRun(seed, **variations).run()


def simulated_batches(seed: int) -> BatchReport:
    """One run through provider batches to its end."""
    return BatchRun(seed).run()


def on_all_cores(one: Callable[[int], Made], many: range) -> Iterator[tuple[int, Made]]:
    """Each seed with what `one` makes of it, in their order."""
    with ProcessPoolExecutor() as pool:
        yield from zip(many, pool.map(one, many), strict=True)


def seeds(text: str) -> range:
    """The seeds of `A-B`."""
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


if __name__ == "__main__":
    sys.exit(main())
