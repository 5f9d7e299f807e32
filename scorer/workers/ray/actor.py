"""A worker of a run as a Ray actor. A method returns its report, and the next call brings the owner's answer.

So the owner notices a death by a call that fails. An actor without an owner is never called again: Ray ends it with the
process that made it, and until then `Worker` writes and sends nothing without an answer.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Sequence
from contextlib import suppress

from scorer.frozen import dataclass

SEES_S = 5.0
"""A new file may take this long to appear on a shared file system, which caches that it was missing."""
AGAIN_S = 0.25


@dataclass(frozen=True, slots=True)
class Place:
    """Where an actor runs. `missing` says why it cannot see the owner's output folder; None where it can."""

    node: str
    host: str
    version: str
    missing: str | None


class RayWorker:
    """One worker. It takes over the owner's current folder and import path, `folder` and `paths`, where they exist."""

    def __init__(self, folder: str, paths: Sequence[str]) -> None:
        from scorer.processes.search_path import search_last

        sys.path.extend(path for path in paths if path not in sys.path)
        search_last(folder)  # Ray puts the driver's folder first: a json.py there is not ours to import

        from scorer.processes.memory import keep_memory_flat, let_idle_threads_sleep, tune_gc

        keep_memory_flat()
        let_idle_threads_sleep()
        tune_gc()
        with suppress(OSError):  # another machine: only relative paths would need it, and `look` finds that out
            os.chdir(folder)
        self._reports: asyncio.Queue[bytes] = asyncio.Queue()
        self._answer: asyncio.Future[bytes] | None = None
        self._run: asyncio.Task[None] | None = None

    async def look(self, path: str, content: bytes) -> Place:
        """Says where it runs, and whether it sees the output folder: a file in it that the owner has just written."""
        import ray

        from scorer import __version__

        context = ray.get_runtime_context()
        missing = await asyncio.get_running_loop().run_in_executor(None, _missing, path, content)
        host = str(ray.util.get_node_ip_address())  # type: ignore[no-untyped-call]
        return Place(context.get_node_id(), host, __version__, missing)

    async def begin(self, hello: bytes) -> bytes:
        """Starts the work and returns the first report."""
        from scorer.files.router import HURRY_S, AnyFiles
        from scorer.processes.memory import stream_from_here
        from scorer.workers import messages
        from scorer.workers.worker import Worker

        async def exchange(report: messages.Report) -> messages.Answer:
            self._answer = asyncio.get_running_loop().create_future()
            self._reports.put_nowait(messages.packed(report))
            return messages.answer(await self._answer)

        places = AnyFiles()
        worker = Worker(
            messages.hello(hello),
            places,
            exchange,
            loaded=stream_from_here,
            hurry=lambda: places.hurry(HURRY_S),
        )
        self._run = asyncio.ensure_future(worker.run())
        return await self._next()

    async def hear(self, answer: bytes) -> bytes:
        """Takes the answer to the last report and returns the next report; empty once the work is over."""
        assert self._answer is not None
        self._answer.set_result(answer)
        return await self._next()

    async def _next(self) -> bytes:
        assert self._run is not None
        report = asyncio.ensure_future(self._reports.get())
        await asyncio.wait([report, self._run], return_when=asyncio.FIRST_COMPLETED)
        if report.done():
            return report.result()
        report.cancel()
        self._run.result()
        return b""


def _missing(path: str, content: bytes) -> str | None:
    from scorer.errors import ScorerError
    from scorer.files.files import read
    from scorer.files.router import AnyFiles

    deadline = time.monotonic() + SEES_S
    while True:
        try:
            found = read(AnyFiles(), path)
        except (OSError, ScorerError) as error:
            why = str(error)
        else:
            if found == content:
                return None
            why = "another file has its name"
        if time.monotonic() > deadline:
            return why
        time.sleep(AGAIN_S)
