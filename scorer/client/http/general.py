"""Posts through aiohttp's session: for proxies, and for what our own connections do not speak. Its public parts only.

How a reply is framed, and what comes unasked, the session does not show: session_line.py watches its connections.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from yarl import URL

from scorer.client.http.connect_errors import hint, never_admitted, unreachable
from scorer.client.http.connecting import CONNECT_S, NAME_S, tls_context
from scorer.client.http.connection import EARLY
from scorer.client.http.keepalive import probed_socket
from scorer.client.http.pool import KEPT_S
from scorer.client.http.proxies import VARIABLES, without_password
from scorer.client.http.raw_headers import RawHeaders
from scorer.client.http.reply_reader import BODILESS, LARGEST_HEAD, NotDecoded, content_coding
from scorer.client.http.session_line import SessionLine
from scorer.client.http.target import Target, basic
from scorer.client.http.unpacking import unpacked_body
from scorer.client.reply_bytes import FREE, ReplyByteBudget, check_size
from scorer.client.unsent import Unsent
from scorer.errors import SetupError, TransientError, Unreachable
from scorer.escapes import printable_line
from scorer.types import Call, Reply


class _Spoke(Exception):
    """The connection said something before it was asked: nothing was written to it."""


class _Body(aiohttp.Payload):
    """The body of one request. aiohttp has it written, together with the head, once there is a connection."""

    def __init__(self, body: bytes) -> None:
        super().__init__(body)
        self._body = body
        self.line: SessionLine | None = None
        self.spoke = False
        self.handed = False
        """All of it was written, or waits in a buffer that `line.pending` shows."""

    @property
    def size(self) -> int:
        return len(self._body)

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return self._body.decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        wire = getattr(writer, "transport", None)  # public, and not declared
        if wire is None:
            raise ConnectionError("the connection ended before the request was written")
        watching = wire.get_protocol()
        line = watching if isinstance(watching, SessionLine) else SessionLine(wire)
        if not line.begin():
            self.spoke = True
            raise _Spoke
        self.line = line
        await writer.write(self._body)
        self.handed = True

    @property
    def unsent(self) -> bool:
        return not self.handed or (self.line is not None and self.line.pending)


class GeneralTransport:
    """Posts to targets through aiohttp. Make it inside a running loop and `close` it there."""

    def __init__(self, connections: int, timeout_s: float, inflow: ReplyByteBudget) -> None:
        self._connections = connections
        self._timeout_s = timeout_s
        self._inflow = inflow
        self._sessions: dict[tuple[bool, bool, bool], aiohttp.ClientSession] = {}

    async def close(self) -> None:
        """Closes all connections."""
        for session in self._sessions.values():
            await session.close()

    async def post(self, target: Target, call: Call) -> Reply:
        """The reply to one request. Raises Unreachable, ServerFault, or SetupError where a proxy refuses.

        Cancelling it closes the connection; Unsent is raised where not all was written.
        """
        timeout_s = self._timeout_s if call.timeout_s is None else call.timeout_s
        deadline = asyncio.timeout(timeout_s)
        body = _Body(call.body)
        unpacks = target.origin.aiohttp_unpacks  # as it is now: another reply may change it before this one comes
        try:
            async with deadline:
                while True:
                    try:
                        async with self._asked(target, body, fresh=call.fresh, unpacks=unpacks) as response:
                            return await self._reply(target, body, response, deadline, unpacks=unpacks)
                    except aiohttp.ClientError:
                        if not body.spoke:
                            raise
                        body = _Body(call.body)
        except asyncio.CancelledError:
            unsent = _dropped(body)
            if unsent:
                raise Unsent from None
            raise
        except TransientError:
            _dropped(body)
            raise
        except (aiohttp.ClientError, OSError) as error:
            unsent = _dropped(body)
            if body.line is None:
                self._forget_names()
            if deadline.expired():
                late = f"{target.shown} did not answer within {timeout_s:g} s"
                raise Unreachable(late, billed=not unsent) from None
            raise _failure(target, body, error, billed=not unsent) from error

    def _forget_names(self) -> None:
        """No connection was made: the name may have moved, and is looked up again."""
        for session in self._sessions.values():
            if isinstance(session.connector, aiohttp.TCPConnector):
                session.connector.clear_dns_cache()

    @asynccontextmanager
    async def _asked(
        self, target: Target, body: _Body, *, fresh: bool, unpacks: bool
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        tls = target.origin.tls or (target.origin.proxy or "").startswith("https:")
        key = fresh, tls, unpacks
        session = self._sessions.get(key) or self._session(*key)
        proxy, headers = target.origin.proxy, target.headers
        if proxy is not None and not target.origin.tls and (named := URL(proxy)).user is not None:
            # aiohttp before 3.13 sends it with the first request on a connection only.
            headers = {**headers, "Proxy-Authorization": basic(named.user, named.password)}
            proxy = str(named.with_user(None))
        async with session.post(
            URL(target.url, encoded=True), data=body, headers=headers, proxy=proxy, allow_redirects=False
        ) as response:
            yield response

    def _session(self, fresh: bool, tls: bool, unpacks: bool) -> aiohttp.ClientSession:
        """`fresh`: each request has a new connection. `tls`: to the endpoint or its proxy. `unpacks`: aiohttp does."""
        context = tls_context() if tls else True
        kept: dict[str, Any] = {"force_close": True} if fresh else {"keepalive_timeout": KEPT_S}
        connector = aiohttp.TCPConnector(
            limit=self._connections, ttl_dns_cache=int(NAME_S), ssl=context, socket_factory=probed_socket, **kept
        )
        made = self._sessions[fresh, tls, unpacks] = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S),
            auto_decompress=unpacks,
            max_line_size=LARGEST_HEAD,
            max_field_size=LARGEST_HEAD,
        )
        return made

    async def _reply(
        self,
        target: Target,
        body: _Body,
        response: aiohttp.ClientResponse,
        deadline: asyncio.Timeout,
        *,
        unpacks: bool,
    ) -> Reply:
        if response.status < 300 and body.unsent:
            raise Unreachable(f"{target.shown} broke off: {EARLY}", billed=True)
        coding = ""
        if not unpacks:
            try:
                coding = content_coding(",".join(response.headers.getall("Content-Encoding", ())))
            except NotDecoded as error:
                target.origin.aiohttp_unpacks = True
                raise Unreachable(f"{target.shown} broke off: {error}", billed=True) from None
        parts, size, taken = [], 0, 0
        length = "" if response.status in BODILESS else response.headers.get("Content-Length", "")
        if length.isdecimal() and not unpacks:
            check_size(target.shown, int(length))
            if int(length) > FREE:
                taken = int(length)
        try:
            if taken:
                await self._room(body, deadline, taken)
            async for part in response.content.iter_any():
                parts.append(part)
                size += len(part)
                check_size(target.shown, size)
                if size > max(FREE, taken):
                    more, taken = size - taken, size
                    await self._room(body, deadline, more)
            if coding:
                room = partial(self._room, body, deadline)
                parts = [await unpacked_body(parts, coding, target.shown, room, taken)]
        finally:
            self._inflow.leave(body)
        assert body.line is not None
        if body.line.malformed is not None:
            raise aiohttp.ClientError
        body.line.end()
        head = body.line.head
        headers = RawHeaders(head, head.lower()) if head else response.headers
        return Reply(response.status, headers, b"".join(parts), body.line)

    async def _room(self, body: _Body, deadline: asyncio.Timeout, size: int) -> None:
        """Waits for room in memory; the deadline stands still meanwhile."""
        loop, due = asyncio.get_running_loop(), deadline.when()
        began = loop.time()
        if not deadline.expired():
            deadline.reschedule(None)
        await self._inflow.take(body, size)
        if due is not None and not deadline.expired():
            deadline.reschedule(due + loop.time() - began)


def _dropped(body: _Body) -> bool:
    """Closes the connection. True where the request was not written whole, and now never is."""
    unsent = body.unsent
    if body.line is not None:
        body.line.drop()
    return unsent


def _failure(target: Target, body: _Body, error: Exception, *, billed: bool) -> SetupError | Unreachable:
    """aiohttp's errors as ours. The query may hold a key, so no message shows it."""
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return _proxy_refused(target, error)
    said = getattr(error, "message", None) or str(error)  # of a reply that is cut in its head, an object of aiohttp's
    why = printable_line(said or type(error).__name__) if isinstance(said, str) else "the server closed the connection"
    if body.line is None and not body.handed:
        if target.origin.proxy is not None and _at_the_proxy(error):
            proxy = without_password(target.origin.proxy)
            unknown = f"Check {VARIABLES}, or except this host by NO_PROXY." if _hint(error) else None
            return Unreachable(f"cannot reach the proxy {proxy} for {target.shown}: {why}", hint=unknown)
        return Unreachable(f"cannot reach {target.shown}: {why}", hint=_hint(error))
    line = body.line
    ended_by = None if line is None else line.ended_by
    if never_admitted(ended_by):
        return unreachable(target.shown, ended_by)
    return Unreachable(
        f"{target.shown} broke off: {why if line is None or line.malformed is None else line.malformed}",
        billed=billed or (line is not None and line.heard),
        silent=line is not None and not (line.heard or isinstance(ended_by, ssl.SSLError)),
        kept=line is not None and line.requests > 1,
    )


def _at_the_proxy(error: Exception) -> bool:
    """True where no connection was made, rather than no TLS over one: with a proxy, that is one to the proxy."""
    return isinstance(error, aiohttp.ClientConnectorError) and not isinstance(error, aiohttp.ClientSSLError)


def _hint(error: Exception) -> str | None:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return hint(error.certificate_error) if isinstance(error.certificate_error, OSError) else None
    return hint(error.os_error) if isinstance(error, aiohttp.ClientConnectorError) else None


def _proxy_refused(target: Target, error: aiohttp.ClientHttpProxyError) -> SetupError | Unreachable:
    """A proxy's answer to CONNECT that is no tunnel: the set-up's fault, or the moment's where it cannot get there."""
    proxy = without_password(target.origin.proxy or "")
    message = printable_line(error.message)
    said = f"the proxy {proxy} answered {error.status} {message} when asked for {target.shown}".rstrip()
    if error.status in (408, 425, 429) or error.status >= 500:
        return Unreachable(said)
    return SetupError(f"{said}. Check {VARIABLES} (name and password included), or except this host by NO_PROXY.")
