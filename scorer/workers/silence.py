"""How long a worker may be silent: a stopped one would keep its rows for ever. Knows no wire and no worker."""

from __future__ import annotations

import asyncio

SILENT_S = 30.0
"""A worker that reports nothing for so long is killed; a living one reports every `desk.BEAT_S`."""
STARTS_S = 300.0
"""The same for its first report: before that it loads the judge's package and models of metrics, and has no rows."""
LOOK_S = 1.0


class SilenceTimeout:
    """Watches one worker. Tell it `awaited` whenever its next report is due from now on, `heard` with each report."""

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
        """Returns, once the worker was silent for too long, how that is told.

        Counts looks and not seconds: a process that was itself stopped or suspended blames no worker for it.
        """
        while self._looks * LOOK_S < self._limit_s:
            await asyncio.sleep(LOOK_S)
            self._looks += self._waiting
        return f"reported nothing for {self._limit_s:g} s and was killed"
