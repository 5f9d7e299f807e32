"""Runs with canaries in virtual time, and a judge whose share of wrong answers to them may change with the time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from support.clock import inline, now
from support.clock import run as in_virtual_time
from support.transport import FakeTransport

from scorer.build.assemble import make_client
from scorer.build.plan import check
from scorer.files.local_files import LocalFiles
from scorer.job.distributed_scoring import MakeLauncher
from scorer.job.forget import Choice
from scorer.job.job import Job
from scorer.job.retry import retry_of
from scorer.output.layout import Layout
from scorer.output.status import Status
from scorer.types import Call, Reply

ROWS, KNOWN = 300, 100
EPOCH = 1_800_000_000.0


class Judge(FakeTransport):
    """Says 3 to each row and the known value to a canary, but that a share of `wrong(now)` of the canaries is 2 off.

    With `lenient` never below. Replies take about a second, in no order.
    """

    def __init__(self, wrong: Callable[[float], float], *, lenient: bool = False) -> None:
        super().__init__()
        self.wrong, self._lenient = wrong, lenient
        self.rows: list[str] = []
        self.fingerprint = "fp_1"

    async def reply(self, call: Call, number: int) -> Reply:
        text = orjson.loads(call.body)["messages"][-1]["content"].split()[-1]
        self.rows.append(text)
        random = Random(number)
        await asyncio.sleep(0.5 + random.random())
        value = 3
        if text.startswith("known"):
            known = int(text[-1])
            value = (
                known
                if random.random() >= self.wrong(now())
                else known + (2 if known <= 3 else 0 if self._lenient else -2)
            )
        choice = {"message": {"content": f"Score: {value}"}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 10, "completion_tokens": 1}
        return Reply(200, {}, orjson.dumps({"choices": [choice], "usage": usage, "model": "m-1"}))


def tree(folder: Path, rows: int = ROWS, canary: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    if not (folder / "in.parquet").exists():
        pq.write_table(pa.table({"a": [f"row{n}" for n in range(rows)]}), folder / "in.parquet")
        people = [1 + n % 5 for n in range(KNOWN)]
        known = {"a": [f"known{n}-{human}" for n, human in enumerate(people)], "human": people}
        pq.write_table(pa.table(known), folder / "known.parquet")
    return {
        "input": {"shards": [f"{folder}/in.parquet"]},
        "judge": {"prompt": "Rate {a}", "scale": [1, 5]},
        "model": {"name": "m", "base_url": "http://127.0.0.1:1/v1", "price": {"input": 1.0, "output": 2.0}},
        "limits": {"concurrency": 16},
        "output": {"path": f"{folder}/out"},
        "canary": {"shards": [f"{folder}/known.parquet"], "human": "human", "share": 0.5, "band": 0.1}
        if canary is None
        else canary,
        **more,
    }


def start_of(judge: Judge) -> float:
    """The wall clock at the beginning of a start: later than all before."""
    return EPOCH + (100_000.0 * len(judge.sent_at) if judge.sent_at else 0.0)


def ran(
    folder: Path,
    judge: Judge,
    choice: Choice | None = None,
    suspect: bool = False,
    sets: tuple[str, ...] = (),
    launcher: MakeLauncher | None = None,
    **more: Any,
) -> Status:
    async def go() -> Status:
        start = start_of(judge)
        plan, retry = check(tree(folder, **more)), None
        if suspect:
            plan, retry = retry_of(LocalFiles(), f"{folder}/out", (), sets, suspect=True)
        job = Job(
            plan,
            LocalFiles(),
            offload=inline,
            wall_s=lambda: start + now(),
            connect=partial(make_client, transport=judge),
            workers=1 if launcher is None else 2,
            launcher=launcher,
        )
        return await job.run(retry, choice or Choice())

    return in_virtual_time(go())


def layout(folder: Path) -> Layout:
    return Layout(f"{folder}/out")
