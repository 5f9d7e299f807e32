"""Promise: canaries go in each batch, are watched in the order of submission, and are neither lost nor paid twice."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import orjson
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.batch_provider import BatchProvider, row_of
from support.clock import inline
from support.clock import run as in_virtual_time
from support.outputs import Crash, Crashing
from support.transport import FakeTransport

from scorer.analysis.sequential.drift import Drift
from scorer.build.assemble import make_client
from scorer.build.plan import check
from scorer.errors import BatchesOut, Drifted
from scorer.files.local_files import LocalFiles
from scorer.job.batch_state import Waiting
from scorer.job.forget import Choice
from scorer.job.job import Job
from scorer.output.canary_files import load_answers, load_state
from scorer.output.layout import Layout
from scorer.output.status import Status, status
from scorer.output.verify.folder import verify
from scorer.types import Call, Reply

ROWS, KNOWN = 240, 40
EPOCH = 1_790_000_000.0


class Online(FakeTransport):
    """The same judge online."""

    def __init__(self, score: Callable[[int], float]) -> None:
        super().__init__()
        self.score = score
        self.asked: list[int] = []

    async def reply(self, call: Call, number: int) -> Reply:
        row = row_of(orjson.loads(call.body))
        self.asked.append(row)
        choice = {"message": {"content": f"Score: {self.score(row):g}"}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 10, "completion_tokens": 2}
        return Reply(200, {}, orjson.dumps({"choices": [choice], "usage": usage, "model": "m"}))


class Run:
    """`ROWS` rows and `KNOWN` known ones, of which the judge is wrong about the share `wrong` by half of the scale."""

    def __init__(self, root: Path, provider: BatchProvider | None = None, wrong: float = 0.1) -> None:
        self.root, self.out, self.wrong, self.starts = root, f"{root}/out", wrong, 0
        self.provider = provider or BatchProvider(takes_s=1)
        self.provider.score = self.score
        self.online = Online(self.score)
        pq.write_table(pa.table({"id": [f"r{n}" for n in range(ROWS)]}), root / "in.parquet")
        known = {"id": [f"r{1000 + n}" for n in range(KNOWN)], "human": [1.0 + n % 5 for n in range(KNOWN)]}
        pq.write_table(pa.table(known), root / "known.parquet")

    def score(self, row: int) -> float:
        if row < 1000:
            return 3.0
        known = 1.0 + (row - 1000) % 5
        return known if row - 1000 >= self.wrong * KNOWN else known + (2 if known <= 3 else -2)

    def run(self, waiting: Waiting = "wait", files: LocalFiles | None = None, accept: bool = False) -> Status:
        self.starts += 1
        plan = check(
            {
                "input": {"shards": [f"{self.root}/in.parquet"]},
                "judge": {"prompt": "[row:{id}] Rate it.", "scale": [1, 5]},
                "model": {
                    "name": "m",
                    "base_url": "http://127.0.0.1:1/v1",
                    "mode": "batch",
                    "batch": {"max_requests": 60, "min_requests": 10, "poll_s": 10, "grace_s": 60},
                },
                "limits": {"concurrency": 16},
                "canary": {"shards": [f"{self.root}/known.parquet"], "human": "human", "share": 0.25, "band": 0.15},
                "output": {"path": self.out},
            }
        )
        job = Job(
            plan,
            files or LocalFiles(),
            offload=inline,
            wall_s=lambda: EPOCH + 1000.0 * self.starts,
            connect=partial(make_client, transport=self.online),
            make_api=self.provider,
        )
        return in_virtual_time(job.run(None, Choice(waiting=waiting, accept_drift=accept)))

    @property
    def canaries(self) -> list[dict]:
        return load_answers(LocalFiles(), Layout(self.out)).to_pylist()

    def exact(self) -> None:
        """Each row was paid for once, and so was each canary whose answer is kept."""
        times = self.provider.paid.copy()
        times.update(self.online.asked)
        assert {row: many for row, many in times.items() if row < 1000 and many != 1} == {}
        canaries = self.canaries
        assert sum(many for row, many in times.items() if row >= 1000) == len(canaries)
        assert [one["canary"] for one in canaries] == list(range(len(canaries)))
        assert verify(LocalFiles(), self.out).findings == ()
        assert not list(Path(self.out, "batches").glob("*.jsonl"))


def test_each_batch_has_its_share_of_canaries_and_the_run_ends_as_one_without(tmp_path: Path) -> None:
    run = Run(tmp_path)
    found = run.run()
    assert (found.state, found.rows, found.scored) == ("complete", ROWS, ROWS)
    run.exact()
    for made in run.provider.made.values():
        known = sum(row_of(body) >= 1000 for _, body in made.requests)
        assert known == pytest.approx(len(made.requests) / 5, abs=1)
    assert len(run.canaries) == ROWS * 0.25
    assert {one["loss"] for one in run.canaries} == {0.0, 0.5}
    scores = pl.read_parquet(f"{run.out}/scores/*.parquet")
    assert scores.height == ROWS


def test_drift_ends_the_run_cancels_what_is_out_and_the_next_start_asks_a_round_first(tmp_path: Path) -> None:
    run = Run(tmp_path, BatchProvider(takes_s=0), wrong=0.9)
    with pytest.raises(BatchesOut):
        run.run("no-wait")
    for made in list(run.provider.made.values())[3:]:
        made.ends_at = 10_000.0
    with pytest.raises(Drifted):
        run.run()
    found = status(LocalFiles(), run.out)
    assert 0 < found.scored < ROWS
    assert any(made.cancelled for made in run.provider.made.values())
    assert not run.provider.running
    watch = Drift(0.15, ROWS // 4)
    alarms = [one["canary"] for one in run.canaries if watch.add(one["loss"])]
    assert [one.canary for one in load_state(LocalFiles(), Layout(run.out)).alarms] == alarms
    made = len(run.provider.made)
    with pytest.raises(Drifted):
        run.run()
    assert len(run.provider.made) == made
    assert len(run.online.asked) == 100
    run.wrong = 0.1
    found = run.run()
    assert (found.state, found.scored) == ("complete", ROWS)
    run.exact()


def test_canaries_in_batches_survive_kills_and_lost_lines(tmp_path: Path) -> None:
    lost = set(range(0, ROWS, 5)) | set(range(1000, 1000 + KNOWN, 4))
    again = sum(row < 1000 for row in lost)  # counted now: the provider takes them out of the set
    run = Run(tmp_path, BatchProvider(takes_s=1, unexecuted=lost, names=False))
    for step in (15, 22, 30, 38):
        try:
            run.run(files=Crashing(step, after=step % 2 == 0))
        except (Crash, BaseExceptionGroup):
            (Path(run.out) / "lock").unlink(missing_ok=True)
    found = run.run()
    assert (found.state, found.scored) == ("complete", ROWS)
    run.exact()
    # A start draws canaries for rows that it asks again, too.
    assert ROWS * 0.25 - 4 <= len(run.canaries) <= (ROWS + again) * 0.25 + run.starts


def test_known_rows_that_changed_meanwhile_are_not_taken_for_others(tmp_path: Path) -> None:
    run = Run(tmp_path, BatchProvider(takes_s=0))
    with pytest.raises(BatchesOut):
        run.run("no-wait")
    table = pq.read_table(tmp_path / "known.parquet").slice(0, 20)
    pq.write_table(table, tmp_path / "known.parquet")
    found = run.run()
    assert (found.state, found.scored) == ("complete", ROWS)
    assert run.canaries == []
