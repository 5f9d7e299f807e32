"""A rate limit that many workers share, by the length of a lease: use, overshoot, messages. Virtual time.

    .venv/bin/python benchmarks/leases.py [--workers 100] [--seconds 30] [--lease-s 0.1 ...] [--wire-s 0.001 ...]

The real broker, and for each worker the real limits and the desk that talks with it; a wire that takes `wire_s` each
way; a judge that answers in 800 ms (median) and refuses nothing. Everybody has more to ask than the limit lets through.
**use** is what was sent after the first five seconds, over what the limit is worth in that time. **overshoot** is the
most that any window held beyond what its time is worth, in seconds of the limit: a provider with a bucket of one
second refuses once it is above 1. `burst_s` is three leases, never below 0.3. **least/most** compares
the workers. In the cases with deaths a tenth of the workers dies at once in the middle, with all that they were leased;
the owner hears of it a quarter of the time later. The last line is one JSON object.

Nothing here knows a cluster: a clock that jumps stands for all machines, and it is the one of tests/.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import sys
import time
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import scorer.workers.broker
import scorer.workers.rate_leases
from scorer.limits import Billing, Demand, Outcome, RateLimits
from scorer.output.ledger_totals import Totals
from scorer.usage import (
    Usage,
)

TESTS = Path(__file__).resolve().parents[1] / "tests"
sys.path[:0] = [str(TESTS), str(TESTS / "workers")]

from support.clock import now, run  # noqa: E402
from together import Mate, broker_of, mate  # noqa: E402

FIRST_S = 5.0
PROMPT_TOKENS, OUTPUT_TOKENS = 500, 64
REQUESTS, TOKENS = 60_000.0, 20_000_000.0
"""A minute, of all. Tokens bind: 591 requests a second."""
IN_FLIGHT = 1600
"""Of all workers, and 16 of each at least."""


@dataclass(frozen=True, slots=True)
class Found:
    """One case: shares of the limit, seconds of the limit, and what the broker has to do for it."""

    workers: int
    lease_s: float
    wire_s: float
    deaths: int
    use: float
    overshoot_s: float
    least_over_most: float
    messages_per_s: float
    broker_us: float


class Sent:
    """Who sent how much, and when."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.tokens: list[float] = []
        self.by: dict[int, int] = {}

    def add(self, worker: int, tokens: float) -> None:
        self.times.append(now())
        self.tokens.append(tokens)
        self.by[worker] = self.by.get(worker, 0) + 1

    def within(self, first: float, last: float) -> float:
        return sum(t for at, t in zip(self.times, self.tokens, strict=True) if first <= at < last)

    def overshoot(self, per_second: float) -> float:
        """The most that a window held beyond its time's worth, in seconds: how deep a bucket without end would sink."""
        level = deepest = 0.0
        last = 0.0
        for at, tokens in zip(self.times, self.tokens, strict=True):
            level = max(0.0, level - (at - last) * per_second) + tokens
            deepest, last = max(deepest, level), at
        return deepest / per_second


async def ask(of: Mate, sent: Sent, chance: random.Random) -> None:
    """One place in flight of one worker, for ever busy."""
    limits = of.limits[0]
    while not of.cut:
        prompt = max(20, int(chance.gauss(PROMPT_TOKENS, PROMPT_TOKENS / 4)))
        worst = prompt + OUTPUT_TOKENS
        permit = await limits.admit(Demand(prompt, OUTPUT_TOKENS, worst_tokens=worst))
        if of.cut:
            return
        sent.add(of.number, worst)
        await asyncio.sleep(0.8 * chance.lognormvariate(0.0, 0.3))
        limits.settle(permit, Outcome(Billing.KNOWN, alive=True, usage=Usage(prompt, OUTPUT_TOKENS)))


async def case(workers: int, seconds: float, lease_s: float, wire_s: float, deaths: int) -> Found:
    scorer.workers.broker.LEASE_S = scorer.workers.rate_leases.LEASE_S = lease_s
    scorer.workers.rate_leases.REQUEST_BURST_S = max(0.25, 3 * lease_s)
    places = max(16, IN_FLIGHT // workers)
    rates = RateLimits(
        requests_per_minute=REQUESTS, tokens_per_minute=TOKENS, burst_s=max(0.3, 3 * lease_s), concurrency=places
    )
    broker = broker_of(replace(rates, concurrency=places * workers), workers=workers)
    assert broker.lease_s == lease_s
    sent, chance, spent_s = Sent(), random.Random(7), 0.0
    exchange = broker.exchange

    def timed(number: int, report: object) -> object:
        nonlocal spent_s
        began = time.perf_counter()
        try:
            return exchange(number, report)  # type: ignore[arg-type]
        finally:
            spent_s += time.perf_counter() - began

    broker.exchange = timed  # type: ignore[assignment, method-assign]
    async with AsyncExitStack() as stack:
        mates = [await stack.enter_async_context(mate(broker, n, rates, wire_s=wire_s)) for n in range(workers)]
        asking = [asyncio.ensure_future(ask(m, sent, chance)) for m in mates for _ in range(places)]
        await asyncio.sleep(seconds / 2)
        for dead in mates[:deaths]:
            dead.cut = True
        if deaths:
            await asyncio.sleep(seconds / 4)
            for dead in mates[:deaths]:
                broker.lost(dead.number, Totals())
        await asyncio.sleep(seconds - now())
        for task in asking:
            task.cancel()
        await asyncio.wait(asking)
    messages = sum(len(m.talks) for m in mates)
    alive = [sent.by.get(m.number, 0) for m in mates if not m.cut]
    return Found(
        workers=workers,
        lease_s=lease_s,
        wire_s=wire_s,
        deaths=deaths,
        use=round(sent.within(FIRST_S, seconds) / (TOKENS / 60 * (seconds - FIRST_S)), 4),
        overshoot_s=round(sent.overshoot(TOKENS / 60), 4),
        least_over_most=round(min(alive) / max(alive), 3),
        messages_per_s=round(messages / seconds, 1),
        broker_us=round(1e6 * spent_s / messages, 1),
    )


def row(one: Found) -> str:
    """A line of the table."""
    return (
        f"{one.workers:7d}  {one.lease_s:7.2f}  {one.wire_s:6.3f}  {one.deaths:6d}  {one.use:5.3f}"
        f"  {one.overshoot_s:11.3f}  {one.least_over_most:10.2f}  {one.messages_per_s:10.0f}  {one.broker_us:9.0f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, nargs="+", default=[100])
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--lease-s", type=float, nargs="+", default=[0.02, 0.05, 0.1, 0.25, 0.5, 1.0])
    parser.add_argument("--wire-s", type=float, nargs="+", default=[0.001, 0.021])
    options = parser.parse_args()
    found = []
    print("workers  lease_s  wire_s  deaths    use  overshoot_s  least/most  messages/s  broker us")
    for workers in options.workers:
        for wire_s in options.wire_s:
            for lease_s in options.lease_s:
                for deaths in {0, workers // 10 if lease_s in (0.1, 1.0) else 0}:
                    one = run(case(workers, options.seconds, lease_s, wire_s, deaths))
                    found.append(one)
                    print(row(one), flush=True)
    print(json.dumps({"leases": [asdict(one) for one in found], "use": statistics.fmean(one.use for one in found)}))


if __name__ == "__main__":
    main()
