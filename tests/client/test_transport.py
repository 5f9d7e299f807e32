"""The transport's promises, over real sockets on loopback: what is sent, what comes back, on which connection.

One contract, which each way of posting keeps: connections of our own, and aiohttp's session.
"""

from __future__ import annotations

import asyncio
import gzip
import socket
import threading
from contextlib import suppress
from urllib.parse import urlsplit

import pytest
from support.raw_server import OK, SECRET, Counted, request, says, server, until_heard
from support.through_session import Posting, ThroughSession

from scorer.client.http.direct import TRIES
from scorer.client.transport import HttpTransport
from scorer.errors import SetupError, Unreachable
from scorer.types import Call


class TransportContract(Posting):
    """What a transport promises."""

    async def test_transport_sends_request_and_returns_reply(self) -> None:
        seen = []

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            seen.append(await request(reader))
            writer.write(b"HTTP/1.1 429 Slow\r\nRetry-After: 7\r\nContent-Length: 3\r\n\r\nno.")
            await writer.drain()

        async with server(answer) as url:
            reply = await self.posted(url)
        assert (reply.status, reply.headers["retry-after"], reply.body) == (429, "7", b"no.")
        head, body = seen[0]
        assert head[0] == f"POST /v1?{SECRET} HTTP/1.1"
        assert "Authorization: Bearer sk-1" in head
        assert "User-Agent: scorer" in head
        assert body == b"{}"

    @pytest.mark.parametrize(
        ("path", "sent"),
        [
            ("/model/a.v1%3A0/%2Fconverse?b=c%2Fd", "/model/a.v1%3A0/%2Fconverse"),
            ("/100%/a%zz?b=c%2Fd", "/100%25/a%25zz"),
            ("/an \u00e4%3A0?b=c%2Fd", "/an%20%C3%A4:0"),
        ],
    )
    async def test_transport_sends_an_escaped_path_as_it_is_written(self, path: str, sent: str) -> None:
        """Bedrock's signature is over the escaped path: `:` for `%3A` is another one."""
        seen = []

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            seen.append((await request(reader))[0][0])
            writer.write(OK)

        async with server(answer) as url, self.wire(connections=1, timeout_s=60) as wire:
            await wire.post(Call(url.partition("/v1")[0] + path, b"{}"))
        assert [line.partition("?")[0] for line in seen] == [f"POST {sent}"]

    async def test_transport_keeps_and_shares_connections(self) -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while True:
                await request(reader)
                writer.write(OK)

        counted = Counted(answer)
        async with server(counted) as url, self.wire(connections=4, timeout_s=60) as wire:
            for _ in range(3):
                assert (await wire.post(Call(url, b"{}"))).body == b"hi"
        assert counted.opened == 1

    @pytest.mark.parametrize(
        "reply",
        [
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nh\r\n1\r\ni\r\n0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n\r\nhi",
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 22\r\n\r\n" + gzip.compress(b"hi", mtime=0),
        ],
        ids=["chunked", "until the end", "packed"],
    )
    async def test_transport_reads_body_in_any_framing(self, reply: bytes) -> None:
        async with server(says(reply)) as url:
            assert (await self.posted(url)).body == b"hi"

    @pytest.mark.parametrize(
        "first", [b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n"]
    )
    async def test_transport_skips_informational_replies(self, first: bytes) -> None:
        async with server(says(first, OK)) as url:
            assert (await self.posted(url)).body == b"hi"

    @pytest.mark.parametrize("head", [b"HTTP/1.1 204 None\r\n\r\n", b"HTTP/1.1 304 Same\r\nContent-Length: 9\r\n\r\n"])
    async def test_transport_reads_reply_without_body(self, head: bytes) -> None:
        async with server(says(head)) as url:
            assert (await self.posted(url)).body == b""

    @pytest.mark.parametrize("after", [OK.replace(b"hi", b"no"), b"\r\n", b"\n", b"x"])
    async def test_transport_rejects_reply_followed_by_bytes(self, after: bytes) -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await request(reader)
            writer.write(OK + after)
            await reader.read()

        counted = Counted(answer)
        async with server(counted) as url, self.wire(connections=4, timeout_s=60) as wire:
            for _ in range(3):
                with pytest.raises(Unreachable, match=r"bytes follow the reply|Data after") as caught:
                    await wire.post(Call(url, b"{}"))
                assert caught.value.billed
        assert counted.opened == 3

    async def test_transport_discards_unrequested_reply(self) -> None:
        received, closed = asyncio.Semaphore(0), asyncio.Semaphore(0)

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await request(reader)
            writer.write(OK)
            await received.acquire()  # the connection waits for the next request
            writer.write(OK.replace(b"hi", b"no"))
            with suppress(ConnectionError):
                await reader.read()
            closed.release()

        counted = Counted(answer)
        async with server(counted) as url, self.wire(connections=4, timeout_s=60) as wire:
            for _ in range(3):
                assert (await wire.post(Call(url, b"{}"))).body == b"hi"
                received.release()
                await closed.acquire()
        assert counted.opened == 3

    @pytest.mark.parametrize("then", [OK.replace(b"hi", b"no"), None], ids=["a stray", "the end"])
    async def test_transport_detects_bytes_received_before_request_while_loop_was_busy(
        self, then: bytes | None
    ) -> None:
        """Whoever computes for some milliseconds has read nothing meanwhile: the system is asked, and not the loop."""
        read, came = threading.Event(), threading.Event()
        answered: list[bytes] = []

        def serve(listening: socket.socket) -> None:
            for number in range(2):
                peer, _ = listening.accept()
                with peer:
                    answered.append(peer.recv(65536))
                    peer.sendall(OK)
                    if number == 0:
                        read.wait(60)
                        if then is not None:
                            peer.sendall(then)
                        else:
                            peer.shutdown(socket.SHUT_WR)
                        came.set()
                    peer.settimeout(60)
                    with suppress(OSError):  # closed by the client, unread bytes and all
                        peer.recv(65536)

        with socket.create_server(("127.0.0.1", 0)) as listening:
            server_thread = threading.Thread(target=serve, args=(listening,), daemon=True)
            server_thread.start()
            url = f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
            async with self.wire(connections=4, timeout_s=60) as wire:
                first = await wire.post(Call(url, b"{}"))
                read.set()
                came.wait(60)
                until_heard(listening.getsockname()[1])
                assert (await wire.post(Call(url, b"{}"))).body == first.body == b"hi"
            server_thread.join(60)
        assert len(answered) == 2

    async def test_transport_fresh_call_uses_unused_connection(self) -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while True:
                await request(reader)
                writer.write(OK)

        counted = Counted(answer)
        async with server(counted) as url, self.wire(connections=4, timeout_s=60) as wire:
            for fresh in (False, False, True, False, True):
                assert (await wire.post(Call(url, b"{}", fresh=fresh))).body == b"hi"
        assert counted.opened == 3

    async def test_transport_does_not_write_to_connection_closed_by_server(self) -> None:
        closed = asyncio.Semaphore(0)

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await request(reader)
            writer.write(OK)
            writer.close()
            await writer.wait_closed()
            closed.release()

        counted = Counted(answer)
        async with server(counted) as url, self.wire(connections=4, timeout_s=60) as wire:
            for _ in range(20):
                assert (await wire.post(Call(url, b"{}"))).body == b"hi"
                await closed.acquire()
                until_heard(urlsplit(url).port or 0)
        assert counted.opened == 20

    async def test_transport_bounds_tries_at_server_that_closes_at_once(self) -> None:
        async def gone(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None: ...

        counted = Counted(gone)
        async with server(counted) as url, self.wire(connections=4, timeout_s=60) as wire:
            for _ in range(10):
                with pytest.raises(Unreachable):
                    await wire.post(Call(url, b"{}"))
        assert counted.opened <= 10 * TRIES

    async def test_transport_sends_headers_of_each_call(self) -> None:
        seen = []

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while True:
                head, _ = await request(reader)
                seen.append({line for line in head if line.lower().startswith(("x-row", "user-agent", "content-type"))})
                writer.write(OK)

        async with server(answer) as url, self.wire(connections=4, timeout_s=60) as wire:
            await wire.post(Call(url, b"{}", {"X-Row": "1"}))
            await wire.post(Call(url, b"{}", {"X-Row": "\u00e4", "user-agent": "mine", "content-type": "text/plain"}))
        assert seen == [
            {"User-Agent: scorer", "X-Row: 1", "Content-Type: application/octet-stream"},
            {"user-agent: mine", "X-Row: \u00e4", "content-type: text/plain"},
        ]

    @pytest.mark.parametrize("value", ["a\r\nX-Other: b", "a\nb", "a\0b"])
    async def test_transport_rejects_header_with_control_characters(self, value: str) -> None:
        async with server(says(OK)) as url, self.wire(connections=4, timeout_s=60) as wire:
            with pytest.raises(SetupError, match=r"header 'Authorization'.*model\.headers") as caught:
                await wire.post(Call(url, b"{}", {"Authorization": value}))
        assert value not in str(caught.value)
        assert SECRET not in str(caught.value)

    async def test_transport_returns_redirect_as_reply(self) -> None:
        async with server(says(b"HTTP/1.1 307 X\r\nLocation: /v2\r\nContent-Length: 0\r\n\r\n")) as url:
            assert (await self.posted(url)).headers["location"] == "/v2"

    @pytest.mark.parametrize(
        "url",
        [
            f"{address}?{SECRET}"
            for address in (
                "ftp://judge/v1",
                "http://",
                "nonsense",
                "http://judge:0",
                "http://a..b",
                f"http://{'a' * 64}.b",
            )
        ],
    )
    async def test_transport_reports_invalid_address_as_setup_error(self, url: str) -> None:
        with pytest.raises(SetupError, match=r"model\.base_url") as caught:
            await self.posted(url)
        assert SECRET not in str(caught.value)


class TestDirect(TransportContract):
    wire = HttpTransport


class TestThroughSession(TransportContract):
    wire = ThroughSession
