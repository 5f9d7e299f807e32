"""The HTTP `Transport` over aiohttp: posts bytes, returns bytes, types failures. Only it and http_post import aiohttp.

Keep-alive, no cookies, no redirects, no header of its own beside the user agent. How many connections there are is the
limits' business: there is one for each request in flight.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from aiohttp.http import HttpProcessingError

from scorer.client.http_post import Line, PostConnection, connector, shown
from scorer.client.reply_bytes import ReplyByteBudget, Room
from scorer.client.unsent import Unsent
from scorer.errors import SetupError, Unreachable
from scorer.escapes import printable_line
from scorer.types import Call, Reply

LOOK = 1 / 50
REMEMBERED = 64
"""Heads of requests that are kept encoded; a provider that makes its headers anew for each call gains nothing by it."""


class HttpTransport:
    """`Transport` over aiohttp; an async context manager.

    `timeout_s` bounds a whole call, first byte to last, where the call names no other. `proxies` heeds HTTPS_PROXY and
    its like, as they are when an address is first posted to. Large replies are bounded together (reply_bytes.py) and
    wait while `room` is full; that wait is no part of `timeout_s`.
    """

    def __init__(self, *, connections: int, timeout_s: float, proxies: bool = False, room: Room | None = None) -> None:
        self._timeout_s = timeout_s
        self._connections = connections
        self._proxies = proxies
        self._exchanges: dict[tuple[str, int], PostConnection] = {}  # by address and headers, which they keep alive
        self._connector: aiohttp.TCPConnector | None = None
        self._deadlines = _Deadlines(timeout_s)
        self._inflow = ReplyByteBudget(self._deadlines.paused, room=room)

    async def __aenter__(self) -> HttpTransport:
        self._connector = connector(self._connections)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._connector is not None
        self._deadlines.close()
        await self._connector.close()

    async def post(self, call: Call) -> Reply:
        exchange = self._exchanges.get((call.url, id(call.headers))) or self._exchange(call)
        deadlines = self._deadlines
        timeout_s = self._timeout_s if call.timeout_s is None else call.timeout_s
        task, cancels = deadlines.enter(timeout_s)
        line: Line | None = None  # what the request is written to, once it is
        try:
            connection = await exchange.open(fresh=call.fresh)
            line = connection.protocol  # type: ignore[assignment]
            return await exchange.ask(connection, call.body)
        except asyncio.CancelledError:
            if not deadlines.passed(task, cancels):
                if line is None or line.unsent:
                    raise Unsent from None
                raise
            late = f"{shown(call.url)} did not answer within {timeout_s:g} s"
            raise Unreachable(late, billed=line is not None and not line.unsent) from None
        # aiohttp's errors as ours, once, at this boundary. Billed unless the request surely never arrived. The query
        # may hold a key, so no message shows it.
        except aiohttp.ClientHttpProxyError as error:
            raise _proxy_refused(exchange, error, shown(call.url)) from error
        except (aiohttp.ClientError, HttpProcessingError, OSError) as error:
            why = printable_line(str(getattr(error, "message", None) or error) or type(error).__name__)
            if line is None:
                raise Unreachable(f"cannot reach {shown(call.url)}: {why}", hint=_mend(error)) from error
            raise Unreachable(
                f"{shown(call.url)} broke off: {why}",
                billed=not line.unsent,
                silent=not line.heard,
                kept=line.requests > 1,
            ) from error
        finally:
            deadlines.leave(task)

    def _exchange(self, call: Call) -> PostConnection:
        assert self._connector is not None, "use it as a context manager"
        if len(self._exchanges) >= REMEMBERED:
            self._exchanges.clear()
        try:
            proxy = proxy_for(call.url) if self._proxies else None
        except ValueError:  # urlsplit's, for a bracket that is not closed
            raise SetupError(f"{shown(call.url)!r} is no address to post to. Check model.base_url.") from None
        made = PostConnection(self._connector, call.url, call.headers, proxy, self._inflow)
        self._exchanges[call.url, id(call.headers)] = made
        return made


def proxy_for(url: str) -> str | None:
    """The proxy that the environment names for an address; None where there is none, or `no_proxy` excepts it."""
    parts = urlsplit(url)
    if proxy_bypass(parts.hostname or ""):
        return None
    proxies = getproxies()
    return proxies.get(parts.scheme) or proxies.get("all")


def _proxy_refused(exchange: PostConnection, error: aiohttp.ClientHttpProxyError, url: str) -> SetupError | Unreachable:
    """A proxy's answer to CONNECT that is no tunnel: the set-up's fault, or the moment's where it cannot get there."""
    message = printable_line(error.message)
    said = f"the proxy {exchange.proxy} answered {error.status} {message} when asked for {url}".rstrip()
    if error.status in (408, 425, 429) or error.status >= 500:
        return Unreachable(said)
    return SetupError(
        f"{said}. Check the environment variables HTTPS_PROXY, HTTP_PROXY and ALL_PROXY (name and password included), "
        "or except this host by NO_PROXY."
    )


