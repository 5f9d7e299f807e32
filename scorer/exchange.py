"""One POST and its reply over aiohttp's connections and parser, without its session, request and response objects.

Those make two thirds of what a request costs (docs/decisions/0016-one-exchange.md). Connecting, TLS, proxies, names,
keeping connections and reading HTTP stay aiohttp's; the head is encoded once an address, and a body larger than
`LARGEST` is not read: no judge's verdict is that long.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.streams import StreamReader
from yarl import URL

from scorer.errors import Faltered, SetupError, Unreachable
from scorer.schema import Reply

LARGEST = 32 * 1024 * 1024
TRIES = 3
"""So many connections are taken for one request; those kept from earlier requests may have ended just now."""
_CONNECT = aiohttp.ClientTimeout(total=None, sock_connect=15.0)
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


def shown(url: str) -> str:
    """The address without its query, which may hold a key."""
    return url.partition("?")[0]


class Exchange:
    """POSTs to one URL with the same `headers`, through `proxy` where one is given.

    Raises SetupError where the URL is none to post to, or a header cannot be sent. Make it inside a running loop.
    """

    def __init__(
        self, connector: aiohttp.BaseConnector, url: str, headers: Mapping[str, str], proxy: str | None
    ) -> None:
        self.headers = headers  # alive as long as this is: the transport knows it by them
        self._connector = connector
        self._shown = shown(url)
        self._head: bytes | None = None
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

    async def post(self, body: bytes) -> Reply:
        """The reply to `body`.

        Raises Faltered where it is too large, Unreachable where no connection lasts, else aiohttp's ClientError,
        HttpProcessingError or OSError; ClientConnectorError and ConnectionTimeoutError only before anything was sent.
        Cancelling it closes the connection.
        """
        connection = await self._open()
        try:
            protocol, wire = connection.protocol, connection.transport
            assert protocol is not None
            assert wire is not None
            protocol.set_response_params(read_until_eof=True)
            wire.write(b"%b%d\r\n\r\n%b" % (self._head or self._encoded(), len(body), body))
            reply = await self._reply(protocol)
        except BaseException:
            connection.close()
            raise
        connection.release()
        return reply

    async def _open(self) -> Connection:
        """A connection that nothing was sent on since it was taken, nor has come from.

        The loop turns once: writes then follow one another, and find a judge on this machine awake (docs/log.md).
        """
        for _ in range(TRIES):
            try:
                connection = await self._connector.connect(self._request, [], _CONNECT)
            except TimeoutError:
                raise aiohttp.ConnectionTimeoutError(f"no connection within {_CONNECT.sock_connect:g} s") from None
            try:
                await asyncio.sleep(0)
            except BaseException:
                connection.close()
                raise
            protocol = connection.protocol
            if not connection.closed and protocol is not None and not protocol.should_close:
                return connection
            connection.close()  # the server closed it, or said something that nobody asked for
        raise Unreachable(f"{self._shown} speaks, or closes the connection, before anything is asked", billed=False)

    async def _reply(self, protocol: ResponseHandler) -> Reply:
        message, content = await protocol.read()
        while message.code < 200 and message.code != 101:  # it is still at work
            message, content = await protocol.read()
        headers = message.headers
        length = headers.get("Content-Length")
        if length is None or "Content-Encoding" in headers:
            return Reply(message.code, headers, await self._limited(content))
        if int(length) > LARGEST:
            raise Faltered(f"{self._shown} answered {length} bytes", billed=True)
        return Reply(message.code, headers, content.read_nowait() if content.is_eof() else await content.read())

    async def _limited(self, content: StreamReader) -> bytes:
        """The body of a reply that does not say how long it is once it is unpacked."""
        parts, size = [], 0
        async for part in content.iter_any():
            parts.append(part)
            size += len(part)
            if size > LARGEST:
                raise Faltered(f"{self._shown} answered more than {LARGEST} bytes", billed=True)
        return b"".join(parts)

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
