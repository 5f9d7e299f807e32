"""Background services of a run: they run as long as the main task, and the first failure ends all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol

from scorer.engine.engine import first_cause
from scorer.processes.periodic_service import PeriodicService


class Service(Protocol):
    """Runs until `stop`, and then finishes what it is writing."""

    async def serve(self) -> None: ...
    def stop(self) -> None: ...


async def served(main: Coroutine[Any, Any, None], services: Sequence[Service]) -> None:
    """Runs `main` and the services together; the first failure ends all. A service finishes what it is writing."""
    try:
        async with asyncio.TaskGroup() as group:
            for service in services:
                group.create_task(service.serve())
            try:
                await main
            finally:
                for service in services:
                    service.stop()
    except BaseExceptionGroup as failures:
        raise first_cause(failures) from None


class Watch(PeriodicService):
    """Runs `checks` once a second: whether the servers that the run started live, and the lock is held."""

    rests_first = False

    def __init__(self, checks: Sequence[Callable[[], object]]) -> None:
        super().__init__(period_s=1.0)
        self._checks = checks

    async def work(self) -> None:
        for check in self._checks:
            check()
