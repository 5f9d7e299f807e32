"""Starts the workers of a run, replaces those that die, and stops them. A Launcher decides where they run.

`SubprocessLauncher` runs them on this machine; a cluster brings a `Launcher` of its own and nothing else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Protocol

from scorer.engine.engine import first_cause
from scorer.errors import WorkersLost
from scorer.processes.event_loop import shielded
from scorer.types import Work
from scorer.workers.coordinator import Coordinator, leave
from scorer.workers.messages import Hello, Order

LOOK_S = 1.0
"""The time between two checks of the folder's lock, while workers store finished rows."""
STRIKES = 3
"""A run ends once so many workers in a row died without finishing a row."""


class Launcher(Protocol):
    """Runs workers somewhere."""

    async def run_worker(self, hello: Hello) -> str | None:
        """Runs one `Worker` to its end, and has its reports answered by `Coordinator.answer`.

        None where it said that it ended; else how it died, in words, once it surely writes nothing more.
        """
        ...

    def dismiss(self) -> None:
        """Kills every worker at once. Rows that they had not written are lost."""
        ...


class Supervisor:
    """Keeps the workers of a run running. `say` gets a sentence for each that died."""

    def __init__(self, owner: Coordinator, launcher: Launcher, say: Callable[[str], None] = lambda _: None) -> None:
        self._owner = owner
        self._launcher = launcher
        self._say = say
        self._strikes = 0

    async def run(self, work: Iterator[Work]) -> None:
        """Scores the work. Raises what a worker raised, WorkersLost, and what reading the work raises.

        Cancelling it, however often, lets the workers store what is finished, however long that takes: one that is
        silent meanwhile is killed by its launcher. All are killed at once where the folder may be another owner's.
        """
        scoring = asyncio.ensure_future(self._work(work))
        try:
            await asyncio.shield(scoring)
        except asyncio.CancelledError:
            await shielded(self._leave(scoring))
            raise

    async def _leave(self, scoring: asyncio.Future[None]) -> None:
        leave(self._owner.broker, Order.LEAVE)
        while not scoring.done():
            if not self._owner.owned():
                self._launcher.dismiss()
            await asyncio.wait([scoring], timeout=LOOK_S)
        if not scoring.cancelled():
            scoring.exception()  # retrieved, so that asyncio logs nothing: the caller raises its own

    async def _work(self, work: Iterator[Work]) -> None:
        """After a failure the workers store finished rows; then it is raised."""
        broker = self._owner.broker

        def over(task: asyncio.Task[None]) -> None:
            if not task.cancelled() and task.exception() is not None:
                leave(broker, Order.LEAVE)

        feeding = asyncio.ensure_future(self._owner.feed(work))
        keepers = [asyncio.ensure_future(self._keep(index)) for index in range(self._owner.workers)]
        for task in (feeding, *keepers):
            task.add_done_callback(over)
        await asyncio.wait(keepers)
        feeding.cancel()
        await asyncio.wait([feeding])
        self._owner.check()
        ended = [task for task in (feeding, *keepers) if not task.cancelled()]
        if failures := [error for task in ended if (error := task.exception()) is not None]:
            raise first_cause(BaseExceptionGroup("workers failed", failures))

    async def _keep(self, index: int) -> None:
        """Runs a worker at this index, and a new one where it dies, until the work is done."""
        owner = self._owner
        while owner.broker.order is Order.SCORE and not owner.broker.rows.done:
            hello, left = owner.hello(index), owner.broker.rows.left
            died = await self._launcher.run_worker(hello)
            if died is None:
                return
            await owner.lost(hello.worker)
            if owner.broker.rows.done:
                return
            self._say(f"A worker ended early ({died}). Others score its rows, and another one takes its place.")
            self._strikes = self._strikes + 1 if owner.broker.rows.left == left else 0
            if self._strikes >= STRIKES:
                raise WorkersLost(
                    f"{STRIKES} workers ended one after another before any of them finished a row (the last one "
                    f"{died}). Is there memory for so many? Give fewer --workers. What is scored is kept."
                )
