"""One run from its lock to its last sealed shard: opens the output, starts the services, lets the engine work.

The only module that knows the order of things. What to score is asked of the store, how of wiring.py.
"""

from __future__ import annotations

import asyncio
import os
import platform
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, ExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from typing import Any, Protocol

from scorer import engine, ledger
from scorer.build import Plan
from scorer.errors import Interrupted, OutputError, StorageError
from scorer.files import Files, Lock
from scorer.limits import Caps, Local
from scorer.opening import open_manifest, schema_of
from scorer.progress import Gauges, Progress, Snapshot
from scorer.schema import Offload, Work
from scorer.source import Reader
from scorer.spec import Spec
from scorer.status import Status, status, within_share
from scorer.store.layout import Layout
from scorer.store.manifest import Manifest, Revision, save
from scorer.store.store import Store
from scorer.wiring import ROOM_FOR_TEXT, Wires, counter, make_client, make_measure, raw_of

LOCK_TRIES = 5
"""`scorer status` probes the lock for an instant; a start that meets it tries again."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Scores again the rows that ended in one of `errors` (None: in any error)."""

    errors: tuple[str, ...] | None = None


Connect = Callable[[Spec, Caps, AsyncExitStack, Callable[[], float]], Awaitable[Wires]]
"""What `wiring.make_client` does; a simulation connects to another world."""


class Job:
    """A plan applied to its input, into its output folder.

    `drain` is the wish to stop early, `watch` is shown a snapshot a second, `connect` makes the client. A job may be
    started once.
    """

    def __init__(
        self,
        plan: Plan,
        files: Files,
        *,
        offload: Offload | None = None,
        wall_s: Callable[[], float] = time.time,
        watch: Callable[[Snapshot], None] | None = None,
        connect: Connect = make_client,
    ) -> None:
        self.drain = engine.Drain()
        self.plan = plan
        self.layout = Layout(plan.spec.output.path)
        self._files = files
        self._offload = offload
        self._wall_s = wall_s
        self._watch = watch
        self._connect = connect
        self._limits: list[Local] = []

    def stop(self) -> None:
        """Begins no further row; those under way are finished."""
        self.drain.asked = True
        for limits in self._limits:
            limits.drain()

    async def run(self, retry: Retry | None = None) -> Status:
        """Scores what is left to score and tells how it stands.

        Raises InputError, OutputError, SetupError, BudgetSpent, StorageError, TooManyFailed, or Interrupted after a
        `stop`; what is finished is stored then. Cancelling it stores what is finished too.
        """
        with ExitStack() as stack:
            if self._offload is None:
                pool = stack.enter_context(ThreadPoolExecutor(4, thread_name_prefix="scorer"))
                loop = asyncio.get_running_loop()
                self._offload = lambda fn, *args: loop.run_in_executor(pool, fn, *args)
            lock = await self._lock()
            stack.callback(lock.release)
            opened = None if retry is None else Revision(0, "retry", retry.errors)
            await self._score(open_manifest(self.plan, self._files, self.layout, opened), retry)
        return within_share(status(self._files, self.layout.out), self.plan.spec.limits.max_failed_share)

    # --- opening ------------------------------------------------------------------------------------------------------

    async def _lock(self) -> Lock:
        owner = f"process {os.getpid()} on {platform.node()} since {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"
        for _ in range(LOCK_TRIES - 1):
            with suppress(OutputError):
                return self._files.lock(self.layout.lock, owner)
            await asyncio.sleep(0.05)
        return self._files.lock(self.layout.lock, owner)

    # --- scoring ------------------------------------------------------------------------------------------------------

    async def _score(self, manifest: Manifest, retry: Retry | None) -> None:
        plan, spec, loop, offload = self.plan, self.plan.spec, asyncio.get_running_loop(), self._offload
        assert offload is not None
        async with AsyncExitStack() as ended_last:
            measure = make_measure(spec, ended_last)
            store = Store(
                self._files,
                self.layout,
                fingerprint=plan.fingerprint,
                schema_of=lambda shard: schema_of(plan, self._files, shard),
                offload=offload,
                flush_rows=spec.output.flush_rows,
                flush_s=spec.output.flush_s,
                measure=measure,
            )
            revision = manifest.open_revision
            store.open(revision.generation if revision is not None else None)
            if revision is None and all(store.sealed(shard) for shard in manifest.shards):
                return
            books = self._books()
            progress = Progress(
                self._files,
                self.layout.progress,
                rows_total=manifest.rows,
                gauges=self._gauges(store, books, manifest),
                wall_s=self._wall_s,
                offload=offload,
                watch=self._watch,
            )
            state = "stopped"
            try:
                async with AsyncExitStack() as stack:
                    caps = Caps(books, max_tokens=spec.limits.max_tokens, max_usd=spec.limits.max_usd)
                    wires = await self._connect(spec, caps, stack, loop.time)
                    self._limits = wires.limits
                    if self.drain.asked:
                        self.stop()
                    tokens = counter(spec)
                    reader = Reader(
                        self._files,
                        plan.columns,
                        count=tokens.count,
                        constant_tokens=tokens.count([plan.judge.constant])[0],
                    )
                    scoring = engine.run(
                        engine.Parts(plan.judge, wires.client, store, self._now_us, raw_of(spec.output.keep_raw)),
                        reader.batches(self._work(store, manifest, retry), offload),
                        in_flight=2 * wires.in_flight + 64,
                        in_flight_bytes=ROOM_FOR_TEXT,
                        drain=self.drain,
                    )
                    await _served(scoring, [store, books, progress, _Watch(wires.checks)])
                state = "interrupted" if self.drain.asked else "complete"
            except (asyncio.CancelledError, Interrupted):
                state = "interrupted"
                raise
            finally:
                await _closed(store, books, progress, state)
        if self.drain.asked:
            raise Interrupted("Stopped on request. What is finished is stored; the same command goes on from there.")
        if revision is not None:
            save(self._files, self.layout, manifest.finished(revision.generation))

    def _books(self) -> ledger.Ledger:
        limits = self.plan.spec.limits
        owner = f"{int(self._wall_s() * 1000):013d}-{os.getpid()}"
        capped = limits.max_tokens is not None or limits.max_usd is not None
        assert self._offload is not None
        books = ledger.Ledger(self._files, self.layout.ledger, owner, offload=self._offload, strict=capped)
        books.open()
        return books

    def _now_us(self) -> int:
        return int(self._wall_s() * 1e6)

    def _gauges(self, store: Store, books: ledger.Ledger, manifest: Manifest) -> Callable[[], Gauges]:
        before = sum(shard.rows for shard in manifest.shards if store.sealed(shard))
        clock = asyncio.get_running_loop().time

        def gauges() -> Gauges:
            totals, counts = books.totals, store.counts
            opened = [limits.breaker.open_since for limits in self._limits]
            down = [since for since in opened if since is not None]
            return Gauges(
                rows=counts.rows,
                found=before + store.found,
                scored=counts.scored,
                errors=dict(counts.errors),
                tokens=totals.prompt_tokens + totals.completion_tokens,
                tokens_limit=sum(limit.tokens_per_minute or 0 for limit in self._limits) or None,
                pico=totals.pico,
                maybe_pico=totals.maybe_pico,
                in_flight=sum(limits.in_flight for limits in self._limits),
                held_back_by=_most(self._limits),
                outage_s=clock() - min(down) if down and len(down) == len(opened) else None,
            )

        return gauges

    def _work(self, store: Store, manifest: Manifest, retry: Retry | None) -> Iterator[Work]:
        revision = manifest.open_revision
        again = store.again(manifest.shards, revision.generation, revision.errors) if revision is not None else iter(())
        return again if retry is not None else chain(again, store.work(manifest.shards))


