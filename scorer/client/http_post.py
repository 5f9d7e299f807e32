"""Sends one POST over aiohttp's connections and parser, without its session, request and response objects.

Those make two thirds of what a request costs (docs/decisions/0016). Connecting, TLS, proxies, names,
keeping connections and reading HTTP stay aiohttp's; the head is encoded once an address, and a body larger than
`LARGEST` is not read: no judge's verdict is that long. What is longer than `FREE` is read as there is room for it.
"""

from __future__ import annotations

import asyncio
import re
import select
from collections.abc import Callable, Mapping
from functools import partial
from typing import cast

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.streams import StreamReader
from yarl import URL

from scorer.client.reply_bytes import FREE, ReplyByteBudget
from scorer.errors import ServerFault, SetupError, Unreachable
from scorer.types import Reply

LARGEST = 32 * 1024 * 1024
TRIES = 3
"""So many new connections are opened for one request, where they end before anything is asked on them."""
_CONNECT = aiohttp.ClientTimeout(total=None, sock_connect=15.0)
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


def shown(url: str) -> str:
    """The address without its query, which may hold a key."""
    return url.partition("?")[0]


class Line(ResponseHandler):
    """One connection: aiohttp's protocol object, which also counts requests and replies on it.

    What comes while nothing is asked is no reply to anything: it is not read, and the connection is used no more.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self.requests = 0
        self.ids: dict[str, None] = {}
        self.heard = False
        """A byte came since the last request was written."""
        self.unsent = False
        """A part of the last request is not yet in the system's hands."""
        self._idle = False
        self._looks: Callable[[float], object] | None = None

    def begin(self) -> None:
        """The next request is about to be written."""
        self.requests += 1
        self.heard = self._idle = self.unsent = False

    def end(self) -> None:
        """Its reply is read to the end."""
        self._idle = True

    @property
    def at_rest(self) -> bool:
        """False where the server closed it, or something came that nobody asked for, even if it is not read yet.

        The loop reads a connection some milliseconds after bytes came: the system is asked. Not on a new connection,
        on which TLS has something to say of its own.
        """
        if self.transport is None or self.transport.is_closing() or self.should_close:
            return False
        if self.requests == 0:
            return True
        if self._looks is None:
            wire = self.transport.get_extra_info("socket")
            if wire is None:
                return True
            poll = select.poll()
            poll.register(wire.fileno(), select.POLLIN)
            self._looks = poll.poll
        return not self._looks(0)

    def drop(self) -> None:
        """Nothing is asked on it again."""
        self.force_close()
        self.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        cast(asyncio.WriteTransport, transport).set_write_buffer_limits(high=0)  # uvloop's is none by its class

    def pause_writing(self) -> None:
        self.unsent = True
        super().pause_writing()

    def resume_writing(self) -> None:
        self.unsent = False
        super().resume_writing()

    def data_received(self, data: bytes) -> None:
        if self._idle and data:
            self.force_close()
            return
        self.heard = True
        super().data_received(data)


def connector(connections: int) -> aiohttp.TCPConnector:
    """A connector of at most so many connections, each of them a `Line`. Make it inside a running loop."""
    made = aiohttp.TCPConnector(limit=connections, ttl_dns_cache=60, keepalive_timeout=30)
    made._factory = partial(Line, loop=asyncio.get_running_loop())  # type: ignore[assignment]
    return made


def _without_password(proxy: str | None) -> str:
    scheme, colon, rest = (proxy or "").partition("://")
    return f"{scheme}{colon}{rest.rpartition('@')[2]}"


