"""Promise: every published result counts, the rest is scored by other workers, and only the owner seals."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from support.clock import inline, now, run
from support.outputs import FINGERPRINT, SCHEMA, Output, result

from scorer.build.endpoints import most_workers
from scorer.build.open_run import OpenRun
from scorer.build.plan import RunPlan, check
from scorer.errors import OutputError, SetupError, SpecError
from scorer.output.layout import Segment
from scorer.output.ledger import Ledger
from scorer.output.manifest import Manifest
from scorer.output.partial_rows import PartialRows
from scorer.output.run_files import RunFiles
from scorer.output.store import Store
from scorer.output.worker_store import WorkerStore
from scorer.usage import (
    Usage,
)
from scorer.workers.broker_client import BrokerClient
from scorer.workers.coordinator import Coordinator, _error
from scorer.workers.messages import Answer, Failure, Hello, Report, Slice, Spendings
from scorer.workers.worker import Worker, ledger_name


def plan_of(out: Output, **limits: Any) -> RunPlan:
    return check(
        {
            "input": {"shards": [shard.path for shard in out.shards]},
            "judge": {"prompt": "{response}", "scale": [1, 5]},
            "model": {"name": "judge", "base_url": "http://127.0.0.1:9/v1", "price": {"input": 1, "output": 1}},
            "limits": {"concurrency": 4, **limits},
            "output": {"path": out.layout.out},
        }
    )


def owner_of(out: Output, store: Store, **limits: Any) -> tuple[Coordinator, Ledger]:
    ledger = Ledger(out.files, out.layout.ledger, "owner", offload=inline, strict=True)
    ledger.open()
    manifest = Manifest(FINGERPRINT, {}, {}, "2026-11-24T00:00:00+00:00", out.shards)
    partial = PartialRows(out.files, out.layout.partial, FINGERPRINT)
    opened = OpenRun(
        plan_of(out, **limits), manifest, out.files, out.layout, store, ledger, partial, inline, now, owned=lambda: True
    )
    owner = Coordinator(opened, workers=2, served={}, gather_s=0.1)
    return owner, ledger


def test_coordinator_answers_no_worker_once_its_folder_is_lost(tmp_path: Path) -> None:
    """Else a worker waits for an answer for ever, and the run with it, once it came back from a cut line."""
    sure: list[bool | Exception] = [True, False, False, OutputError("taken over")]

    def owned() -> bool:
        now_ = sure.pop(0) if len(sure) > 1 else sure[0]
        if isinstance(now_, Exception):
            raise now_
        return now_

    async def scenario() -> None:
        out = Output(tmp_path, 5)
        owner, _ = owner_of(out, out.store())
        owner._opened = replace(owner._opened, owned=owned)
        report = Report(Spendings({}))
        assert isinstance(await owner.answer(1, report), Answer)
        with pytest.raises(OutputError, match="taken over"):
            await owner.answer(1, report)

    run(scenario())


class Hand:
    """A worker without a judge: it scores what it is told to, and tells or does not."""

    def __init__(self, out: Output, owner: Coordinator, schema: pa.Schema = SCHEMA) -> None:
        self.hello: Hello = owner.hello(0)
        self.number = self.hello.worker
        self._out, self._owner = out, owner

        async def never(_: Report) -> Answer:
            raise AssertionError

        self.client = BrokerClient(never, lease_s=0.1, on_order=lambda _: None)
        self.store = WorkerStore(
            RunFiles(out.files, out.layout, self.hello.run, FINGERPRINT, lambda _: schema, self.number),
            offload=inline,
            flush_rows=10**6,
            flush_s=10**6,
            on_written=self.client.publish,
            owned=self.client.sure,
        )
        self.ledger = Ledger(
            out.files, out.layout.ledger, ledger_name(self.hello.owner, self.number), offload=inline, strict=True
        )

    def lease(self) -> list[int]:
        """Rows of the first shard that are now this worker's."""
        (portion,) = self.tell(wants=1).portions
        for leased in portion:
            self.store.begin(self._out.shards[0], leased.generation, leased.number)
        return [number for leased in portion for number in _numbers(leased)]

    def tell(self, *, wants: int = 0, ended: bool = False) -> Answer:
        report = self.client._report(self.client.endpoints, ended=ended, failure=None)
        return self._owner.exchange(
            self.number, Report(Spendings({}), published=report.published, wants=wants, ended=ended)
        )

    async def publish(self, numbers: Iterable[int], error: str | None = None) -> None:
        for number in numbers:
            self.store.add(result(self._out.shards[0], number, error=error))
        await self.store.close()


