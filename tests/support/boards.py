"""A board of systems that answer the same items, and a judge that gives each answer its own score, in virtual time."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from support.batch_provider import BatchProvider
from support.clock import inline
from support.clock import run as in_virtual_time
from support.inprocess import REFUSED
from support.transport import FakeTransport

from scorer.build.assemble import make_client
from scorer.build.plan import check
from scorer.files.local_files import LocalFiles
from scorer.job.batch_state import Waiting
from scorer.job.callbacks import Callbacks
from scorer.job.distributed_scoring import MakeLauncher
from scorer.job.forget import Choice
from scorer.job.job import Job
from scorer.job.retry import Retry
from scorer.output.status import Status
from scorer.types import Call, Reply

PROMPT = "[cell:{system}:{item}] Rate from 0 to 10.\n{response}\nScore:"
BATCH = {"poll_s": 10, "grace_s": 60, "min_requests": 12, "max_requests": 15}
_CELL = re.compile(rb"\[cell:s(\d+):i(\d+)\]")


class BoardJudge(FakeTransport):
    """Answers with `scores[item, system]`, after `latency_s` of that score; refuses the cells `refuses`."""

    def __init__(self, scores: np.ndarray) -> None:
        super().__init__()
        self.scores = scores
        self.latency_s: Callable[[int, float], float] = lambda _system, _score: 0.1
        self.refuses: set[tuple[int, int]] = set()
        self.asked: Counter[tuple[int, int]] = Counter()
        self.then: Callable[[], None] = lambda: None

    async def reply(self, call: Call, number: int) -> Reply:
        found = _CELL.search(call.body)
        assert found is not None
        system, item = int(found[1]), int(found[2])
        self.asked[item, system] += 1
        self.then()
        await asyncio.sleep(self.latency_s(system, float(self.scores[item, system])))
        if (item, system) in self.refuses:
            return Reply(400, {"content-type": "application/json"}, REFUSED)
        choice = {"index": 0, "message": {"role": "assistant", "content": f"Score: {self.scores[item, system]:g}"}}
        usage = {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12}
        body = {"model": "board", "choices": [{**choice, "finish_reason": "stop"}], "usage": usage}
        return Reply(200, {"content-type": "application/json"}, orjson.dumps(body))


class Board:
    """Items x systems of scores from 0 to 10, as rows of several shards, and what is done with their folder.

    Rows stand by system, then by item, so that a shard's first rows say nothing of the others. `tasks` names the task
    of each item. With `batches` they go in provider batches; row r<n> is item n % items of system n // items.
    """

    def __init__(
        self,
        root: Path,
        scores: np.ndarray,
        *,
        tasks: list[str] | None = None,
        shards: int = 3,
        batches: BatchProvider | None = None,
    ) -> None:
        self.root, self.out, self.judge = root, f"{root}/out", BoardJudge(scores)
        self.cut = dict(BATCH)
        self.batches, self.mode = batches, "online" if batches is None else "batch"
        if batches is not None:
            batches.score = lambda row: float(scores[row % len(scores), row // len(scores)])
        self.said: list[str] = []
        self.workers: MakeLauncher | None = None
        """Starts two workers, where a test has some."""
        rows = [
            {
                "id": f"r{system * len(scores) + item}",
                "system": f"s{system}",
                "item": f"i{item}",
                "task": (tasks or [""] * len(scores))[item],
                "response": "said",
            }
            for system in range(scores.shape[1])
            for item in range(len(scores))
            if not np.isnan(scores[item, system])
        ]
        (root / "in").mkdir(parents=True)
        for number, part in enumerate(np.array_split(np.arange(len(rows)), shards)):
            table = pa.Table.from_pylist([rows[place] for place in part])
            pq.write_table(table, root / "in" / f"{number}.parquet")
        self.rows = len(rows)

    def job(
        self, stop: dict[str, Any] | None, files: LocalFiles | None = None, where: str | None = None, **limits: Any
    ) -> Job:
        chosen = {} if where is None else {"where": where}
        tree: dict[str, Any] = {
            "input": {"shards": [f"{self.root}/in/*.parquet"], "keep": ["system", "item"], **chosen},
            "judge": {"prompt": PROMPT if self.batches is None else f"[row:{{id}}]{PROMPT}", "scale": [0, 10]},
            "model": {
                "name": "board",
                "base_url": "http://127.0.0.1:1/v1",
                "price": {"input": 1.0, "output": 2.0},
                **({} if self.mode == "online" else {"mode": self.mode, "batch": self.cut}),
            },
            "limits": {"concurrency": 16, "max_failed_share": 1.0, **limits},
            "output": {"path": self.out, "flush_rows": 20},
        }
        if stop is not None:
            tree["stop"] = {"question": "best", "by": "system", "item": "item", **stop}
        return Job(
            check(tree),
            files or LocalFiles(),
            offload=inline,
            wall_s=lambda: 1_790_000_000.0,
            connect=partial(make_client, transport=self.judge),
            make_api=self.batches,
            callbacks=Callbacks(say=self.said.append),
            workers=1 if self.workers is None else 2,
            launcher=self.workers,
        )

    def run(
        self,
        stop: dict[str, Any] | None = {},  # noqa: B006 - never changed
        files: LocalFiles | None = None,
        sample: str | None = None,
        retry: Retry | None = None,
        where: str | None = None,
        waiting: Waiting = "wait",
        **limits: Any,
    ) -> Status:
        """A start, to its end; None asks without [stop]."""
        choice = Choice(sample=sample, waiting=waiting)
        return in_virtual_time(self.job(stop, files, where, **limits).run(retry, choice))

    @property
    def asked(self) -> int:
        return self.judge.asked.total()