class PostConnection:
    """POSTs to one URL with the same `headers`, through `proxy` where one is given.

    Raises SetupError where the URL is none to post to, or a header cannot be sent. Make it inside a running loop.
    """

    def __init__(
        self,
        connector: aiohttp.BaseConnector,
        url: str,
        headers: Mapping[str, str],
        proxy: str | None,
        inflow: ReplyByteBudget,
    ) -> None:
        self.headers = headers  # alive as long as this is: the transport knows it by them
        self._inflow = inflow
        self._connector = connector
        self._shown = shown(url)
        self._head: bytes | None = None
        self.proxy = _without_password(proxy)
        try:
            parsed = URL(url)
            if parsed.scheme not in ("http", "https"):
                raise ValueError(parsed.scheme)
            # Never sent as it is: connectors know by it where to connect, and its headers become the head.
            self._request = aiohttp.ClientRequest(
                "POST",
                parsed,
                headers=headers,
                skip_auto_headers=["User-Agent"],
                loop=asyncio.get_running_loop(),
                proxy=URL(proxy) if proxy is not None else None,
            )
        except ValueError:  # aiohttp.InvalidURL is one
            raise SetupError(f"{self._shown!r} is no address to post to. Check model.base_url.") from None
        self._request.headers.setdefault("User-Agent", "scorer")
        self._request.headers.setdefault("Content-Type", "application/octet-stream")

    async def open(self, *, fresh: bool = False) -> Connection:
        """A connection at rest: nothing came on it since its last reply; with `fresh`, nothing was ever asked on it.

        Raises Unreachable where no connection lasts, else aiohttp's ClientError or OSError. Nothing was sent then. The
        loop turns once: writes then follow one another, and find a judge on this machine awake (docs/log.md).
        """
        new = 0
        while True:
            try:
                connection = await self._connector.connect(self._request, [], _CONNECT)
            except TimeoutError:
                raise aiohttp.ConnectionTimeoutError(f"no connection within {_CONNECT.sock_connect:g} s") from None
            line = connection.protocol
            assert isinstance(line, Line)
            if not (fresh and line.requests):
                try:
                    await asyncio.sleep(0)
                except BaseException:
                    connection.close()
                    raise
                if line.at_rest:
                    return connection
            connection.close()  # the server closed it, or said something that nobody asked for
            new += not line.requests
            if new >= TRIES:
                raise Unreachable(
                    f"{self._shown} speaks, or closes the connection, before anything is asked", billed=False
                )

    async def ask(self, connection: Connection, body: bytes) -> Reply:
        """The reply to `body`, on a connection that `open` gave.

        Raises ServerFault where it is too large, else aiohttp's ClientError, HttpProcessingError or OSError. Cancelling
        it closes the connection.
        """
        try:
            line, wire = connection.protocol, connection.transport
            assert isinstance(line, Line)
            assert wire is not None
            line.set_response_params(read_until_eof=True)
            line.begin()
            wire.write(b"%b%d\r\n\r\n%b" % (self._head or self._encoded(), len(body), body))
            reply = await self._reply(line)
            line.end()
        except BaseException:
            connection.close()
            raise
        connection.release()
        return reply

    async def _reply(self, line: Line) -> Reply:
        message, content = await line.read()
        while message.code < 200 and message.code != 101:  # it is still at work
            message, content = await line.read()
        headers = message.headers
        length = headers.get("Content-Length")
        if length is None or "Content-Encoding" in headers:
            return Reply(message.code, headers, await self._limited(content), line)
        if (size := int(length)) > LARGEST:
            raise ServerFault(f"{self._shown} answered {size} bytes", billed=True)
        if size > FREE:
            return Reply(message.code, headers, await self._whole(content, size), line)
        return Reply(message.code, headers, content.read_nowait() if content.is_eof() else await content.read(), line)

    async def _whole(self, content: StreamReader, size: int) -> bytes:
        """A large body of known length: no more of it than the connection buffers is in memory before it has room."""
        try:
            await self._inflow.take(content, size)
            return await content.read()
        finally:
            self._inflow.leave(content)

    async def _limited(self, content: StreamReader) -> bytes:
        """The body of a reply that does not say how long it is once it is unpacked."""
        parts, size, taken = [], 0, 0
        try:
            async for part in content.iter_any():
                parts.append(part)
                size += len(part)
                if size > LARGEST:
                    raise ServerFault(f"{self._shown} answered more than {LARGEST} bytes", billed=True)
                if size > FREE:
                    more, taken = size - taken, size
                    await self._inflow.take(content, more)
            return b"".join(parts)
        finally:
            if taken:
                self._inflow.leave(content)

    def _encoded(self) -> bytes:
        """All of the head but the body's length. To be called once connected: a proxy's password comes in then."""
        request = self._request
        target = str(request.url) if request.proxy and not request.is_ssl() else request.url.raw_path_qs
        lines = [f"POST {target} HTTP/1.1"]
        for name, value in request.headers.items():
            if _CONTROL.search(name) or _CONTROL.search(value):
                raise SetupError(
                    f"The header {name!r} of {self._shown} holds a line break or another control character, which "
                    "cannot be sent. Check model.headers, and the variable that model.api_key_env names."
                )
            if name != "Content-Length":
                lines.append(f"{name}: {value}")
        self._head = "\r\n".join([*lines, "Content-Length: "]).encode()
        return self._head
