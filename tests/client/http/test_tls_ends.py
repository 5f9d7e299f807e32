"""Both transports against a TLS server that closes properly, is cut off, says what no TLS is, or refuses the client."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import ClassVar

import pytest
import trustme
from support.raw_server import OK, request, server
from support.through_session import ThroughSession

from scorer.client.transport import HttpTransport
from scorer.errors import Unreachable
from scorer.types import Call

UNTIL_END = b"HTTP/1.1 200 OK\r\n\r\nhi"


@pytest.fixture
def tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """A server's, of an authority that is trusted."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.configure_trust(context)
    return context


@contextmanager
def serving(serve: Callable[[ssl.SSLSocket], None], tls: ssl.SSLContext) -> Iterator[str]:
    """The URL of a server that takes one connection in a thread, and reads it to its end before it closes it."""

    def run() -> None:
        peer, _ = listening.accept()
        with tls.wrap_socket(peer, server_side=True, do_handshake_on_connect=False) as secured:
            secured.settimeout(60)
            with suppress(OSError):
                serve(secured)
            with suppress(OSError):
                while socket.socket.recv(secured, 65536):
                    pass

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=run)
        thread.start()
        yield f"https://127.0.0.1:{listening.getsockname()[1]}/v1"
        thread.join()


class TlsEndContract:
    """What both ways make of the end of TLS. `wire` makes a transport."""

    wire: ClassVar[Callable[..., HttpTransport]]

    @pytest.mark.parametrize(
        ("reply", "closes", "read"), [(OK, False, True), (UNTIL_END, True, True), (UNTIL_END, False, False)]
    )
    async def test_transport_reads_reply_until_end_only_where_tls_was_closed(
        self, reply: bytes, closes: bool, read: bool, tls: ssl.SSLContext
    ) -> None:
        """Without close_notify anybody on the way may have ended the connection (RFC 9112, 9.8)."""

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await request(reader)
            writer.write(reply)
            if closes:
                writer.close()
            else:
                writer.transport.abort()

        async with server(answer, tls=tls) as url, self.wire(connections=2, timeout_s=60) as wire:
            if read:
                assert (await wire.post(Call(url, b"{}"))).body == b"hi"
            else:
                with pytest.raises(Unreachable, match="close_notify") as caught:
                    await wire.post(Call(url, b"{}"))
                assert (caught.value.billed, caught.value.silent) == (True, False)

    async def test_transport_takes_what_is_no_tls_for_an_answer_that_may_be_billed(self, tls: ssl.SSLContext) -> None:
        def serve(peer: ssl.SSLSocket) -> None:
            peer.do_handshake()
            peer.recv(65536)
            socket.socket.sendall(peer, b"HTTP/1.1 200 OK\r\n")

        with serving(serve, tls) as url:
            async with self.wire(connections=2, timeout_s=60) as wire:
                with pytest.raises(Unreachable, match="broke off") as caught:
                    await wire.post(Call(url, b"{}"))
        assert (caught.value.billed, caught.value.silent) == (True, False)

    async def test_transport_bills_nothing_where_server_demands_certificate_of_client(
        self, tls: ssl.SSLContext
    ) -> None:
        """In TLS 1.3 the refusal comes after the client's handshake is over, and after its request."""
        tls.verify_mode = ssl.CERT_REQUIRED
        with serving(ssl.SSLSocket.do_handshake, tls) as url:
            async with self.wire(connections=2, timeout_s=60) as wire:
                with pytest.raises(Unreachable) as caught:
                    await wire.post(Call(url, b"{}"))
        assert not caught.value.billed


class TestDirect(TlsEndContract):
    wire = HttpTransport

    async def test_transport_hints_at_server_that_demands_certificate_of_client(self, tls: ssl.SSLContext) -> None:
        tls.verify_mode = ssl.CERT_REQUIRED
        with serving(ssl.SSLSocket.do_handshake, tls) as url:
            async with self.wire(connections=2, timeout_s=60) as wire:
                with pytest.raises(Unreachable, match="cannot reach") as caught:
                    await wire.post(Call(url, b"{}"))
        assert "asks clients for a certificate" in str(caught.value.hint)


class TestThroughSession(TlsEndContract):
    wire = ThroughSession
