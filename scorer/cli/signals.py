"""Ctrl-C in two stages: the first finishes the rows in flight, the second stores finished rows and ends."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from scorer.build.plan import RunPlan
from scorer.cli.progress_views import View
from scorer.cli.terminal import TerminalView
from scorer.errors import Interrupted
from scorer.files.router import HURRY_S, AnyFiles
from scorer.job.callbacks import Callbacks
from scorer.job.control_socket import served
from scorer.job.forget import ALL, Choice
from scorer.job.job import Job
from scorer.output.status import Status

if TYPE_CHECKING:
    from scorer.job.distributed_scoring import MakeLauncher
    from scorer.job.retry import Retry


class Stages:
    """Called at each signal: the first stops, the second leaves, and further ones never interrupt the storing.

    `called` says whether any came.
    """

    def __init__(self, stop: Callable[[], object], leave: Callable[[], object], say: Callable[[str], None]) -> None:
        self._stop = stop
        self._leave = leave
        self._say = say
        self._signals = 0

    @property
    def called(self) -> bool:
        return self._signals > 0

    def __call__(self) -> None:
        self._signals += 1
        if self._signals == 1:
            self._say("Stopping: finishing the rows under way. Press Ctrl-C again to leave them.")
            self._stop()
        elif self._signals == 2:
            self._say("Leaving now: storing what is finished.")
            self._leave()
        elif self._signals == 3:
            self._say("Still storing what is finished. Only kill -9 ends this at once, and what is not stored is lost.")


async def run_interruptibly(
    planned: RunPlan,
    view: View | TerminalView,
    retry: Retry | None,
    workers: int = 1,
    answered: Callable[[float], None] | None = None,
    launcher: MakeLauncher | None = None,
    choice: Choice = ALL,
) -> Status:
    """Runs a job under SIGINT and SIGTERM. Raises what the job raises, and Interrupted for either signal.

    Once one of them came, both are ignored from the job's end on: the command still prints how the run stands.
    """
    callbacks = Callbacks(view.show, view.say, view.tell, answered)
    places = AnyFiles()
    job = Job(planned, places, callbacks=callbacks, workers=workers, launcher=launcher, serve_control=served)
    loop = asyncio.get_running_loop()
    task: asyncio.Task[Any] | None = asyncio.current_task()
    assert task is not None

    def leave() -> None:
        places.hurry(HURRY_S)
        job.hurry()
        task.cancel()

    stop = Stages(job.stop, leave, view.say)
    handled = []
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError, RuntimeError):  # not the main thread, or not to be had here
            loop.add_signal_handler(number, stop)
            handled.append(number)
    try:
        return await job.run(retry, choice)
    except asyncio.CancelledError:
        raise Interrupted(
            "Interrupted. What is finished is stored; rows that were in flight may be billed and are asked again next "
            "time. The same command resumes."
        ) from None
    finally:
        for number in handled if stop.called else ():
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_IGN)  # not a handler, which Python takes away before the process ends
