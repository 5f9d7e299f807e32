"""What prompt caching saves: money and time of whole runs with `model.cache` "none" and "auto". Virtual time.

    .venv/bin/python benchmarks/caching.py [--rows 2000]

A run is the real job against two judges that answer in about 1 s. `claude` is Anthropic's cache as documented
(tests/support/anthropic_cache.py): marked prefixes of 1,024 tokens or more, 5 minutes, a write at 1.25 and a read at
0.1 of the input price. `openai` is the rehearsal judge with `cache_life_s` 300 and `cache_least_tokens` 1024: any
prefix, a read at half the price. **read** is the share of the prompt tokens that were read from the cache. `no wait`
leaves out the request that goes first, `no order` the order of the rows that are read ahead. The last line is one JSON
object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import random
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import polars as pl

TESTS = Path(__file__).resolve().parents[1] / "tests"
sys.path[:0] = [str(TESTS)]

from support.anthropic_cache import FRESH, OUTPUT, READ, WRITE, CachingServer  # noqa: E402
from support.clock import inline, now, run  # noqa: E402
from support.simulated import Simulated  # noqa: E402

from scorer.build import assemble, plan  # noqa: E402
from scorer.build.assemble import make_client  # noqa: E402
from scorer.build.plan import check  # noqa: E402
from scorer.files.local_files import LocalFiles  # noqa: E402
from scorer.job.job import Job  # noqa: E402
from scorer.types import Call, Reply  # noqa: E402

RULES = "Grade by these rules, each of them with care. " * 120  # 1,380 tokens
CLAUDE = {"input": FRESH, "output": OUTPUT, "cached_input": READ, "cache_write": WRITE}
OPENAI = {"input": FRESH, "output": OUTPUT, "cached_input": 0.5}


class Paced(Simulated):
    """The rehearsal judge on the loop's clock."""

    async def reply(self, call: Call, number: int) -> Reply:
        outcome = self.judge.ask("chat", json.loads(call.body), now(), random.Random(number))
        await asyncio.sleep(outcome.delay_s)
        self.judge.settle(outcome, now(), delivered=True)
        return Reply(outcome.status, outcome.headers, outcome.body)


def latency(number: int) -> float:
    return math.exp(random.Random(number).gauss(0, 0.3))


def texts(seed: int, words: int) -> str:
    rng = random.Random(seed)
    return " ".join(f"w{rng.randrange(5000)}" for _ in range(words))


def designs(rows: int) -> Iterator[tuple[str, dict[str, list[Any]], dict[str, Any], dict[str, Any]]]:
    """Name, columns, [judge], [limits]."""
    answers = [texts(n, 60) for n in range(rows)]
    limits = {"concurrency": 64}
    yield "one rubric", {"answer": answers}, {"prompt": RULES + "{answer}"}, limits
    rubric = [f"Task {n % 8}. {RULES}" for n in range(rows)]
    prompt = {"prompt": "{rubric}\n{answer}"}
    yield "8 rubrics by turns", {"rubric": rubric, "answer": answers}, prompt, limits
    items = max(1, rows // 6)
    question = [texts(10_000 + n % items, 1000) for n in range(rows)]
    prompt = {"prompt": "Judge an answer to {question}\n{answer}"}
    yield "6 systems, by system", {"question": question, "answer": answers}, prompt, limits
    slow = {"concurrency": 64, "requests_per_minute": 60}
    yield "6 systems, by system, 60 rpm", {"question": question, "answer": answers}, prompt, slow
    grouped = [texts(10_000 + n // 6, 1000) for n in range(rows)]
    yield "6 systems, by item", {"question": grouped, "answer": answers}, prompt, limits
    yield "5 samples", {"question": question[:items]}, {"prompt": "Grade {question}", "samples": 5}, limits
    turns = {"prompt": "Grade {question}", "turns": 2}
    yield "two turns", {"question": question[:items]}, turns, limits
    yield "no prefix", {"answer": [texts(n, 1000) for n in range(rows)]}, {"prompt": "Grade {answer}"}, limits


def measured(
    columns: dict[str, list[Any]], judge: dict[str, Any], limits: dict[str, Any], dialect: str, cache: str, without: str
) -> dict[str, float]:
    """USD, seconds and the share read of one run."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder, ExitStack() as stack:
        pl.DataFrame(columns).write_parquet(f"{folder}/in.parquet")
        claude = dialect == "claude"
        model = {"provider": "anthropic", "name": "claude-sonnet-4-5"} if claude else {"name": "gpt-5-mini"}
        tree = {
            "input": {"shards": [f"{folder}/in.parquet"]},
            "judge": {"scale": [1, 5], **judge},
            "model": {
                **model,
                "price": CLAUDE if claude else OPENAI,
                "base_url": "http://127.0.0.1:1/v1",
                "cache": cache,
                "temperature": 1.0,
            },
            "limits": limits,
            "output": {"path": f"{folder}/out"},
        }
        server: Any = (
            CachingServer(seconds=lambda number: math.exp(random.Random(number).gauss(0, 0.3))) if claude else Paced()
        )
        if not claude:
            paced = {"latency_median_s": 1.0, "latency_sigma": 0.3}
            cached = {"cache_life_s": 300.0, "cache_least_tokens": 1024, "cached_share": 0.0}
            server.judge.configure(server.judge.config.changed({**paced, **cached}), 0.0)
        if without == "wait":
            stack.enter_context(patch.object(assemble, "_leaders", lambda *_: None))
        if without == "order":
            stack.enter_context(patch.object(plan, "in_prefix_order", lambda batches, *_: batches))

        async def go() -> float:
            job = Job(check(tree), LocalFiles(), offload=inline, connect=partial(make_client, transport=server))
            await job.run()
            return now()

        seconds = run(go())
        rows = pl.read_parquet(f"{folder}/out/scores/*.parquet")
        usd = rows["cost_microusd"].sum() / 1e6
        return {
            "usd": round(usd, 5),
            "seconds": round(seconds, 1),
            "read": round(rows["cached_tokens"].sum() / rows["prompt_tokens"].sum(), 3),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=2000)
    given = parser.parse_args()
    results: list[dict[str, Any]] = []
    print(f"{'design':30} {'judge':7} {'cache':9} {'USD':>9} {'seconds':>8} {'read':>6}")
    for name, columns, judge, limits in designs(given.rows):
        for dialect in ("claude", "openai"):
            for cache, without in (("none", ""), ("auto", ""), ("auto", "wait"), ("auto", "order")):
                if without == "order" and len(columns) == 1:
                    continue
                found = measured(columns, judge, limits, dialect, cache, without)
                shown = f"no {without}" if without else cache
                print(
                    f"{name:30} {dialect:7} {shown:9} {found['usd']:9.4f} {found['seconds']:8.1f} {found['read']:6.3f}",
                    flush=True,
                )
                results.append({"design": name, "judge": dialect, "cache": shown, **found})
    print(json.dumps(results))


if __name__ == "__main__":
    main()
