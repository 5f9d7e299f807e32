"""Runs the real `Job`, client and store over shards of a folder, in virtual time, against a judge in this process.

`Wire` stands for the judge: it answers at once, row r7 with 7 % 10 + 1, and counts how often each row was asked.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from support.clock import inline
from support.clock import run as in_virtual_time
from support.transport import FakeTransport

from scorer.build.assemble import make_client
from scorer.build.plan import check
from scorer.errors import Interrupted
from scorer.files.local_files import LocalFiles
from scorer.job.by_hand import ByHand
from scorer.job.callbacks import Callbacks
from scorer.job.distributed_scoring import MakeLauncher
from scorer.job.forget import Choice
from scorer.job.job import Job
from scorer.job.retry import Retry
from scorer.output.status import Status
from scorer.output.verify.folder import Verdict, verify
from scorer.types import Call, Reply

PROMPT = "[row:{id}] Rate from 1 to 10.\n{response}\nScore:"
ROW = re.compile(rb"\[row:r(\d+)\]")
REFUSED = b'{"error": {"message": "content policy", "code": "content_filter", "type": "invalid_request_error"}}'


def own_score(number: int) -> float:
    """What the wire answers for row r<number>."""
    return number % 10 + 1.0


class Wire(FakeTransport):
    """A transport that is the judge. Its content filter stops the rows `refuses`; `then` is called at each POST."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: Counter[int] = Counter()
        self.billed = 0
        self.refuses: set[int] = set()
        self.then: Callable[[], None] = lambda: None

    async def reply(self, call: Call, number: int) -> Reply:
        found = ROW.search(call.body)
        assert found is not None
        row = int(found[1])
        self.asked[row] += 1
        self.then()
        if row in self.refuses:
            return Reply(400, {"content-type": "application/json"}, REFUSED)
        self.billed += 1
        choice = {"index": 0, "message": {"role": "assistant", "content": f"Score: {own_score(row):g}"}}
        usage = {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12}
        body = {"model": "wire", "choices": [{**choice, "finish_reason": "stop"}], "usage": usage}
        return Reply(200, {"content-type": "application/json"}, orjson.dumps(body))


class Run:
    """One output folder and what is done to it. `said` are the sentences that a user saw."""

    def __init__(self, root: Path, *sizes: int, keep: Sequence[str] = (), **output: Any) -> None:
        self.root = root
        self.out = f"{root}/out"
        self.wire = Wire()
        self.said: list[str] = []
        self.hand: ByHand | None = None
        self.wall_s: Callable[[], float] = lambda: 1_790_000_000.0
        self.provider: Callable[..., Any] | None = None
        """Makes the batch API, where a test has one."""
        self.model: dict[str, Any] = {}
        self.models: list[dict[str, Any]] = []
        """Instead of the one model: those of a panel."""
        self.limits: dict[str, Any] = {}
        self.workers: MakeLauncher | None = None
        """Starts two workers, where a test has some."""
        self.shards: dict[str, range] = {}
        self.patterns = [f"{root}/in/*.parquet"]
        self._keep = list(keep)
        self._output = {"flush_rows": 4, **output}
        for size in sizes:
            self.add(size)

    def add(self, size: int) -> Path:
        """One more input shard, named a, b, ...; its rows go on counting where the last one's ended."""
        first = max((rows.stop for rows in self.shards.values()), default=0)
        path = self.root / "in" / f"{'abcdefghijklmnopqrstuvwxyz'[len(self.shards)]}.parquet"
        self.shards[str(path)] = range(first, first + size)
        path.parent.mkdir(exist_ok=True)
        ids = pa.array([f"r{number}" for number in self.shards[str(path)]], pa.string())
        pq.write_table(pa.table({"id": ids, "response": pa.array(["said"] * size, pa.string())}), path)
        return path

    def job(
        self, files: LocalFiles | None = None, max_failed_share: float = 1.0, where: str | None = None, **judge: Any
    ) -> Job:
        chosen = {} if where is None else {"where": where}
        tree = {
            "input": {"shards": self.patterns, "id": "id", "keep": self._keep, **chosen},
            "judge": {"prompt": PROMPT, "scale": [1, 10], **judge},
            "model": {
                "name": "wire",
                "base_url": "http://127.0.0.1:1/v1",
                "price": {"input": 1.0, "output": 2.0},
                **self.model,
            },
            "limits": {"concurrency": 4, "max_tokens": 10**9, "max_failed_share": max_failed_share, **self.limits},
            "output": {"path": self.out, **self._output},
        }
        if self.models:
            shared = tree.pop("model")
            tree["models"] = [{**shared, **model} for model in self.models]
        return Job(
            check(tree),
            files or LocalFiles(),
            offload=inline,
            wall_s=self.wall_s,
            connect=partial(make_client, transport=self.wire),
            make_api=self.provider,
            by_hand=self.hand,
            callbacks=Callbacks(say=self.said.append),
            workers=1 if self.workers is None else 2,
            launcher=self.workers,
        )

    def run(
        self,
        files: LocalFiles | None = None,
        retry: Retry | None = None,
        sample: str | None = None,
        waiting: Literal["wait", "no-wait", "collect"] = "wait",
        **judge: Any,
    ) -> Status:
        """A start, to its end."""
        return in_virtual_time(self.job(files, **judge).run(retry, Choice(sample=sample, waiting=waiting)))

    def stop_after(self, requests: int, files: LocalFiles | None = None) -> None:
        """A start that is asked to stop once so many requests were sent."""
        job, until = self.job(files), self.wire.asked.total() + requests
        self.wire.then = lambda: job.stop() if self.wire.asked.total() >= until else None
        try:
            in_virtual_time(job.run())
        except Interrupted:
            pass
        finally:
            self.wire.then = lambda: None

    def verify(self) -> Verdict:
        return verify(LocalFiles(), self.out)

    def sealed(self, name: str = "a") -> Path:
        return Path(self.out, "scores", f"{name}.parquet")

    def segments(self, name: str = "a") -> list[Path]:
        return sorted(Path(self.out, "segments", name).glob("*.parquet"))

    def damaged(self) -> list[str]:
        return sorted(path.name for path in Path(self.out, "damaged").glob("*"))

    def exact(self) -> None:
        """Every shard is sealed and holds each row once, in order, with its own score or its own error; verified."""
        for path, rows in self.shards.items():
            found = pq.read_table(self.sealed(Path(path).stem)).to_pylist()
            assert [(row["id"], row["row"]) for row in found] == [(f"r{n}", i) for i, n in enumerate(rows)]
            for number, row in zip(rows, found, strict=True):
                failed = number in self.wire.refuses
                expected = (None, "Refused") if failed else (own_score(number), None)
                assert (row["score"], row["error"]) == expected, row
        assert self.verify().findings == (), self.verify().findings

    def twice(self) -> set[int]:
        """The rows that were asked more than once."""
        return {number for number, times in self.wire.asked.items() if times > 1}
