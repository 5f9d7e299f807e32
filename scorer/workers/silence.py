"""The heartbeat timeout of a worker. Without it a worker that hangs would keep its rows for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

SILENT_S = 30.0
"""A worker that reports nothing for so long is killed; a living one reports every `broker_client.BEAT_S`."""
STARTS_S = 300.0
"""The timeout for its first report, while rows are left: it loads the judge's package and the models of metrics."""
LOOK_S = 1.0


class SilenceTimeout:
    """The heartbeat timeout of one worker: call `awaited` when a report is due, `heard` when it came.

    `done` says that no row is left: a worker that still starts is not waited for longer than others then.
    """

    def __init__(self, done: Callable[[], bool] = lambda: False) -> None:
        self._done = done
        self._looks = 0
        self._waiting = False
        self._limit_s = STARTS_S

    def heard(self) -> None:
        """Call it at a report. While the worker waits for an answer, its silence does not count."""
        self._looks, self._waiting, self._limit_s = 0, False, SILENT_S

    def awaited(self) -> None:
        """Call it when the worker was started or answered. From now on its silence counts."""
        self._waiting = True

    async def too_long(self) -> str:
        """Returns a message once the worker was silent for too long.

        It counts its own turns and not seconds, so that no worker is killed because this process was suspended.
        """
        while self._looks * LOOK_S < (limit_s := SILENT_S if self._done() else self._limit_s):
            await asyncio.sleep(LOOK_S)
            self._looks += self._waiting
        return f"reported nothing for {limit_s:g} s and was killed"