def _numbers(leased: Slice) -> list[int]:
    if leased.mask is None:
        return list(range(leased.first, leased.stop))
    bits = np.unpackbits(np.frombuffer(leased.mask, dtype=np.uint8), count=leased.stop - leased.first)
    return [leased.first + int(n) for n in np.flatnonzero(bits)]


def test_coordinator_seals_shard_once_every_row_is_reported(tmp_path: Path) -> None:
    async def scenario() -> None:
        out = Output(tmp_path, 100)
        store = out.store()
        owner, _ = owner_of(out, store)
        await owner.feed(store.work(out.shards))
        one, two = Hand(out, owner), Hand(out, owner)
        while not owner.broker.rows.done:
            for hand in (one, two):
                await hand.publish(hand.lease())
                hand.tell()
                await store.close()
                assert out.sealed().exists() == owner.broker.rows.done
                if owner.broker.rows.done:
                    break
        assert [row["row"] for row in out.rows()] == list(range(100))
        assert (store.counts.rows, store.counts.scored) == (100, 100)
        assert {path.name.split("-")[1] for path in out.segments()} == {"w1", "w2"}

    run(scenario())


def test_coordinator_recovers_results_of_dead_worker_and_reassigns_rest(tmp_path: Path) -> None:
    async def scenario() -> None:
        out = Output(tmp_path, 60)
        store = out.store()
        owner, _ = owner_of(out, store, max_tokens=10**6)
        await owner.feed(store.work(out.shards))
        dead, living = Hand(out, owner), Hand(out, owner)
        mine = dead.lease()
        await dead.publish(mine[:2])
        dead.tell()
        await dead.publish(mine[2:4], error="Refused")  # published, and it dies before it can tell
        dead.ledger.settle(dead.ledger.reserve(20, 5), Usage(10, 2), 3)
        dead.ledger.reserve(20, 5)
        await dead.ledger.close()
        await owner.lost(dead.number)
        assert (store.counts.rows, store.counts.errors) == (4, {"Refused": 2})
        assert (owner.broker.totals.tokens, owner.broker.totals.maybe_requests) == (32, 1)
        found = []
        while not owner.broker.rows.done:
            numbers = living.lease()
            found += numbers
            await living.publish(numbers)
            living.tell()
        assert sorted(found) == sorted(set(range(60)) - set(mine[:4]))
        await store.close()
        assert [row["row"] for row in out.rows()] == list(range(60))
        assert store.counts.rows == 60

    run(scenario())


def test_coordinator_deletes_only_the_file_that_a_dead_worker_was_writing(tmp_path: Path) -> None:
    async def scenario() -> None:
        out = Output(tmp_path, 10)
        store = out.store()
        owner, _ = owner_of(out, store)
        await owner.feed(store.work(out.shards))
        dead = Hand(out, owner)
        first, *_ = dead.lease()
        await dead.publish([first])
        (written,) = out.segments()
        partial = [written.with_name(f".partial-g0-w{n}-000000001-000000001-1.parquet-77-0") for n in (dead.number, 11)]
        for path in partial:
            path.touch()
        await owner.lost(dead.number)
        assert [path.exists() for path in (*partial, written)] == [False, True, True]

    run(scenario())


