"""Workers as tasks of this process, in virtual time: the real owner, supervisor and workers, and no other process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

import pytest
from support.clock import inline, now

from scorer.build.assemble import make_client
from scorer.files.local_files import LocalFiles
from scorer.job.distributed_scoring import MakeLauncher
from scorer.types import Transport
from scorer.workers import messages
from scorer.workers.coordinator import Coordinator
from scorer.workers.messages import Answer, Hello, Report
from scorer.workers.worker import Worker

ENDS_S = 600.0
"""A run is over by then, on the loop's clock."""


class InThisProcess:
    """A launcher whose wire to a worker is a call that takes a millisecond; messages are encoded and decoded."""

    def __init__(self, owner: Coordinator, wall_s: Callable[[], float]) -> None:
        self._owner, self._wall_s = owner, wall_s

    async def run_worker(self, hello: Hello) -> str | None:
        async def exchange(report: Report) -> Answer:
            await asyncio.sleep(0.001)
            assert now() < ENDS_S, "a run that goes on for ever"
            told = messages.report(messages.packed(report))
            return messages.answer(messages.packed(await self._owner.answer(hello.worker, told)))

        known = messages.hello(messages.packed(hello))
        await Worker(known, LocalFiles(), exchange, offload=inline, wall_s=self._wall_s, lived_s=now).run()
        return None

    def dismiss(self) -> None:
        raise NotImplementedError


def in_this_process(
    patch: pytest.MonkeyPatch, transport: Transport, wall_s: Callable[[], float] = lambda: 1_790_000_000.0
) -> MakeLauncher:
    """What a `Job` takes as its launcher; its workers send over `transport`."""
    patch.setattr("scorer.workers.worker.make_client", partial(make_client, transport=transport))
    return lambda owner: InThisProcess(owner, wall_s)
