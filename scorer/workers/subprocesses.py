"""Runs workers as processes of this machine. Each has one end of a socket pair, and ends with its owner.

A worker's first message is its Hello; then it asks and is answered. Each message is its length in four bytes and
msgpack. An owner that dies takes its workers with it: the kernel kills them where it can (Linux), and everywhere they
end when their socket does.
"""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import ExitStack, suppress

from scorer.processes.search_path import child_command, child_environment
from scorer.workers import messages
from scorer.workers.coordinator import Coordinator
from scorer.workers.silence import SilenceTimeout

END_S = 20.0
"""A worker whose socket is closed is killed after this long."""
_STDERR = 2


class SubprocessLauncher:
    """A `Launcher` that runs each worker as a process of this machine."""

    def __init__(self, owner: Coordinator) -> None:
        self._owner = owner
        self._running: set[asyncio.subprocess.Process] = set()

    async def run_worker(self, hello: messages.Hello) -> str | None:
        ours, theirs = socket.socketpair()
        with theirs, ExitStack() as where_it_fails:
            where_it_fails.enter_context(ours)
            process = await asyncio.create_subprocess_exec(
                *child_command("scorer.workers", str(theirs.fileno()), str(os.getpid())),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=_STDERR,
                start_new_session=True,  # a Ctrl-C is the owner's, who tells them
                pass_fds=(theirs.fileno(),),
                env=child_environment(),
            )
            where_it_fails.pop_all()
        self._running.add(process)
        reader, writer = await asyncio.open_unix_connection(sock=ours)
        silence, killed = SilenceTimeout(lambda: self._owner.broker.rows.done), None
        talking = asyncio.ensure_future(self._talk(hello, reader, writer, silence))
        watching = asyncio.ensure_future(silence.too_long())
        try:
            await asyncio.wait([talking, watching], return_when=asyncio.FIRST_COMPLETED)
            if not talking.done():
                killed = watching.result()
                process.kill()  # also where it is stopped: its rows are another's only once it can write no more
            ended = await talking
        finally:
            talking.cancel()
            watching.cancel()
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
        return None if ended else killed or _ending(process.returncode or 0)

    def dismiss(self) -> None:
        for process in self._running:
            with suppress(ProcessLookupError):
                process.kill()

    async def _talk(
        self,
        hello: messages.Hello,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        silence: SilenceTimeout,
    ) -> bool:
        """Answers a worker until it closes its socket. True where its last report said that it ended."""
        ended = False
        try:
            writer.write(_framed(messages.packed(hello)))
            silence.awaited()
            while True:
                length = int.from_bytes(await reader.readexactly(4), "big")
                report = messages.report(await reader.readexactly(length))
                silence.heard()
                writer.write(_framed(messages.packed(await self._owner.answer(hello.worker, report))))
                silence.awaited()
                ended = ended or report.ended
        except (asyncio.IncompleteReadError, OSError):
            return ended


def _framed(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


def _ending(code: int) -> str:
    return f"was killed by signal {-code}" if code < 0 else f"with exit code {code}"
