"""Promise: the real command exceeds its cap by at most a few requests, whatever a server on loopback bills and reports.

`tests/test_overspend.py` tests the same in virtual time, with one worker and with several.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.command import run_file, scorer
from support.http_server import HttpHandler, HttpServer

from scorer.files.local_files import LocalFiles
from scorer.limits.bills import OPENING
from scorer.output import ledger


def usage_of(prompt: int, completion: int) -> Any:
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


class Gateway(HttpServer):
    """A server on loopback that adds 50,000 tokens to each prompt, or tells zeros; it keeps the true bill in tokens."""

    def __init__(self, *, added: int, zeros: bool) -> None:
        super().__init__(_Answer)
        self.added, self.zeros = added, zeros
        self.bills: list[int] = []


class _Answer(HttpHandler):
    server: Gateway

    def do_POST(self) -> None:
        prompt, gateway = len(self.body()) // 4 + self.server.added, self.server
        gateway.bills.append(prompt + 3)
        time.sleep(0.02 if self.server.zeros else 0.05)  # bills of zeros come nearly one by one
        choice = {"message": {"role": "assistant", "content": "Score: 4"}, "finish_reason": "stop"}
        usage = usage_of(0, 0) if gateway.zeros else usage_of(prompt, 3)
        reply = {"id": f"r{len(gateway.bills)}", "choices": [choice], "usage": usage}
        self.reply(200, orjson.dumps(reply), {"Content-Type": "application/json"})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("added", "zeros", "workers"),
    [(50_000, False, 1), (50_000, False, OPENING + 1), (0, True, 1), (0, True, 2)],
    ids=["hidden-1", "hidden-more_than_the_opening", "zeros-1", "zeros-2"],
)
def test_run_command_keeps_the_bound_of_a_cap_at_every_start(
    added: int, zeros: bool, workers: int, tmp_path: Path
) -> None:
    """Slow: two starts of up to six processes, for the bound grows from the fifth worker on."""
    (tmp_path / "in").mkdir()
    rows = {"id": [f"r{number}" for number in range(600)], "response": ["some words " * 20] * 600}
    pq.write_table(pa.table(rows), tmp_path / "in/a.parquet")
    with Gateway(added=added, zeros=zeros) as gateway:
        run = run_file(tmp_path, f"{gateway.url}/v1", limits={"concurrency": 64, "max_tokens": 40_000})
        for cap in (40_000, 80_000):
            before = sum(gateway.bills)
            ran = scorer("run", run, "--workers", workers, "--quiet", "--set", f"limits.max_tokens={cap}")
            assert ran.code == 3, ran.err
            beyond = 0 if zeros else max(OPENING, workers) * max(gateway.bills)
            assert sum(gateway.bills) <= max(before, cap) + beyond
            found = ledger.totals(LocalFiles(), f"{tmp_path}/out/ledger")
            assert found.tokens >= sum(gateway.bills)