def test_coordinator_counts_copied_rows_of_dead_worker_as_copies(tmp_path: Path) -> None:
    async def scenario() -> None:
        out = Output(tmp_path, 10)
        store = out.store()
        owner, _ = owner_of(out, store)
        await owner.feed(store.work(out.shards))
        dead = Hand(out, owner, SCHEMA.append(pa.field("copied_from", pa.string())))
        first, second, *_ = dead.lease()
        dead.store.add(result(out.shards[0], first))
        dead.store.add(replace(result(out.shards[0], second), copied_from=f"{out.shards[0].path}#{first}"))
        await dead.store.close()
        await owner.lost(dead.number)
        assert (store.counts.rows, store.counts.copied) == (2, 1)

    run(scenario())


def test_coordinator_numbers_segments_of_later_start_anew(tmp_path: Path) -> None:
    async def scenario() -> None:
        out = Output(tmp_path, 60)
        for _ in range(2):
            store = out.store()
            owner, _ = owner_of(out, store)
            await owner.feed(store.work(out.shards))
            hand = Hand(out, owner)
            await hand.publish(hand.lease())
            hand.tell()
        assert [path.name for path in out.segments()] == [
            "g0-w1-000000000-000000007-0.parquet",
            "g0-w1-000000008-000000015-1.parquet",
        ]

    run(scenario())


def test_store_adopt_counts_merged_segment_only_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        out = Output(tmp_path, 60)
        store = out.store()
        list(store.work(out.shards))
        state = store._unfinished(out.shards[0].path)
        state.segments.append(Segment("a", 0, 3, 0, 19, 0, 5))
        before = store.counts.rows
        store.adopt(out.shards[0].path, Segment("a", 0, 3, 4, 7, 2, 2), store.counts)
        assert (store.counts.rows, len(state.segments)) == (before, 1)

    run(scenario())


def test_most_workers_is_at_most_concurrency(tmp_path: Path) -> None:
    assert most_workers(plan_of(Output(tmp_path, 1)).spec, 9) == 4


@pytest.mark.parametrize(
    ("failure", "kind", "text"),
    [
        (Failure("SetupError", "no key"), SetupError, "no key"),
        (Failure("SpecError", "one\ntwo"), SpecError, "one\ntwo"),
        (Failure("ShardChanged", "a changed"), OutputError, "a changed"),
        (Failure("", "Traceback: a bug"), RuntimeError, "Traceback: a bug"),
    ],
)
def test_coordinator_raises_worker_failure_with_its_type_and_text(
    failure: Failure, kind: type[Exception], text: str
) -> None:
    error = _error(failure)
    assert type(error) is kind
    assert text in str(error)


def test_worker_of_another_version_does_not_score(tmp_path: Path) -> None:
    async def scenario() -> None:
        out = Output(tmp_path, 4)
        owner, _ = owner_of(out, out.store())
        tree = plan_of(out).spec.model_dump(mode="json", exclude_defaults=True)
        hello = owner.hello(0)
        fields = {name: getattr(hello, name) for name in hello.__struct_fields__}
        reports: list[Report] = []

        async def exchange(report: Report) -> Answer:
            reports.append(report)
            return owner.exchange(1, report)

        await Worker(
            Hello(**{**fields, "spec": tree, "fingerprint": "another"}), out.files, exchange, offload=inline
        ).run()
        assert reports[-1].failure is not None
        assert reports[-1].failure.kind == "OutputError"
        with pytest.raises(OutputError, match="All workers need the same version"):
            owner.check()

    run(scenario())


def test_coordinator_does_not_lease_rows_already_scored(tmp_path: Path) -> None:
    async def scenario() -> None:
        out = Output(tmp_path, 40)
        await out.score({0: range(0, 40, 2)})
        store = out.store()
        owner, _ = owner_of(out, store)
        await owner.feed(store.work(out.shards))
        hand = Hand(out, owner)
        assert hand.lease() == [1, 3, 5, 7, 9, 11, 13, 15]
        assert store.found == 20

    run(scenario())
