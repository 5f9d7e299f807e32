"""CPU of one POST of 1.5 kB to nginx: by the direct transport, and by the general one over aiohttp's session.

    .venv/bin/python -m benchmarks.exchange --in-flight 512 --posts 40000 --repeats 5 [--tls]

The ways alternate; the last line is one JSON object with the medians. The process and nginx have a core each.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import time
from statistics import median

import uvloop

from benchmarks import judge
from scorer.client.transport import HttpTransport
from scorer.types import Call

WAYS = ("direct", "general")
BODY = b'{"messages": "' + b"x" * 1500 + b'"}'
HEADERS = {"content-type": "application/json"}


async def cpu_us(way: str, url: str, in_flight: int, posts: int) -> float:
    """Microseconds of CPU a POST, with so many in flight; the connections are open before the clock starts."""
    call = Call(f"{url}/chat/completions", BODY, HEADERS)
    async with HttpTransport(connections=in_flight, timeout_s=600) as wire:
        if way == "general":
            wire._target(call).origin.general = "the benchmark wants it"
        await asyncio.gather(*(wire.post(call) for _ in range(in_flight)))
        left = iter(range(posts))

        async def post() -> None:
            for _ in left:
                reply = await wire.post(call)
                if reply.status != 200:
                    raise SystemExit(f"status {reply.status}")

        began = time.process_time()
        await asyncio.gather(*(post() for _ in range(in_flight)))
        return (time.process_time() - began) / posts * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--in-flight", type=int, default=512)
    parser.add_argument("--posts", type=int, default=40_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--tls", action="store_true")
    options = parser.parse_args()
    mine, theirs = judge.cores()
    found: dict[str, list[float]] = {way: [] for way in WAYS}
    with judge.instant(theirs, tls=options.tls) as url:
        judge.pin(os.getpid(), mine)
        for _ in range(options.repeats):
            for way in WAYS:
                found[way].append(uvloop.run(cpu_us(way, url, options.in_flight, options.posts)))
            print("  ".join(f"{way} {taken[-1]:.1f} us" for way, taken in found.items()), flush=True)
    load = round(os.getloadavg()[0], 1)
    print(json.dumps({**vars(options), "load": load, **{way: round(median(taken), 1) for way, taken in found.items()}}))


if __name__ == "__main__":
    main()
