"""The control of a run over a Unix socket of its own machine: `scorer watch` pauses, resumes, and raises a cap by it.

One JSON object a line: `{"key": "limits.max_usd", "value": 300}` to the run, and back how it stands, with `said` or
`refused`. An object without `key` only asks how it stands. Decision 37 says why a socket, and where it is.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import msgspec

from scorer.errors import SpecError
from scorer.files.router import is_remote
from scorer.job.control import Control, described
from scorer.processes.local_socket import listener, peer, socket_path, user_name

MOST_BYTES = 4096
"""Bytes of the longest message."""
IDLE_S = 600.0
"""A connection that asks nothing for so long is closed."""
ACCEPT_TURNS = 5
"""Turns of the event loop from the acceptance of a connection to the call that begins its session."""
CLOSE_S = 1.0
"""Seconds in which connections close at the end."""
ANSWER_S = 5.0
"""Seconds that a client waits for an answer."""


class Message(msgspec.Struct, omit_defaults=True):
    """What a client asks: `key` is to become `value`; without a key nothing."""

    key: str | None = None
    value: Any = None


class Answer(msgspec.Struct, omit_defaults=True):
    """What the run answers: how it stands, and a sentence. `refused` says why nothing was changed.

    `run` is the id of the run, as in `run.json`: two folders may have the same path in two containers. `concurrency` is
    requests in flight now, the least and the most; `caps` are those that hold, by their keys.
    """

    run: str = ""
    paused: bool = False
    concurrency: tuple[int, int, int] = (0, 0, 0)
    caps: dict[str, float] = {}
    said: str | None = None
    refused: str | None = None


def control_path(out: str) -> str | None:
    """The path of the socket of the run with this output folder, on this machine; None where there can be none."""
    return socket_path(out if is_remote(out) else os.path.realpath(out))


@asynccontextmanager
async def served(control: Control, run: str, out: str, say: Callable[[str], None]) -> AsyncIterator[None]:
    """Serves the control of the run with this id while the block lasts. The caller holds the lock of the folder `out`.

    Where no socket can be had, `say` gets why, and the run goes on without.
    """
    path = control_path(out)
    if path is None:
        say("`scorer watch` can only look at this run: there is no folder for its socket that is this user's alone.")
        yield
        return
    sessions = _Sessions(control, run)
    try:
        server = await asyncio.start_unix_server(sessions.connected, sock=listener(path), limit=MOST_BYTES)
    except OSError as error:
        say(f"`scorer watch` can only look at this run: its socket {path} cannot be opened ({error}).")
        yield
        return
    try:
        yield
    finally:
        with suppress(OSError):
            os.unlink(path)
        for _ in range(ACCEPT_TURNS):  # no new client can connect; asyncio leaks what a closed server has just accepted
            await asyncio.sleep(0)
        server.close()
        await sessions.close()


class _Sessions:
    """The connections of clients, and the answers to them."""

    def __init__(self, control: Control, run: str) -> None:
        self._control = control
        self._run = run
        self._open: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def close(self) -> None:
        """Closes all connections."""
        for writer in self._open.values():
            writer.close()
        if self._open:
            await asyncio.wait(self._open, timeout=CLOSE_S)

    def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Begins a session. The connection is closed at its end, also where it is cancelled before its first step."""
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._open[task] = writer
        task.add_done_callback(lambda ended: self._open.pop(ended).close())

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._answers(reader, writer)
        except (OSError, EOFError, asyncio.LimitOverrunError, TimeoutError):
            pass  # it has gone, or speaks another language
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        who = _known(writer)
        while who is not None:
            async with asyncio.timeout(IDLE_S):
                line = await reader.readuntil(b"\n")
                writer.write(msgspec.json.encode(self._answer(line, who)) + b"\n")
                await writer.drain()

    def _answer(self, line: bytes, who: str) -> Answer:
        control, said, refused = self._control, None, None
        try:
            message = msgspec.json.decode(line, type=Message)
            if message.key is not None:
                change = control.change(message.key, message.value, who)
                said = "Nothing changed: it is so already." if change is None else described(change)
        except msgspec.DecodeError as error:
            refused = f"This is no message: {error}."
        except SpecError as error:
            refused = str(error)
        return Answer(self._run, control.settings.paused, control.concurrency, control.caps, said, refused)


def _known(writer: asyncio.StreamWriter) -> str | None:
    """Who is at the other end; None where it is another user."""
    found = peer(writer.get_extra_info("socket"))
    if found is None:
        return user_name(os.getuid())
    uid, pid = found
    return f"{user_name(uid)}, process {pid}" if uid == os.getuid() else None


class ControlClient:
    """The other end: asks the run on this machine. Blocking. Raises OSError where this run does not answer."""

    def __init__(self, run: str, out: str) -> None:
        path = control_path(out)
        if path is None:
            raise FileNotFoundError("there is no folder for sockets that is this user's alone")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.settimeout(ANSWER_S)
            self._socket.connect(path)
            found = peer(self._socket)
            if found is not None and found[0] != os.getuid():
                raise PermissionError(f"{path} is served by another user")
            self._lines = self._socket.makefile("rb")
            if self.ask().run != run:
                raise ConnectionRefusedError(f"{path} is the socket of another run, whose folder has the same path")
        except OSError:
            self._socket.close()
            raise

    def ask(self, key: str | None = None, value: Any = None) -> Answer:
        """The run's answer; with `key` it makes that change first, or says why not. Raises OSError where it is gone."""
        self._socket.sendall(msgspec.json.encode(Message(key, value)) + b"\n")
        line = self._lines.readline(16 * MOST_BYTES)
        try:
            return msgspec.json.decode(line, type=Answer)
        except msgspec.DecodeError as error:
            raise ConnectionError("the run closed the connection") from error

    def close(self) -> None:
        self._lines.close()
        self._socket.close()
