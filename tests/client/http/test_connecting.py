"""Connecting, for both transports: names and addresses, TLS, deadlines, and cancelling at every stage."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

import pytest
import trustme
import uvloop
from support.raw_server import OK, Counted, ends_at, has_ipv6, request, server, silent
from support.through_session import ThroughSession

from scorer.client.http import connecting, deadlines, general, pool
from scorer.client.transport import HttpTransport
from scorer.client.unsent import Unsent
from scorer.errors import Unreachable
from scorer.processes.file_limit import raise_file_limit
from scorer.types import Call

HOST = "judge.test"
IPV6 = pytest.mark.skipif(not has_ipv6(), reason="left out: this machine has no IPv6")
PROBING = getattr(socket, "TCP_KEEPIDLE", getattr(socket, "TCP_KEEPALIVE", 0)), socket.TCP_KEEPINTVL
"""The options of TCP that say when a silent connection is probed; the first has another name on macOS."""


async def answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        await request(reader)
        writer.write(OK)


@contextmanager
def full() -> Iterator[tuple[str, int]]:
    """An address that never answers: its queue of connections is full, so the system drops what asks for another."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        queued = []
        for _ in range(3):
            one = socket.socket()
            one.setblocking(False)
            one.connect_ex(listening.getsockname())
            queued.append(one)
        try:
            yield listening.getsockname()
        finally:
            for one in queued:
                one.close()


def resolves(
    monkeypatch: pytest.MonkeyPatch, *addresses: tuple[str, int], waits: asyncio.Event | None = None
) -> list[tuple[str, int]]:
    """HOST has these addresses, as long as the list that is returned has them; known once `waits` is set."""
    known = list(addresses)
    look_up = asyncio.get_running_loop().getaddrinfo

    async def getaddrinfo(host: str, port: int, **options: Any) -> list[Any]:
        if host[0].isdigit():  # uvloop asks for addresses too
            return await look_up(host, port, **options)
        if waits is not None:
            await waits.wait()
        if host != HOST:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        kind, protocol = socket.SOCK_STREAM, socket.IPPROTO_TCP
        return [
            (socket.AF_INET6, kind, protocol, "", (address, place, 0, 0))
            if ":" in address
            else (socket.AF_INET, kind, protocol, "", (address, place))
            for address, place in known
        ]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    return known


