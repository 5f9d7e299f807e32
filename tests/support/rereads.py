"""Runs whose replies are read again: scored, reread, and what is found then."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from scorer import scan_scores
from scorer.build.assemble import Assembled
from scorer.build.plan import check
from scorer.errors import BudgetSpent, RowError
from scorer.files.local_files import LocalFiles
from scorer.job.job import Job
from scorer.job.reread import reread
from scorer.job.retry import Retry
from scorer.output.verify.folder import verify
from scorer.processes.event_loop import on_loop
from scorer.types import Completion, Request
from scorer.usage import Spent

Said = str | RowError | BudgetSpent | bytes
NOW_S = 1_700_000_000.0
PAID = ["raw", "judge_model", "finish_reason", "prompt_tokens", "completion_tokens", "cost_microusd", "attempts"]


class Client:
    """Says what the table has for a row's id: a text, a whole reply, or an error."""

    def __init__(self, says: Mapping[str, Said]) -> None:
        self.says = says
        self.asked = 0

    async def complete(self, request: Request) -> Completion:
        self.asked += 1
        said = self.says[request.messages[-1].content.split()[0]]
        if isinstance(said, Exception):
            raise said
        spent = Spent(1, 0.0, 0.1, None, 5_000_000)  # no usage: the ledger of this test holds none
        body = said if isinstance(said, bytes) else b""
        text = said if isinstance(said, str) else ""
        return Completion(text, "length" if text.endswith("...") else "stop", "gpt", None, None, body, spent)


def score(
    folder: Path,
    says: Mapping[str, Said],
    *,
    judge: Mapping[str, Any] | None = None,
    retry: Retry | None = None,
    **output: Any,
) -> Client:
    """Scores two shards, each with a half of `says`, into folder/out."""
    client = Client(says)
    ids = list(says)
    for name, some in (("a", ids[: len(ids) // 2]), ("b", ids[len(ids) // 2 :])):
        path = folder / f"in/{name}.parquet"
        path.parent.mkdir(exist_ok=True)
        if not path.exists():
            pq.write_table(pa.table({"id": some, "text": some}), path)

    async def connect(*_: object) -> Assembled:
        return Assembled(client, [], 1, [])

    plan = check(tree(folder, judge or {}, **output))
    on_loop(Job(plan, LocalFiles(), connect=connect).run(retry))
    return client


def tree(folder: Path, judge: Mapping[str, Any], **output: Any) -> dict[str, Any]:
    return {
        "input": {"shards": [f"{folder}/in/*.parquet"], "id": "id"},
        "judge": {"prompt": "{id}", "attempts": 1, **judge},
        "model": {"name": "gpt-4o-mini"},
        "limits": {"max_failed_share": 1.0},
        "output": {"path": f"{folder}/out", **output},
    }


def again(folder: Path, *sets: str, files: LocalFiles | None = None) -> None:
    reread(files or LocalFiles(), f"{folder}/out", sets, wall_s=lambda: NOW_S)


def found(folder: Path) -> pl.DataFrame:
    return scan_scores(f"{folder}/out").sort("shard", "row").collect()


def whole(folder: Path) -> bool:
    return verify(LocalFiles(), f"{folder}/out").complete


BOTH = {"r0": 'Score: 2\n{"score": 3}', "r1": "Score: 4", "r2": 'Score: 5\n{"score": 5}', "r3": "none"}
APART = {"criteria": ["wit", "tact"], "ask_criteria": "apart"}
