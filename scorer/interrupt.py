"""Ctrl-C in two stages: the first finishes what is under way, the second stores what is finished and ends."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from typing import Any

from scorer.build import Plan
from scorer.errors import Interrupted
from scorer.files import LocalFiles
from scorer.job import Job, Retry
from scorer.screen import Screen
from scorer.status import Status


async def run_interruptibly(planned: Plan, screen: Screen, retry: Retry | None) -> Status:
    """Runs a job under SIGINT and SIGTERM. Raises what the job raises, and Interrupted for either signal."""
    job = Job(planned, LocalFiles(), watch=screen.show)
    loop = asyncio.get_running_loop()
    task: asyncio.Task[Any] | None = asyncio.current_task()

    def stop() -> None:
        if not job.drain.asked:
            screen.say("Stopping: finishing the rows under way. Press Ctrl-C again to leave them.")
            job.stop()
        elif task is not None:
            screen.say("Leaving now: storing what is finished.")
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
