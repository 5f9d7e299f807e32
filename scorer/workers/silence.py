"""The heartbeat timeout of a worker: one that reports nothing would keep its rows for ever."""

from __future__ import annotations

import asyncio

SILENT_S = 30.0
"""A worker that reports nothing for so long is killed; a living one reports every `broker_client.BEAT_S`."""
STARTS_S = 300.0
"""The same for its first report: before that it loads the judge's package and models of metrics, and has no rows."""
LOOK_S = 1.0


class SilenceTimeout:
    """The heartbeat timeout of one worker: call `awaited` when a report is due, `heard` when it came."""

    def __init__(self) -> None:
        self._looks = 0
        self._waiting = False
        self._limit_s = STARTS_S

    def heard(self) -> None:
        """It reported; while it waits for an answer its silence is not counted."""
        self._looks, self._waiting, self._limit_s = 0, False, SILENT_S

    def awaited(self) -> None:
        """It was started, or answered: from now on its silence counts."""
        self._waiting = True

    async def too_long(self) -> str:
        """Returns a description once the worker was silent for too long.

        Counts looks and not seconds: a process that was itself stopped or suspended blames no worker for it.
        """
        while self._looks * LOOK_S < self._limit_s:
            await asyncio.sleep(LOOK_S)
            self._looks += self._waiting
        return f"reported nothing for {self._limit_s:g} s and was killed"
