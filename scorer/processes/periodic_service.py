"""A background service: works again and again until it is stopped. On the loop's clock; imports nothing of scorer."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from contextlib import suppress


class PeriodicService(ABC):
    """Calls `work` every `period_s` seconds, and sooner after `wake`, until `stop`.

    `rests_first`: it waits before it works. So it works once more after `stop`. Make it inside a running event loop.
    """

    rests_first = True

    def __init__(self, period_s: float) -> None:
        self.period_s = period_s
        self._woken = asyncio.Event()
        self._stopped = False

    @abstractmethod
    async def work(self) -> None:
        """One turn. What it raises ends the service."""

    async def serve(self) -> None:
        """Works until `stop`. Cancelling it cancels the turn under way."""
        while not self._stopped:
            if self.rests_first:
                await self.rest()
            self._woken.clear()
            await self.work()
            if not self.rests_first:
                await self.rest()

    async def rest(self) -> None:
        """Returns after `period_s`, or at once where `wake` or `stop` was called since the last turn began."""
        if not self._stopped:
            with suppress(TimeoutError):
                async with asyncio.timeout(self.period_s):
                    await self._woken.wait()

    def wake(self) -> None:
        """Lets the next turn begin now."""
        self._woken.set()

    def stop(self) -> None:
        """Lets `serve` return after the turn under way."""
        self._stopped = True
        self._woken.set()
