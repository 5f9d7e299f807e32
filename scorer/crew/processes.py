"""Workers as processes of this machine: each on one end of a socket pair, ended with its owner.

A worker's first message is its Hello; then it asks and is answered. Each message is its length in four bytes and
msgpack. An owner that dies takes its workers with it: the kernel kills them where it can (Linux), and everywhere they
end when their socket does.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from contextlib import suppress

from scorer.crew import messages
from scorer.crew.owner import Owner

END_S = 20.0
"""A worker whose socket is closed has so long to be gone."""
_STDERR = 2


class Processes:
    """An `Employer` of processes."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._running: set[asyncio.subprocess.Process] = set()

    async def employ(self, hello: messages.Hello) -> str | None:
        ours, theirs = socket.socketpair()
        with theirs:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "scorer.crew",
                str(theirs.fileno()),
                str(os.getpid()),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=_STDERR,
                start_new_session=True,  # a Ctrl-C is the owner's, who tells them
                pass_fds=(theirs.fileno(),),
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )
        self._running.add(process)
        reader, writer = await asyncio.open_unix_connection(sock=ours)
        try:
            ended = await self._talk(hello, reader, writer)
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
            with suppress(TimeoutError):
                async with asyncio.timeout(END_S):
                    await process.wait()
            if process.returncode is None:
                process.kill()
                await process.wait()
            self._running.discard(process)
        return None if ended else _ending(process.returncode or 0)

    def dismiss(self) -> None:
        for process in self._running:
            with suppress(ProcessLookupError):
                process.kill()

    async def _talk(self, hello: messages.Hello, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answers a worker until its end of the pair is closed. True where it said that it ended."""
        ended = False
        try:
            writer.write(_framed(messages.packed(hello)))
            while True:
                length = int.from_bytes(await reader.readexactly(4), "big")
                report = messages.report(await reader.readexactly(length))
                writer.write(_framed(messages.packed(await self._owner.answer(hello.worker, report))))
                ended = ended or report.ended
        except (asyncio.IncompleteReadError, OSError):
            return ended


def _framed(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


def _ending(code: int) -> str:
    return f"was killed by signal {-code}" if code < 0 else f"with exit code {code}"