def _mend(error: Exception) -> str | None:
    """What to mend where this is how a run begins; None for what a server that is down or still starting shows too."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return (
            "Its certificate is not trusted here: check model.base_url. If an authority of your own signed it, name "
            "that one's file in the environment variable SSL_CERT_FILE."
        )
    if isinstance(error, aiohttp.ClientConnectorSSLError):
        return "It does not speak TLS as asked: check model.base_url, its port, and whether it begins with http://."
    if isinstance(error, aiohttp.ClientConnectorDNSError) and error.os_error.errno == socket.EAI_NONAME:
        return "No such host is known: check model.base_url."
    return None


class _Deadlines:
    """Timeouts of many tasks with one timer, instead of one `asyncio.timeout` for each.

    A task may be late by `LOOK` of the transport's timeout. Saves a tenth of what a request costs (docs/log.md).
    """

    def __init__(self, timeout_s: float) -> None:
        self._look_s = min(1.0, LOOK * timeout_s)
        self._due: dict[asyncio.Task[Any], float] = {}
        self._late: set[asyncio.Task[Any]] = set()
        self._timer: asyncio.TimerHandle | None = None

    def enter(self, timeout_s: float) -> tuple[asyncio.Task[Any], int]:
        """The running task, cancelled when its time is up, and how often somebody has cancelled it before."""
        task = asyncio.current_task()
        assert task is not None
        loop = task.get_loop()
        self._due[task] = loop.time() + timeout_s
        if self._timer is None:
            self._timer = loop.call_later(self._look_s, self._look, loop)
        return task, task.cancelling()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """The running task's time stands still meanwhile; nothing changes for one that is late already."""
        task = asyncio.current_task()
        assert task is not None
        loop = task.get_loop()
        due, began = self._due.pop(task, None), loop.time()
        try:
            yield
        finally:
            if due is not None:
                self._due[task] = due + loop.time() - began
                if self._timer is None:
                    self._timer = loop.call_later(self._look_s, self._look, loop)

    def passed(self, task: asyncio.Task[Any], cancels: int) -> bool:
        """True where the cancellation was ours, and nobody else cancels the task too."""
        if task not in self._late:
            return False
        self._late.discard(task)
        return task.uncancel() <= cancels

    def leave(self, task: asyncio.Task[Any]) -> None:
        """To be called on every way out. Takes back a cancellation of ours that something else was raised for."""
        self._due.pop(task, None)
        if task in self._late:
            self._late.discard(task)
            task.uncancel()

    def close(self) -> None:
        """Ends the timer."""
        if self._timer is not None:
            self._timer.cancel()

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        for task in [task for task, due in self._due.items() if due <= now]:
            del self._due[task]
            self._late.add(task)
            task.cancel()
        self._timer = loop.call_later(self._look_s, self._look, loop) if self._due else None
