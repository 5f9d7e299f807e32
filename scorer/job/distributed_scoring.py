"""Scores the rows of an open output folder in workers that share its limits. Loaded only where a run has workers."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from contextlib import AsyncExitStack
from typing import Any

from scorer.build.assemble import make_client, serve_embedded
from scorer.build.open_run import OpenRun
from scorer.canaries.watching import Canaries
from scorer.engine import engine
from scorer.job.scoring import Connect, LocalScoring, Range, StartedWork, concurrency_range
from scorer.limits.live_settings import LiveSettings
from scorer.limits.load import LimiterStats
from scorer.output.batches_out import BatchesOut
from scorer.output.ledger_totals import Totals
from scorer.types import Work
from scorer.workers.coordinator import Coordinator, leave
from scorer.workers.messages import Order
from scorer.workers.supervisor import Launcher, Supervisor

MakeLauncher = Callable[[Coordinator], Launcher]
"""Makes the launcher that starts a coordinator's workers: processes of this machine, or Ray actors."""


class DistributedScoring:
    """Scores in `workers` processes that `launcher` starts. Ledger entries are written every `gather_s` seconds.

    `canaries` are mixed in; after an alarm their round is asked in this process, before any worker is started.
    """

    def __init__(
        self,
        opened: OpenRun,
        launcher: MakeLauncher,
        *,
        workers: int,
        gather_s: float,
        drain: engine.StopFlag,
        canaries: Canaries | None = None,
        connect: Connect = make_client,
    ) -> None:
        self._opened = opened
        self._canaries = canaries
        self._connect = connect
        self._drain = drain
        self._round: LocalScoring | None = None
        self._launcher = launcher
        self._workers = workers
        self._gather_s = gather_s
        self._owner: Coordinator | None = None
        self._settings = LiveSettings()

    async def begin(self, work: Iterator[Work], stack: AsyncExitStack) -> StartedWork:
        checks: list[Callable[[], None]] = []
        if self._canaries is not None and self._canaries.doubted:
            return self._after_round(self._canaries, work, stack, checks), checks
        return self._workers_on(work, stack, checks), checks

    async def _after_round(
        self, canaries: Canaries, work: Iterator[Work], stack: AsyncExitStack, checks: list[Callable[[], None]]
    ) -> None:
        async with AsyncExitStack() as ended:
            self._round = LocalScoring(self._opened, self._drain, connect=self._connect, mixed=canaries)
            self._round.apply(self._settings)
            scored, _ = await self._round.begin(iter(()), ended)
            await scored
        self._round = None
        if not canaries.doubted and not self._drain.asked:
            await self._workers_on(work, stack, checks)

    def _workers_on(
        self, work: Iterator[Work], stack: AsyncExitStack, checks: list[Callable[[], None]]
    ) -> Coroutine[Any, Any, None]:
        opened = self._opened
        owner = self._owner = Coordinator(
            opened,
            workers=self._workers,
            served=serve_embedded(opened.plan.spec, stack, checks),
            gather_s=self._gather_s,
            canaries=self._canaries,
        )
        owner.broker.apply(self._settings)
        return Supervisor(owner, self._launcher(owner), opened.say).run(work)

    def drain(self) -> None:
        if self._round is not None:
            self._round.drain()
        if self._owner is not None:
            leave(self._owner.broker, Order.DRAIN)

    def apply(self, settings: LiveSettings) -> None:
        self._settings = settings
        if self._round is not None:
            self._round.apply(settings)
        if self._owner is not None:
            self._owner.broker.apply(settings)

    @property
    def concurrency(self) -> Range:
        return concurrency_range(self._opened.plan.spec, self.places, self._workers)

    def hurry(self) -> None:
        if self._owner is not None:
            leave(self._owner.broker, Order.HURRY)

    @property
    def unread(self) -> dict[str, str]:
        return {} if self._owner is None else self._owner.broker.unread

    @property
    def totals(self) -> Totals:
        return self._opened.ledger.totals if self._owner is None else self._owner.broker.totals

    @property
    def load(self) -> LimiterStats:
        if self._round is not None:
            return self._round.load
        return LimiterStats() if self._owner is None else self._owner.broker.load

    @property
    def places(self) -> int:
        if (last := self._round) is not None:
            return last.places
        return 0 if self._owner is None else self._owner.broker.places

    @property
    def batches(self) -> BatchesOut:
        return BatchesOut()
