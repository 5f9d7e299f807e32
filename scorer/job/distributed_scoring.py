"""Scores the rows of an open output folder in workers that share its limits. Loaded only where a run has workers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack

from scorer.build.assemble import serve_embedded
from scorer.build.open_run import OpenRun
from scorer.job.scoring import Range, StartedWork, concurrency_range
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
    """Scores in `workers` processes that `launcher` starts. Ledger entries are written every `gather_s` seconds."""

    def __init__(self, opened: OpenRun, launcher: MakeLauncher, *, workers: int, gather_s: float) -> None:
        self._opened = opened
        self._launcher = launcher
        self._workers = workers
        self._gather_s = gather_s
        self._owner: Coordinator | None = None
        self._settings = LiveSettings()

    async def begin(self, work: Iterator[Work], stack: AsyncExitStack) -> StartedWork:
        opened = self._opened
        checks: list[Callable[[], None]] = []
        owner = self._owner = Coordinator(
            opened,
            workers=self._workers,
            served=serve_embedded(opened.plan.spec, stack, checks),
            gather_s=self._gather_s,
        )
        owner.broker.apply(self._settings)
        return Supervisor(owner, self._launcher(owner), opened.say).run(work), checks

    def drain(self) -> None:
        if self._owner is not None:
            leave(self._owner.broker, Order.DRAIN)

    def apply(self, settings: LiveSettings) -> None:
        self._settings = settings
        if self._owner is not None:
            self._owner.broker.apply(settings)

    @property
    def concurrency(self) -> Range:
        return concurrency_range(self._opened.plan.spec, self.load.places, self._workers)

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
        return LimiterStats() if self._owner is None else self._owner.broker.load

    @property
    def batches(self) -> BatchesOut:
        return BatchesOut()
