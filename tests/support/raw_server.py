"""A server of raw sockets on loopback whose connections a test handles. For tests of the HTTP transports."""

from __future__ import annotations

import asyncio
import os
import select
import socket
import ssl
import stat
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress

SECRET = "key=not-for-anyone"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def has_ipv6() -> bool:
    """Whether this machine's loopback has an IPv6 address; containers often have none."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


def ends_at(port: int) -> Iterator[socket.socket]:
    """This process's end of each connection to the port, whoever opened it."""
    for descriptor in map(int, os.listdir("/dev/fd")):
        with suppress(OSError):  # it is closed, no socket, or one that is not connected
            if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                with socket.socket(fileno=os.dup(descriptor)) as one:
                    if one.family != socket.AF_UNIX and one.getpeername()[1] == port:
                        yield one


def until_heard(port: int) -> None:
    """Waits until the system holds bytes or the end of each connection to the port; the loop may not have read them."""
    for one in ends_at(port):
        waiting = select.poll()
        waiting.register(one, select.POLLIN)
        assert waiting.poll(60_000)


def held_port() -> socket.socket:
    """A socket that holds a port of loopback, which refuses connections; nobody else is given it meanwhile.

    A server of the same user can be started there with `reuse_port`.
    """
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    held.bind(("127.0.0.1", 0))
    return held


async def request(reader: asyncio.StreamReader) -> tuple[list[str], bytes]:
    """The lines of a request's head, and its body."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    length = next(int(line.partition(": ")[2]) for line in head if line.lower().startswith("content-length"))
    return head, await reader.readexactly(length)


@asynccontextmanager
async def server(answer: Answer, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """A server whose every connection is `answer`'s; its URL, with a secret in the query. It ends after its clients."""

    serving: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving.add(task)
        try:
            await answer(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client went away, as some tests want it to
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    listening = await asyncio.start_server(serve, host, 0, ssl=tls, backlog=1024)
    async with listening:
        port = listening.sockets[0].getsockname()[1]
        shown = f"[{host}]" if ":" in host else host
        yield f"{'http' if tls is None else 'https'}://{shown}:{port}/v1?{SECRET}"
    if serving:
        await asyncio.wait(serving)


def says(*parts: bytes) -> Answer:
    """Reads one request, sends these bytes, closes."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        for part in parts:
            writer.write(part)
            await writer.drain()

    return answer


class Counted:
    """An answer that counts the connections it was asked for."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.opened = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.opened += 1
        await self._answer(reader, writer)


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await request(reader)
    await reader.read()
