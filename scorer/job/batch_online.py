"""Asks rows of a run through batches online: those that are left in the end, and canaries after an alarm."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import cast

import numpy as np

from scorer.build.open_run import OpenRun
from scorer.engine import engine
from scorer.job.batch_state import BatchState
from scorer.job.scoring import Connect, LocalScoring, MixedIn, Range
from scorer.limits.live_settings import LiveSettings
from scorer.limits.load import LimiterStats
from scorer.output.canary_files import SHARD
from scorer.output.store import Store
from scorer.types import Result, Work


class NotingStore:
    """The store of a run. `add` is called with each result."""

    def __init__(self, store: Store, add: Callable[[Result], None]) -> None:
        self._store = store
        self.add = add

    async def room(self) -> None:
        await self._store.room()

    @property
    def full(self) -> bool:
        return self._store.full

    def on_room(self, wake: Callable[[], None]) -> None:
        self._store.on_room(wake)


class OnlineRows:
    """Scores some rows at a time online. With `halt` none is begun, and `drain` says so to those that are."""

    def __init__(
        self,
        opened: OpenRun,
        halt: engine.StopFlag,
        *,
        connect: Connect,
        answered: Callable[[float], None] | None,
    ) -> None:
        self._opened, self._halt = opened, halt
        self._connect, self._answered = connect, answered
        self._settings = LiveSettings()
        self._scoring: LocalScoring | None = None

    def drain(self) -> None:
        if self._scoring is not None:
            self._scoring.drain()

    def apply(self, settings: LiveSettings) -> None:
        self._settings = settings
        if self._scoring is not None:
            self._scoring.apply(settings)

    @property
    def concurrency(self) -> Range:
        return Range() if self._scoring is None else self._scoring.concurrency

    @property
    def load(self) -> LimiterStats | None:
        """None before anything was asked online."""
        return None if self._scoring is None else self._scoring.load

    @property
    def places(self) -> int:
        return 0 if (scoring := self._scoring) is None else scoring.places

    async def rest(self, state: BatchState, *, todo: bool) -> None:
        """Asks the rows that have no result; with `todo`, only those that are in no batch."""
        masks = [
            (part, np.logical_or.reduce([*part.todo.values()]) & part.left if todo else part.left)
            for part in state.rows.parts
        ]
        works = [*state.rows.works(masks)]
        if works and not self._halt.asked:
            store = NotingStore(self._opened.store, state.store)
            opened = replace(self._opened, store=cast(Store, store), partial=state.known)
            apart = [work for work in works if work.shard.path.startswith(SHARD)]
            mixed = None if state.canaries is None else state.canaries.online(apart)
            state.unread.update(await self.score(opened, iter(works[len(apart) :]), mixed))
        await state.close_finished()

    async def score(self, opened: OpenRun, work: Iterator[Work], mixed: MixedIn | None) -> dict[str, str]:
        """Scores the work. Returns why shards were left out, by their path."""
        async with AsyncExitStack() as stack:
            self._scoring = scoring = LocalScoring(
                opened, self._halt, connect=self._connect, answered=self._answered, mixed=mixed
            )
            scoring.apply(self._settings)
            scored, _ = await scoring.begin(work, stack)
            if self._halt.asked:
                scoring.drain()
            await scored
        return scoring.unread
