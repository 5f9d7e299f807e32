"""Scores the rows of an open output folder in this process; and `Scoring`, the interface that a job calls.

`distributed_scoring` scores in workers. Neither way knows the lock, run.json, progress or publishing. Both take an open
store and an open ledger; the job serves and closes these.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack
from typing import Any, Protocol

from scorer.build.assemble import ROOM_FOR_TEXT, Assembled, make_client
from scorer.build.open_run import OpenRun
from scorer.build.plan import make_parts, make_reader, rows_under_way
from scorer.client.timed import TimedClient
from scorer.config.spec import Spec
from scorer.engine import engine
from scorer.limits import Budget, LocalLimiter
from scorer.limits.load import LimiterStats, limiter_stats
from scorer.output.ledger import Totals
from scorer.types import Work

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


class LocalScoring:
    """Scores in this process. `drain` stops it early; `answered` gets the latency in seconds of each request."""

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
        budget = Budget(
            opened.ledger,
            max_tokens=spec.limits.max_tokens,
            max_usd=spec.limits.max_usd,
            room=store,
            owned=opened.owned,
        )
        assembled = await self._connect(spec, budget, stack, self._clock)
        self._limits = assembled.limits
        client = assembled.client if self._answered is None else TimedClient(assembled.client, self._answered)
        scoring = engine.run(
            make_parts(plan, client, store, opened.wall_s, stack),
            self._reader.batches(work, opened.offload),
            in_flight=rows_under_way(assembled),
            in_flight_bytes=ROOM_FOR_TEXT,
            drain=self._drain,
        )
        return scoring, assembled.checks

    def drain(self) -> None:
        for limits in self._limits:
            limits.drain()

    def hurry(self) -> None:
        pass  # the caller of the job hurries the storage of this process itself

    @property
    def unread(self) -> dict[str, str]:
        return self._reader.unread

    @property
    def totals(self) -> Totals:
        return self._opened.ledger.totals

    @property
    def load(self) -> LimiterStats:
        return limiter_stats(self._limits, self._clock())