@pytest.fixture
def certified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, bool], ssl.SSLContext]:
    """A server's TLS for a name, of an authority that is trusted or of one that is not."""
    trusted, foreign = trustme.CA(), trustme.CA()
    trusted.cert_pem.write_to_path(tmp_path / "authority.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))

    def made(name: str, good: bool) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        (trusted if good else foreign).issue_cert(name).configure_cert(context)
        return context

    return made


@asynccontextmanager
async def listening(answer: Any, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """The port of a server whose every connection is `answer`'s."""
    async with server(answer, host, tls) as url:
        yield urlsplit(url).port or 0


async def gone(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Reads until the client ends."""
    await reader.read()


def keepalive(port: int) -> list[tuple[int, ...]]:
    """Of each connection to the port: is it probed, after how many silent seconds, how many seconds between probes."""
    names = (socket.SOL_SOCKET, socket.SO_KEEPALIVE), *((socket.IPPROTO_TCP, of) for of in PROBING)
    return [tuple(one.getsockopt(*name) for name in names) for one in ends_at(port)]


class ConnectingContract:
    """What both ways promise of connecting. `wire` makes a transport."""

    wire: ClassVar[Callable[..., HttpTransport]]

    @IPV6
    async def test_transport_connects_to_ipv6(self) -> None:
        async with listening(answers, "::1") as port, self.wire(connections=2, timeout_s=60) as wire:
            assert (await wire.post(Call(f"http://[::1]:{port}/v1", b"{}"))).body == b"hi"

    @pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
    @pytest.mark.parametrize("host", ["127.0.0.1", pytest.param("::1", marks=IPV6), HOST])
    def test_transport_has_its_connections_probed(
        self,
        host: str,
        run: Callable[[Any], None],
        certified: Callable[[str, bool], ssl.SSLContext],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """A router may forget a connection that is silent. The name is over TLS, and has two addresses."""

        async def main() -> None:
            tls = certified(HOST, True) if host == HOST else None
            async with server(answers, host if tls is None else "127.0.0.1", tls) as url:
                port = urlsplit(url).port or 0
                if tls is not None:
                    resolves(monkeypatch, ("127.0.0.2", port), ("127.0.0.1", port))
                    url = f"https://{HOST}:{port}/v1"
                async with self.wire(connections=2, timeout_s=60) as wire:
                    await wire.post(Call(url, b"{}"))
                    assert keepalive(port) == [(1, 30, 15)]

        run(main())

    async def test_transport_tries_next_address_after_unresponsive_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Slow by the quarter second after which the next address is tried (RFC 8305)."""
        async with listening(answers) as port, self.wire(connections=2, timeout_s=60) as wire:
            with full() as dead:
                resolves(monkeypatch, dead, ("127.0.0.1", port))
                assert (await wire.post(Call(f"http://{HOST}:{port}/v1", b"{}"))).body == b"hi"

    async def test_transport_tries_next_address_after_refused_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async with listening(answers) as port, self.wire(connections=4, timeout_s=60) as wire:
            resolves(monkeypatch, ("127.0.0.2", port), ("127.0.0.1", port))
            posts = [wire.post(Call(f"http://{HOST}:{port}/v1", b"{}")) for _ in range(4)]
            assert [reply.body for reply in await asyncio.gather(*posts)] == [b"hi"] * 4

    async def test_transport_follows_changed_address(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A connection ends at its age; the next one goes where the name points then."""
        old, new = Counted(answers), Counted(answers)
        for module in (connecting, general):
            monkeypatch.setattr(module, "NAME_S", 0.0)
        async with listening(old) as first, listening(new) as second, self.wire(connections=2, timeout_s=60) as wire:
            known = resolves(monkeypatch, ("127.0.0.1", first))
            call = Call(f"http://{HOST}:{first}/v1", b"{}")
            for _ in range(3):
                await wire.post(call)
            assert (old.opened, new.opened) == (1, 0)
            known[:] = [("127.0.0.1", second)]
            await wire.post(call)
            assert new.opened == 0, "the old connection is young enough"
            monkeypatch.setattr(pool, "OLDEST_S", 0.0)
            await wire.post(call)
            assert (old.opened, new.opened) == (1, 1)

    async def test_transport_looks_name_up_again_where_its_host_is_gone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async with listening(answers) as port, self.wire(connections=2, timeout_s=60) as wire:
            known = resolves(monkeypatch, ("127.0.0.2", port))
            call = Call(f"http://{HOST}:{port}/v1", b"{}")
            with pytest.raises(Unreachable, match="cannot reach"):
                await wire.post(call)
            known[:] = [("127.0.0.1", port)]
            assert (await wire.post(call)).body == b"hi"

    async def test_transport_hints_at_unknown_host(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async with self.wire(connections=2, timeout_s=60) as wire:
            resolves(monkeypatch)
            with pytest.raises(Unreachable, match=r"cannot reach http://other\.test") as caught:
                await wire.post(Call("http://other.test/v1", b"{}"))
        assert (caught.value.billed, caught.value.hint) == (False, "No such host is known: check model.base_url.")

    async def test_transport_reuses_tls_connection(
        self, certified: Callable[[str, bool], ssl.SSLContext], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        counted = Counted(answers)
        tls = certified(HOST, True)
        async with listening(counted, tls=tls) as port, self.wire(connections=2, timeout_s=60) as wire:
            resolves(monkeypatch, ("127.0.0.1", port))
            for _ in range(3):
                assert (await wire.post(Call(f"https://{HOST}:{port}/v1", b"{}"))).body == b"hi"
        assert counted.opened == 1

    @pytest.mark.parametrize(("name", "good"), [(HOST, False), ("other.test", True)], ids=["authority", "name"])
    async def test_transport_hints_at_untrusted_certificate(
        self,
        name: str,
        good: bool,
        certified: Callable[[str, bool], ssl.SSLContext],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)  # the server's side of it
        async with (
            listening(answers, tls=certified(name, good)) as port,
            self.wire(connections=2, timeout_s=60) as wire,
        ):
            resolves(monkeypatch, ("127.0.0.1", port))
            with pytest.raises(Unreachable, match="cannot reach") as caught:
                await wire.post(Call(f"https://{HOST}:{port}/v1", b"{}"))
        assert not caught.value.billed
        assert caught.value.hint is not None
        assert "SSL_CERT_FILE" in caught.value.hint

    async def test_transport_hints_at_server_without_tls(self) -> None:
        async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(10)
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            writer.close()

        async with listening(plain) as port, self.wire(connections=2, timeout_s=60) as wire:
            with pytest.raises(Unreachable, match="cannot reach") as caught:
                await wire.post(Call(f"https://127.0.0.1:{port}/v1", b"{}"))
        assert caught.value.hint is not None
        assert "TLS" in caught.value.hint

    @pytest.mark.parametrize(
        ("stage", "unsent"),
        [(stage, True) for stage in ("name", "connect", "handshake", "place")]
        + [(stage, False) for stage in ("reply", "head", "body")],
    )
    async def test_transport_frees_connection_when_cancelled_at_any_stage(
        self, stage: str, unsent: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Afterwards the one place serves another request, and nothing of the first is left on the server."""
        starts = {"head": b"HTTP/1.1 200 OK\r\nContent-", "body": b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi"}
        reached, first, ended = asyncio.Event(), True, asyncio.Event()

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal first
            if first and stage in ("reply", "head", "body"):
                first = False
                await request(reader)
                writer.write(starts.get(stage, b""))
                reached.set()
                assert await reader.read() == b""
                ended.set()
            else:
                await answers(reader, writer)

        async with server(answer) as url, self.wire(connections=1, timeout_s=60) as wire:
            held: asyncio.Task[Any] | None = None
            with full() as dead:
                call = Call(url, b"{}")
                if stage == "name":
                    resolves(monkeypatch, waits=asyncio.Event())
                    call = Call(f"http://{HOST}/v1", b"{}")
                elif stage == "connect":
                    call = Call(f"http://{dead[0]}:{dead[1]}/v1", b"{}")
                elif stage == "handshake":
                    call = Call(url.replace("http://", "https://"), b"{}")  # its end waits for a whole head
                elif stage == "place":
                    held = asyncio.create_task(wire.post(Call(f"http://{dead[0]}:{dead[1]}/v1", b"{}")))
                    await asyncio.sleep(0.01)
                post = asyncio.create_task(wire.post(call))
                await (reached.wait() if not unsent else asyncio.sleep(0))
                await asyncio.sleep(0.02)
                post.cancel()
                with pytest.raises(asyncio.CancelledError) as caught:
                    await post
                assert isinstance(caught.value, Unsent) is unsent
                if held is not None:
                    held.cancel()
                    await asyncio.wait([held])
                assert (await wire.post(Call(url, b"{}"))).body == b"hi"
                if not unsent:
                    await asyncio.wait_for(ended.wait(), 60)

    async def test_transport_never_exceeds_its_connections(self) -> None:
        under_way = most = 0
        all_three = asyncio.Barrier(3)

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal under_way, most
            while True:
                await request(reader)
                under_way += 1
                most = max(most, under_way)
                await all_three.wait()
                under_way -= 1
                writer.write(OK)

        counted = Counted(answer)
        async with server(counted) as url, self.wire(connections=3, timeout_s=60) as wire:
            await asyncio.gather(*(wire.post(Call(url, b"{}")) for _ in range(30)))
        assert (most, counted.opened) == (3, 3)

    async def test_transport_timeout_includes_wait_for_connection(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(deadlines, "LOOK", 1 / 5000)
        async with server(silent) as url, self.wire(connections=1, timeout_s=60) as wire:
            first = asyncio.create_task(wire.post(Call(url, b"{}")))
            await asyncio.sleep(0.01)
            with pytest.raises(Unreachable, match=r"did not answer within 0\.02 s") as caught:
                await wire.post(Call(url, b"{}", {}, 0.02))
            assert not caught.value.billed
            first.cancel()
            await asyncio.wait([first])

    def test_transport_handles_large_requests_tls_and_cancelling_on_uvloop(
        self, certified: Callable[[str, bool], ssl.SSLContext]
    ) -> None:
        """Its transports are none of asyncio's classes, and it collects small writes until the end of a turn."""

        async def main() -> None:
            async with server(answers) as url, self.wire(connections=4, timeout_s=60) as wire:
                for size in (1, 70_000, 20_000_000):
                    assert (await wire.post(Call(url, b"x" * size))).body == b"hi"
            secure = server(answers, tls=certified("127.0.0.1", True))
            async with secure as url, self.wire(connections=4, timeout_s=60) as wire:
                for size in (1, 70_000, 2_000_000, 1):
                    replies = await asyncio.gather(*(wire.post(Call(url, b"x" * size)) for _ in range(2)))
                    assert [reply.body for reply in replies] == [b"hi"] * 2
            heard = asyncio.Event()

            async def hears(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                await reader.read(1)
                heard.set()
                await reader.read()

            async with server(hears) as url, self.wire(connections=4, timeout_s=60) as wire:
                for size, unsent in ((20, False), (50_000_000, True)):
                    heard.clear()
                    post = asyncio.create_task(wire.post(Call(url, b"x" * size)))
                    await heard.wait()
                    post.cancel()
                    with pytest.raises(asyncio.CancelledError) as caught:
                        await post
                    assert isinstance(caught.value, Unsent) is unsent

        uvloop.run(main())


class TestDirect(ConnectingContract):
    wire = HttpTransport

    async def test_transport_closes_connection_idle_too_long(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(pool, "KEPT_S", 0.02)
        ended = asyncio.Event()

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await request(reader)
            writer.write(OK)
            assert await reader.read() == b""
            ended.set()

        async with server(answer) as url, HttpTransport(connections=2, timeout_s=60) as wire:
            await wire.post(Call(url, b"{}"))
            await asyncio.wait_for(ended.wait(), 60)

    async def test_transport_shares_one_lookup_among_waiting_requests(self, monkeypatch: pytest.MonkeyPatch) -> None:
        asked = 0
        async with listening(answers) as port, HttpTransport(connections=50, timeout_s=60) as wire:
            resolves(monkeypatch, ("127.0.0.1", port))
            loop = asyncio.get_running_loop()
            look_up = loop.getaddrinfo

            async def counted(host: str, port: int, **options: Any) -> Any:
                nonlocal asked
                asked += host == HOST
                await asyncio.sleep(0.01)
                return await look_up(host, port, **options)

            monkeypatch.setattr(loop, "getaddrinfo", counted)
            call = Call(f"http://{HOST}:{port}/v1", b"{}")
            await asyncio.gather(*(wire.post(call) for _ in range(50)))
        assert asked == 1

    @pytest.mark.slow
    def test_transport_makes_512_tls_handshakes_at_once(
        self, certified: Callable[[str, bool], ssl.SSLContext], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Slow: 512 handshakes, both sides of each in this process. On uvloop, which runs of the command use.

        The limit of a connection is kept by the process's CPU, for others may have the machine.
        """
        raise_file_limit()  # as a run does: both ends of each connection are here
        limit_s = connecting.CONNECT_S
        monkeypatch.setattr(connecting, "CONNECT_S", 600.0)

        async def main() -> None:
            tls = certified("127.0.0.1", True)
            async with listening(answers, tls=tls) as port, HttpTransport(connections=512, timeout_s=600) as wire:
                call = Call(f"https://127.0.0.1:{port}/v1", b"{}")
                replies = await asyncio.gather(*(wire.post(call) for _ in range(512)))
                assert {reply.body for reply in replies} == {b"hi"}

        began = time.process_time()
        uvloop.run(main())
        assert time.process_time() - began < limit_s


class TestThroughSession(ConnectingContract):
    wire = ThroughSession


def test_connector_shares_addresses_of_lookup_that_is_ending() -> None:
    async def main() -> list[Any]:
        connector = connecting.Connector()
        first = asyncio.create_task(connector._addresses("127.0.0.1", 1))
        await asyncio.sleep(0)  # its look-up is the next to run, and ends at once
        second = asyncio.create_task(connector._addresses("127.0.0.1", 1))
        return [addresses[0][4] for addresses in await asyncio.gather(first, second)]

    assert asyncio.run(main()) == [("127.0.0.1", 1)] * 2
