"""The process of one worker: `python -m scorer.workers FD OWNER`. Only subprocesses.py starts it.

It ends at once, whatever it is doing, when its socket closes: the owner is gone, and another one may have the folder.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import socket
import sys
from contextlib import suppress
from typing import cast

from scorer.processes.event_loop import on_loop
from scorer.processes.memory import (
    end_uncollected,
    keep_memory_flat,
    let_idle_threads_sleep,
    stream_from_here,
    tune_gc,
)

ORPHANED = 70
_PR_SET_PDEATHSIG = 1  # prctl(2)


def die_with(owner: int) -> None:
    """Has the kernel kill this process when the owner dies. Ends it at once where the owner is dead already."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != owner:
        os._exit(ORPHANED)


def main() -> None:
    """Scores until no row is left or the owner ends it. It ignores signals to the group, which the owner handles."""
    descriptor, owner = map(int, sys.argv[1:])
    die_with(owner)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    keep_memory_flat()
    let_idle_threads_sleep()
    tune_gc()
    on_loop(_work(socket.socket(fileno=descriptor)))
    end_uncollected()


async def _work(ours: socket.socket) -> None:
    from scorer.files.router import HURRY_S, AnyFiles
    from scorer.workers.messages import Answer, Report, answer, hello, packed
    from scorer.workers.worker import Worker

    _, pipe = await asyncio.get_running_loop().create_unix_connection(_Pipe, sock=ours)

    async def exchange(report: Report) -> Answer:
        pipe.write(packed(report))
        return answer(await pipe.read())

    places = AnyFiles()
    worker = Worker(
        hello(await pipe.read()),
        places,
        exchange,
        loaded=stream_from_here,
        hurry=lambda: places.hurry(HURRY_S),
    )
    await worker.run()


class _Pipe(asyncio.Protocol):
    """Reads and writes messages: each is its length in four bytes, then its bytes. Its end ends the process."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._whole: asyncio.Queue[bytes] = asyncio.Queue()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance

    def data_received(self, data: bytes) -> None:
        self._data += data
        while len(self._data) >= 4 and len(self._data) >= (end := 4 + int.from_bytes(self._data[:4], "big")):
            self._whole.put_nowait(bytes(self._data[4:end]))
            del self._data[:end]

    def connection_lost(self, error: Exception | None) -> None:
        os._exit(ORPHANED)

    async def read(self) -> bytes:
        return await self._whole.get()

    def write(self, data: bytes) -> None:
        assert self._transport is not None
        self._transport.write(len(data).to_bytes(4, "big") + data)


if __name__ == "__main__":
    main()
