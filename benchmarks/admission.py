"""CPU of the limits for one request: admission and settlement in this process, without network or disk.

    .venv/bin/python benchmarks/admission.py [--requests 20000] [--repeats 5]

Each case declares other limits, none of which ever makes a request wait; in the last one requests wait for places.
The ledger keeps sums in memory and writes nothing, so the figures are those of scorer/limits alone. A figure is
microseconds of CPU a request, the least of the repeats: what else runs on the machine only adds. The last line is one
JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Callable

import uvloop

from scorer.limits import Asked, Billing, Budget, Demand, LocalLimiter, Outcome, RateLimits
from scorer.limits.leased import LeasedEndpoint
from scorer.types import Gauge, RateHint
from scorer.usage import Usage

ASKED = Asked(prompt=700, limit=64)
DEMAND = Demand(tokens=150, output_tokens=64, worst_tokens=764, first=True, asked=ASKED)
ANSWERED = Outcome(Billing.KNOWN, usage=Usage(150, 8), hint=RateHint(), alive=True)
HINT = RateHint({"requests": Gauge(1e9, 9e8), "tokens": Gauge(1e12, 9e11)})
HINTED = Outcome(Billing.KNOWN, usage=Usage(150, 8), hint=HINT, alive=True)
QUEUED = "576 tasks, 512 places"
REQUESTS = RateLimits(requests_per_minute=1e9)
BOTH = RateLimits(requests_per_minute=1e9, tokens_per_minute=1e12)


class Sums:
    """A `SpendLedger` that keeps nothing but what it must."""

    strict = False
    room = 256
    open_tokens = open_pico = 0
    tokens = money_pico = 0

    @property
    def totals(self) -> Sums:
        return self

    def reserve(self, tokens: int, pico: int) -> int:
        return 0

    def settle(self, number: int, usage: Usage, pico: int) -> None:
        pass

    def cancel(self, number: int) -> None:
        pass

    def unknown(self, number: int) -> None:
        pass

    def on_written(self, wake: Callable[[], None]) -> None:
        pass

    async def written(self) -> None:
        pass


class StrictSums(Sums):
    strict = True


def leased() -> LocalLimiter:
    endpoint = LeasedEndpoint(BOTH, Budget(Sums()), lambda: None)
    endpoint.lease({"requests": 1e12, "tokens": 1e15}, until=float("inf"))
    return endpoint.limiter


CASES: dict[str, tuple[Callable[[], LocalLimiter], Outcome]] = {
    "nothing declared": (lambda: LocalLimiter(RateLimits(), Budget(Sums())), ANSWERED),
    "nothing declared, headers": (lambda: LocalLimiter(RateLimits(), Budget(Sums())), HINTED),
    "auto": (lambda: LocalLimiter(RateLimits(concurrency=None), Budget(Sums())), ANSWERED),
    "requests a minute": (lambda: LocalLimiter(REQUESTS, Budget(Sums())), ANSWERED),
    "requests and tokens": (lambda: LocalLimiter(BOTH, Budget(Sums())), ANSWERED),
    "requests and tokens, headers": (lambda: LocalLimiter(BOTH, Budget(Sums())), HINTED),
    "cap": (lambda: LocalLimiter(RateLimits(), Budget(StrictSums(), max_tokens=10**15)), ANSWERED),
    "leased": (leased, ANSWERED),
}


async def measure(make: Callable[[], LocalLimiter], outcome: Outcome, requests: int) -> float:
    """Microseconds of CPU a request, 4 in flight: as many as `concurrency = "auto"` begins with."""
    limits = make()
    permits = []
    for _ in range(4):  # a capped run opens with these
        limits.settle(await limits.admit(DEMAND), outcome)
    began = time.process_time()
    for _ in range(requests // 4):
        for _ in range(4):
            permits.append(await limits.admit(DEMAND))  # noqa: PERF401 - as a client does, one by one
        for permit in permits:
            limits.settle(permit, outcome)
        permits.clear()
    return (time.process_time() - began) / (requests // 4 * 4) * 1e6


async def queued(requests: int) -> float:
    """Microseconds of CPU a request where 576 tasks share 512 places, as the rows of a run do: each has to wait."""
    limits = LocalLimiter(RateLimits(concurrency=512), Budget(Sums()))
    left = requests

    async def ask() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            permit = await limits.admit(DEMAND)
            await asyncio.sleep(0)
            limits.settle(permit, ANSWERED)

    began = time.process_time()
    await asyncio.gather(*(ask() for _ in range(576)))
    return (time.process_time() - began) / requests * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    least: dict[str, float] = {}
    for _ in range(options.repeats):
        for name, (make, outcome) in CASES.items():
            took = uvloop.run(measure(make, outcome, options.requests))
            least[name] = min(took, least.get(name, took))
        took = uvloop.run(queued(options.requests))
        least[QUEUED] = min(took, least.get(QUEUED, took))
    for name, took in least.items():
        print(f"{name:<30} {took:6.2f} us a request")
    print(json.dumps({name: round(took, 2) for name, took in least.items()}))


if __name__ == "__main__":
    main()
