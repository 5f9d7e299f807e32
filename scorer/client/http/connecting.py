"""Opens connections: looks names up, tries their addresses (happy eyeballs, RFC 8305), and shakes hands over TLS."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Callable
from functools import partial
from typing import Any

import aiohappyeyeballs

from scorer.client.http.connect_errors import unreachable
from scorer.client.http.connection import Connection
from scorer.client.http.keepalive import keep_alive
from scorer.client.http.target import Origin
from scorer.errors import Unreachable

CONNECT_S = 15.0
NAME_S = 60.0
"""A name's addresses are looked up again after this long."""
NEXT_ADDRESS_S = 0.25
"""The next address is tried beside one that has not answered for so long."""
Address = tuple[Any, Any, int, str, Any]
"""One entry of what `getaddrinfo` returns."""


class Connector:
    """Opens connections to origins. Make it inside a running loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._known: dict[tuple[str, int], tuple[float, list[Address]]] = {}
        self._asked: dict[tuple[str, int], asyncio.Task[list[Address]]] = {}
        self._tls: ssl.SSLContext | None = None

    async def connect(self, origin: Origin, shown: str, lost: Callable[[Connection], None]) -> Connection:
        """A new connection. Raises Unreachable, not billed, with a hint where that is plain."""
        try:
            async with asyncio.timeout(CONNECT_S):
                return await self._connected(origin, lost)
        except TimeoutError:
            raise Unreachable(f"cannot reach {shown}: no connection within {CONNECT_S:g} s") from None
        except OSError as error:  # ssl.SSLError and socket.gaierror are some
            raise unreachable(shown, error) from error

    def close(self) -> None:
        """Ends look-ups under way."""
        for task in self._asked.values():
            task.cancel()

    async def _connected(self, origin: Origin, lost: Callable[[Connection], None]) -> Connection:
        left = await self._addresses(origin.host, origin.port)
        try:
            return await self._at_one_of(left, origin, lost)
        except BaseException:  # also where the time is up
            self._known.pop((origin.host, origin.port), None)  # the name may have moved
            raise

    async def _at_one_of(self, left: list[Address], origin: Origin, lost: Callable[[Connection], None]) -> Connection:
        if len(left) == 1 and left[0][0] == socket.AF_INET:  # two fifths of the CPU of a socket that is made here
            host, port = left[0][4]
            return await self._on_loop(origin, lost, host=host, port=port, family=socket.AF_INET)
        while True:
            wire = await aiohappyeyeballs.start_connection(
                left, happy_eyeballs_delay=NEXT_ADDRESS_S if len(left) > 1 else None, interleave=1
            )
            peer = wire.getpeername()
            try:
                wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return await self._on_loop(origin, lost, sock=wire)
            except OSError:
                wire.close()
                aiohappyeyeballs.remove_addr_infos(left, peer)
                if not left:
                    raise
            except BaseException:
                wire.close()
                raise

    async def _on_loop(self, origin: Origin, lost: Callable[[Connection], None], **where: Any) -> Connection:
        """A connection over the socket or to the address that `where` names, as the loop takes it."""
        transport, connection = await self._loop.create_connection(
            partial(Connection, lost, self._loop.time()),
            ssl=self._tls_context() if origin.tls else None,
            server_hostname=origin.host.rstrip(".").partition("%")[0] if origin.tls else None,
            **where,
        )
        if not transport.is_closing():  # the other side may have closed it already
            try:
                keep_alive(transport.get_extra_info("socket"))
            except OSError:
                transport.abort()
                raise
        return connection

    def _tls_context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = tls_context()
        return self._tls

    async def _addresses(self, host: str, port: int) -> list[Address]:
        """The addresses of a host, each time with another one first, so that connections spread over them."""
        key = host, port
        until, known = self._known.get(key, (0.0, []))
        if not known or until <= self._loop.time():
            task = self._asked.get(key)
            if task is None:
                task = self._asked[key] = self._loop.create_task(self._look_up(host, port))
                task.add_done_callback(partial(self._looked_up, key))
            known = await asyncio.shield(task)  # `_looked_up` may come later, where the task is done already
        known.append(known.pop(0))
        return list(known)

    def _looked_up(self, key: tuple[str, int], task: asyncio.Task[list[Address]]) -> None:
        del self._asked[key]
        if not task.cancelled() and task.exception() is None:
            self._known[key] = self._loop.time() + NAME_S, task.result()

    async def _look_up(self, host: str, port: int) -> list[Address]:
        try:
            version = ipaddress.ip_address(host).version
        except ValueError:
            found = await self._loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
            if not found:
                raise socket.gaierror(socket.EAI_NONAME, "the name has no address") from None
            return [(family, kind, protocol, "", address) for family, kind, protocol, _, address in found]
        if version == 4:
            return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, port))]
        return [(socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, port, 0, 0))]


def tls_context() -> ssl.SSLContext:
    """Verifies by the system's authorities, or those that SSL_CERT_FILE and SSL_CERT_DIR name. Takes some 20 ms."""
    made = ssl.create_default_context()
    made.set_alpn_protocols(["http/1.1"])
    return made
