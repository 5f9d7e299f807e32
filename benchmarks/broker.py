"""What one report costs the broker, by the number of workers: CPU in microseconds, and reports a second of a core.

    .venv/bin/python benchmarks/broker.py [--workers 1 10 100 1000] [--seconds 3]

The real broker; workers that each report every 100 ms of a clock that jumps, with what a worker reports that is short
of rates (and, with a cap, of budget at every tenth report). Nothing else is in the time. The last line is one JSON
object.
"""

from __future__ import annotations

import argparse
import json
import time

from scorer.limits import RateLimits
from scorer.output.ledger_totals import Totals
from scorer.workers.broker import Broker
from scorer.workers.messages import Pace, Report, Spendings

BEAT_S = 0.1
NEED = {"requests": 1.0, "tokens": 500.0}


def spendings(turn: int, *, capped: bool) -> Spendings:
    """A worker's spending after so many reports."""
    spent = 100 * turn
    totals = {"requests": turn, "prompt_tokens": spent, "completion_tokens": turn, "pico": spent * 1000}
    lacks = capped and turn % 10 == 0
    return Spendings(
        totals, open_tokens=500, open_pico=10**6, keep_tokens=spent + 1000, keep_pico=2 * 10**9, lacks_budget=lacks,
        next_tokens=600 * lacks, next_pico=10**6 * lacks, wish_tokens=5000 * lacks, wish_pico=10**7 * lacks,
    )  # fmt: skip


def measured(workers: int, seconds: float, *, capped: bool) -> dict[str, float]:
    """The CPU of a report, and how many of them a core bears."""
    at = 0.0
    rates = RateLimits(requests_per_minute=600.0 * workers, tokens_per_minute=2e5 * workers, concurrency=16 * workers)
    broker = Broker(
        [rates], workers=workers, before=Totals(), max_tokens=10**15 if capped else None, max_usd=None, clock=lambda: at
    )
    spent_s, messages, turn = 0.0, 0, 0
    until = time.process_time() + seconds
    while time.process_time() < until:
        turn += 1
        said = spendings(turn, capped=capped)
        wish = {name: 2 * amount for name, amount in NEED.items()}
        for worker in range(workers):
            at += BEAT_S / workers
            pace = Pace(unused={"tokens": 20.0}, least=NEED, wish=wish, answered=True, in_flight=12, places=16)
            report = Report(said, [pace])
            began = time.process_time()
            broker.exchange(worker, report)
            spent_s += time.process_time() - began
            messages += 1
    each_us = 1e6 * spent_s / messages
    return {"workers": workers, "capped": capped, "us": round(each_us, 1), "messages_per_s": round(1e6 / each_us)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 10, 100, 1000])
    parser.add_argument("--seconds", type=float, default=3.0)
    options = parser.parse_args()
    found = []
    print("workers  capped  us a report  reports/s of a core  share of a core")
    for capped in (False, True):
        for workers in options.workers:
            one = measured(workers, options.seconds, capped=capped)
            found.append(one)
            share = workers / BEAT_S / one["messages_per_s"]
            print(
                f"{workers:7d}  {capped!s:>6}  {one['us']:11.1f}  {one['messages_per_s']:19.0f}  {share:15.3f}",
                flush=True,
            )
    print(json.dumps({"broker": found}))


if __name__ == "__main__":
    main()
