"""Scores the rows of an open output folder, in this process or by workers that share its limits.

To a job the two are the same `Scoring`. Neither knows the lock, run.json, progress or publishing; both are given a
store and books that are open, and somebody else serves and closes them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Protocol

from scorer.build.assemble import ROOM_FOR_TEXT, Assembled, make_client, serve_embedded
from scorer.build.plan import RunPlan, make_parts, make_reader, rows_under_way
from scorer.config.spec import Spec
from scorer.engine import engine
from scorer.files.files import Files
from scorer.limits import Budget, LocalLimiter
from scorer.limits.load import LimiterStats, limiter_stats
from scorer.output.layout import Layout
from scorer.output.ledger import Ledger, Totals
from scorer.output.manifest import Manifest
from scorer.output.progress import Timed
from scorer.output.store import Store
from scorer.types import Offload, Work
from scorer.workers.coordinator import Coordinator, leave
from scorer.workers.messages import Order
from scorer.workers.supervisor import Launcher, Supervisor

Connect = Callable[[Spec, Budget, AsyncExitStack, Callable[[], float]], Awaitable[Assembled]]
"""What `wiring.make_client` does; a simulation connects to another world."""
Hire = Callable[[Coordinator], Launcher]
"""Who runs the workers of an owner, and where."""
StartedWork = tuple[Coroutine[Any, Any, None], list[Callable[[], None]]]
"""The work to await, and what raises where a server that was started for it is gone: look at that meanwhile."""


@dataclass(frozen=True, slots=True)
class OpenRun:
    """An output folder that is open, and what is scored into it. `owned` raises, or is False, where it is lost.

    `say` is told what a user should know.
    """

    plan: RunPlan
    manifest: Manifest
    files: Files
    layout: Layout
    store: Store
    books: Ledger
    offload: Offload
    wall_s: Callable[[], float]
    owned: Callable[[], bool]
    say: Callable[[str], None] = lambda _: None


class Scoring(Protocol):
    """Scores rows, once."""

    async def begin(self, work: Iterator[Work], stack: AsyncExitStack) -> StartedWork:
        """The scoring of `work`, not yet awaited. Servers and connections that it needs are on the stack."""
        ...

    def drain(self) -> None:
        """From now on no further row is begun; those under way are finished. Before `begin` it does nothing."""
        ...

    @property
    def unread(self) -> dict[str, str]:
        """By the path of its shard, why rows were left out: it is gone, or another one."""
        ...

    def hurry(self) -> None:
        """Storage that refuses what is finished is asked for a moment only: whoever works elsewhere is told so."""
        ...

    @property
    def totals(self) -> Totals: ...
    @property
    def load(self) -> LimiterStats: ...


class LocalScoring:
    """Scores in this process. `drain` is the wish to stop early; `answered` is told the seconds of each request."""

    def __init__(
        self,
        opened: OpenRun,
        drain: engine.StopFlag,
        *,
        connect: Connect = make_client,
        answered: Callable[[float], None] | None = None,
    ) -> None:
        self._opened = opened
        self._drain = drain
        self._connect = connect
        self._answered = answered
        self._limits: list[LocalLimiter] = []
        self._reader = make_reader(opened.plan, opened.files)
        self._clock = asyncio.get_running_loop().time

    async def begin(self, work: Iterator[Work], stack: AsyncExitStack) -> StartedWork:
        opened, plan = self._opened, self._opened.plan
        spec, store = plan.spec, opened.store
        caps = Budget(
            opened.books,
            max_tokens=spec.limits.max_tokens,
            max_usd=spec.limits.max_usd,
            room=store,
            owned=opened.owned,
        )
        wires = await self._connect(spec, caps, stack, self._clock)
        self._limits = wires.limits
        client = wires.client if self._answered is None else Timed(wires.client, self._answered)
        scoring = engine.run(
            make_parts(plan, client, store, opened.wall_s, stack),
            self._reader.batches(work, opened.offload),
            in_flight=rows_under_way(wires),
            in_flight_bytes=ROOM_FOR_TEXT,
            drain=self._drain,
        )
        return scoring, wires.checks

    def drain(self) -> None:
        for limits in self._limits:
            limits.drain()

    def hurry(self) -> None:
        pass  # the storage of this process is told by whoever opened it

    @property
    def unread(self) -> dict[str, str]:
        return self._reader.unread

    @property
    def totals(self) -> Totals:
        return self._opened.books.totals

    @property
    def load(self) -> LimiterStats:
        return limiter_stats(self._limits, self._clock())


class DistributedScoring:
    """Scores by so many workers, wherever `hire` runs them; their ledgers' lines gather for `gather_s`."""

    def __init__(self, opened: OpenRun, hire: Hire, *, workers: int, gather_s: float) -> None:
        self._opened = opened
        self._hire = hire
        self._workers = workers
        self._gather_s = gather_s
        self._owner: Coordinator | None = None

    async def begin(self, work: Iterator[Work], stack: AsyncExitStack) -> StartedWork:
        opened = self._opened
        checks: list[Callable[[], None]] = []
        owner = self._owner = Coordinator(
            opened.plan,
            opened.manifest,
            opened.files,
            opened.layout,
            opened.store,
            opened.books,
            workers=self._workers,
            served=serve_embedded(opened.plan.spec, stack, checks),
            offload=opened.offload,
            clock=asyncio.get_running_loop().time,
            gather_s=self._gather_s,
            owned=opened.owned,
            say=opened.say,
        )
        return Supervisor(owner, self._hire(owner), opened.say).run(work), checks

    def drain(self) -> None:
        if self._owner is not None:
            leave(self._owner.broker, Order.DRAIN)

    def hurry(self) -> None:
        if self._owner is not None:
            leave(self._owner.broker, Order.HURRY)

    @property
    def unread(self) -> dict[str, str]:
        return {} if self._owner is None else self._owner.broker.unread

    @property
    def totals(self) -> Totals:
        return self._opened.books.totals if self._owner is None else self._owner.broker.totals

    @property
    def load(self) -> LimiterStats:
        return LimiterStats() if self._owner is None else self._owner.broker.load