class _Watch:
    """Looks once a second whether the servers that the run started still live."""

    def __init__(self, checks: Sequence[Callable[[], None]]) -> None:
        self._checks = checks
        self._stopping = asyncio.Event()

    async def serve(self) -> None:
        while not self._stopping.is_set():
            for check in self._checks:
                check()
            with suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await self._stopping.wait()

    def stop(self) -> None:
        self._stopping.set()


class _Service(Protocol):
    async def serve(self) -> None: ...
    def stop(self) -> None: ...


async def _served(main: Coroutine[Any, Any, None], services: Sequence[_Service]) -> None:
    """Runs `main` while the services run; whoever fails first ends all. A service finishes what it is writing."""
    try:
        async with asyncio.TaskGroup() as group:
            for service in services:
                group.create_task(service.serve())
            try:
                await main
            finally:
                for service in services:
                    service.stop()
    except BaseExceptionGroup as failures:
        raise engine.first_cause(failures) from None


async def _closed(store: Store, books: ledger.Ledger, progress: Progress, state: str) -> None:
    """Stores what is finished, whatever ended the run; a disk that fails again says nothing new."""
    try:
        await store.close()
    finally:
        with suppress(StorageError):
            await books.close()
            await progress.tell(state)


def _most(limits: list[Local]) -> dict[str, float]:
    shares: dict[str, float] = {}
    for one in limits:
        for name, share in one.held.shares().items():
            shares[name] = max(shares.get(name, 0.0), share)
    return shares
