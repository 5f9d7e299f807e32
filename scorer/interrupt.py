"""Ctrl-C in two stages: the first finishes what is under way, the second stores what is finished and ends."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable
from typing import Any

from scorer.build import Plan
from scorer.errors import Interrupted
from scorer.job import Ears, Job, Retry
from scorer.lake.places import Places
from scorer.scoring import Hire
from scorer.screen import Screen
from scorer.showing import View
from scorer.status import Status


async def run_interruptibly(
    planned: Plan,
    view: View | Screen,
    retry: Retry | None,
    workers: int = 1,
    answered: Callable[[float], None] | None = None,
    hire: Hire | None = None,
) -> Status:
    """Runs a job under SIGINT and SIGTERM. Raises what the job raises, and Interrupted for either signal."""
    ears = Ears(view.show, view.say, view.tell, answered)
    job = Job(planned, Places(), ears=ears, workers=workers, hire=hire)
    loop = asyncio.get_running_loop()
    task: asyncio.Task[Any] | None = asyncio.current_task()

    def stop() -> None:
        if not job.drain.asked:
            view.say("Stopping: finishing the rows under way. Press Ctrl-C again to leave them.")
            job.stop()
        elif task is not None:
            view.say("Leaving now: storing what is finished.")
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError, RuntimeError):  # not the main thread, or not to be had here
            loop.add_signal_handler(number, stop)
    try:
        return await job.run(retry)
    except asyncio.CancelledError:
        raise Interrupted(
            "Interrupted. What is finished is stored; rows that were in flight may be billed and are asked again next "
            "time. The same command goes on from there."
        ) from None
