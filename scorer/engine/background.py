"""Background services of a run: they run as long as the main task, and the first failure ends all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any, Protocol

from scorer.engine.engine import first_cause


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


class Watch:
    """Runs `checks` once a second: whether the servers that the run started live, and the lock is held."""

    def __init__(self, checks: Sequence[Callable[[], object]]) -> None:
        self._checks = checks
        self._stopping = asyncio.Event()

    async def serve(self) -> None:
        while not self._stopping.is_set():
            for check in self._checks:
                check()
            with suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await self._stopping.wait()

    def stop(self) -> None:
        self._stopping.set()
