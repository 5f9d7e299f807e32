"""Scores the rows of an open output folder in this process; and `Scoring`, the interface that a job calls.

`distributed_scoring` scores in workers. Neither way knows the lock, run.json, progress or publishing. Both take an open
store and an open ledger; the job serves and closes these.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack
from typing import Any, Protocol

from scorer.build.assemble import MOST_RAISED, ROOM_FOR_TEXT, Assembled, make_client
from scorer.build.endpoints import all_rate_limits
from scorer.build.open_run import OpenRun
from scorer.build.plan import in_order, make_parts, make_reader, rows_under_way
from scorer.client.timed import TimedClient
from scorer.config.spec import Spec
from scorer.engine import engine
from scorer.engine.admission import RowSlots
from scorer.engine.background import served
from scorer.frozen import dataclass
from scorer.limits import Budget, LocalLimiter
from scorer.limits.live_settings import LiveSettings, divided
from scorer.limits.load import LimiterStats, limiter_stats
from scorer.output.batches_out import BatchesOut
from scorer.output.ledger_totals import Totals
from scorer.types import Row, Work

Connect = Callable[[Spec, Budget, AsyncExitStack, Callable[[], float]], Awaitable[Assembled]]
"""The signature of `build.assemble.make_client`; a simulation passes its own."""
StartedWork = tuple[Coroutine[Any, Any, None], list[Callable[[], None]]]
"""The work to await, and checks to call while it runs: each raises where a server that was started for it has ended."""


class Scoring(Protocol):
    """Scores rows, once."""

    async def begin(self, work: Iterator[Work], stack: AsyncExitStack) -> StartedWork:
        """Prepares the scoring of `work`. The servers and connections that it needs end with `stack`."""
        ...

    def drain(self) -> None:
        """Starts no further row; rows in flight are finished. Does nothing before `begin`."""
        ...

    def apply(self, settings: LiveSettings) -> None:
        """Changes the run while it goes on; before `begin`, from its start.

        Raises SpecError for a higher cap where the run ends because of the old one.
        """
        ...

    @property
    def concurrency(self) -> Range:
        """Requests in flight over all endpoints: how many there may be now, and to which numbers it may be changed."""
        ...

    @property
    def unread(self) -> dict[str, str]:
        """Why rows were left out, by the path of their shard: the file is gone or was replaced."""
        ...

    def hurry(self) -> None:
        """Shortens the retries of failing storage in workers."""
        ...

    @property
    def totals(self) -> Totals: ...
    @property
    def load(self) -> LimiterStats: ...
    @property
    def places(self) -> int:
        """How many requests may be in flight; 0 where it is not known yet. Any thread may ask."""
        ...

    @property
    def batches(self) -> BatchesOut:
        """The provider batches that are out."""
        ...


class MixedIn(Protocol):
    """Rows that are scored with those of a run and are none of them: `[canary]`."""

    def mixed(self, batches: AsyncIterator[list[Row]]) -> AsyncIterator[list[Row]]:
        """The rows with others among them."""
        ...

    def around(self, parts: engine.RunContext) -> engine.RunContext:
        """The parts that score both."""
        ...


@dataclass(frozen=True, slots=True)
class Range:
    """A number, and the least and the most that it may be changed to. All are 0 where nothing can be changed."""

    now: int = 0
    least: int = 0
    most: int = 0


class LocalScoring:
    """Scores in this process. `drain` stops it early; `answered` gets the latency in seconds of each request.

    `mixed` puts rows among those of the work, which are no rows of the run; None for none.
    """

    def __init__(
        self,
        opened: OpenRun,
        drain: engine.StopFlag,
        *,
        connect: Connect = make_client,
        answered: Callable[[float], None] | None = None,
        mixed: MixedIn | None = None,
    ) -> None:
        self._mixed = mixed
        self._opened = opened
        self._drain = drain
        self._connect = connect
        self._answered = answered
        self._assembled: Assembled | None = None
        self._reader = make_reader(opened.plan, opened.files)
        self._clock = asyncio.get_running_loop().time
        self._settings = LiveSettings()
        self._budget: Budget | None = None
        self._slots: RowSlots | None = None

    async def begin(self, work: Iterator[Work], stack: AsyncExitStack) -> StartedWork:
        opened, plan = self._opened, self._opened.plan
        spec, store = plan.spec, opened.store
        budget = self._budget = Budget(
            opened.ledger,
            max_tokens=spec.limits.max_tokens,
            max_usd=spec.limits.max_usd,
            room=store,
            owned=opened.owned,
        )
        assembled = await self._connect(spec, budget, stack, self._clock)
        self._assembled = assembled
        slots = self._slots = RowSlots(rows_under_way(assembled.in_flight), ROOM_FOR_TEXT)
        self.apply(self._settings)
        assembled.on_fleet.append(self._fleet_changed)
        client = assembled.client if self._answered is None else TimedClient(assembled.client, self._answered)
        rows = in_order(plan, self._reader.batches(work, opened.offload), assembled.in_flight)
        mixed = self._mixed
        parts = make_parts(plan, client, store, opened.partial, opened.wall_s, stack)
        scoring = engine.run(
            parts if mixed is None else mixed.around(parts),
            rows if mixed is None else mixed.mixed(rows),
            slots=slots,
            drain=self._drain,
        )
        return served(scoring, assembled.fleets) if assembled.fleets else scoring, assembled.checks

    def _fleet_changed(self) -> None:
        """Replicas may have joined: what holds for the others holds for them."""
        if self._drain.asked:
            self.drain()
        self.apply(self._settings)
        if self._slots is not None and self._assembled is not None:
            self._slots.resize(rows_under_way(self._assembled.most_in_flight))

    def drain(self) -> None:
        for limits in self._limits:
            limits.drain()

    def apply(self, settings: LiveSettings) -> None:
        self._settings = settings
        if self._assembled is None or self._budget is None or self._slots is None:
            return
        self._budget.raise_to(max_tokens=settings.max_tokens, max_usd=settings.max_usd)
        for limits in self._limits:
            limits.pause(paused=settings.paused)
        if settings.concurrency is not None and self._limits:
            weights = [limits.most for limits in self._limits]
            for limits, places in zip(self._limits, divided(settings.concurrency, weights), strict=True):
                limits.set_concurrency(places)
            self._slots.resize(rows_under_way(self._assembled.most_in_flight))

    @property
    def concurrency(self) -> Range:
        return concurrency_range(self._opened.plan.spec, self.places, 1)

    def hurry(self) -> None:
        pass  # the caller of the job hurries the storage of this process itself

    @property
    def unread(self) -> dict[str, str]:
        return self._reader.unread

    @property
    def totals(self) -> Totals:
        return self._opened.ledger.totals

    @property
    def _limits(self) -> list[LocalLimiter]:
        return [] if self._assembled is None else self._assembled.limits

    @property
    def load(self) -> LimiterStats:
        return limiter_stats(self._limits, self._clock())

    @property
    def places(self) -> int:
        return sum(one.concurrency for one in self._limits)

    @property
    def batches(self) -> BatchesOut:
        return BatchesOut()


def concurrency_range(spec: Spec, now: int, workers: int) -> Range:
    """The range of requests in flight: each worker keeps one for each endpoint, and its connections are counted."""
    limits = all_rate_limits(spec)
    return Range(now, len(limits) * workers, MOST_RAISED * max(now, sum(rates.most for rates in limits)))
