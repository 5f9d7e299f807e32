"""The transport's promises, over real sockets on loopback: what arrives, what fails and how, what cancelling does.

One contract, which each way of posting keeps: connections of our own, and aiohttp's session.
"""

from __future__ import annotations

import asyncio
import gzip
import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import ClassVar

import pytest
from support.raw_server import OK, SECRET, Answer, Counted, request, says, server, silent
from support.through_session import ThroughSession

from scorer.client import reply_bytes
from scorer.client.http import deadlines
from scorer.client.http.direct import TRIES
from scorer.client.transport import HttpTransport
from scorer.client.unsent import Unsent
from scorer.errors import ServerFault, SetupError, TransientError, Unreachable
from scorer.types import Call, Reply


class TransportContract:
    """What a transport promises. `wire` makes one."""

    wire: ClassVar[Callable[..., HttpTransport]]

    async def posted(self, url: str, *, timeout_s: float = 10.0, call_s: float | None = None) -> Reply:
        async with self.wire(connections=4, timeout_s=timeout_s) as wire:
            return await wire.post(Call(url, b"{}", {"Authorization": "Bearer sk-1"}, call_s))

    async def failure(self, answer: Answer, *, timeout_s: float = 10.0, call_s: float | None = None) -> TransientError:
        async with server(answer) as url:
            with pytest.raises(TransientError) as caught:
                await self.posted(url, timeout_s=timeout_s, call_s=call_s)
        assert SECRET not in str(caught.value)
        assert "sk-1" not in str(caught.value)
        return caught.value

    async def test_what_is_sent_and_what_comes_back(self) -> None:
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

    async def test_connections_are_kept_and_shared(self) -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while True:
                await request(reader)
                writer.write(OK)

        counted = Counted(answer)
        async with server(counted) as url, self.wire(connections=4, timeout_s=10) as wire:
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
    async def test_a_body_arrives_whole_however_it_is_sent(self, reply: bytes) -> None:
        async with server(says(reply)) as url:
            assert (await self.posted(url)).body == b"hi"

    @pytest.mark.parametrize(
        "first", [b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n"]
    )
    async def test_word_of_work_under_way_is_not_the_reply(self, first: bytes) -> None:
        async with server(says(first, OK)) as url:
            assert (await self.posted(url)).body == b"hi"

    @pytest.mark.parametrize("head", [b"HTTP/1.1 204 None\r\n\r\n", b"HTTP/1.1 304 Same\r\nContent-Length: 9\r\n\r\n"])
    async def test_a_reply_without_a_body_is_one(self, head: bytes) -> None:
        async with server(says(head)) as url:
            assert (await self.posted(url)).body == b""

    @pytest.mark.parametrize("after", [OK.replace(b"hi", b"no"), b"\r\n", b"\n", b"x"])
    async def test_a_reply_that_bytes_follow_is_none(self, after: bytes) -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await request(reader)
            writer.write(OK + after)
            await reader.read()

        counted = Counted(answer)
        async with server(counted) as url, self.wire(connections=4, timeout_s=10) as wire:
            for _ in range(3):
                with pytest.raises(Unreachable, match=r"bytes follow the reply|Data after") as caught:
                    await wire.post(Call(url, b"{}"))
                assert caught.value.billed
        assert counted.opened == 3

    async def test_what_nobody_asked_for_is_no_reply(self) -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await request(reader)
            writer.write(OK)
            await asyncio.sleep(0.02)  # the reply has been read, its connection waits for the next request
            writer.write(OK.replace(b"hi", b"no"))
            await reader.read()

        counted = Counted(answer)
        async with server(counted) as url, self.wire(connections=4, timeout_s=10) as wire:
            for _ in range(3):
                assert (await wire.post(Call(url, b"{}"))).body == b"hi"
                await asyncio.sleep(0.06)
        assert counted.opened == 3

    @pytest.mark.parametrize("then", [OK.replace(b"hi", b"no"), None], ids=["a stray", "the end"])
    async def test_what_came_before_a_request_was_written_is_seen_though_the_loop_was_busy(
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
                        read.wait(5)
                        if then is not None:
                            peer.sendall(then)
                        else:
                            peer.shutdown(socket.SHUT_WR)
                        came.set()
                    peer.settimeout(5)
                    with suppress(OSError):  # closed by the client, unread bytes and all
                        peer.recv(65536)

        with socket.create_server(("127.0.0.1", 0)) as listening:
            server_thread = threading.Thread(target=serve, args=(listening,), daemon=True)
            server_thread.start()
            url = f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
            async with self.wire(connections=4, timeout_s=5) as wire:
                first = await wire.post(Call(url, b"{}"))
                read.set()
                came.wait(5)
                time.sleep(0.002)  # noqa: ASYNC251 - the loop is to be busy while loopback delivers
                assert (await wire.post(Call(url, b"{}"))).body == first.body == b"hi"
            server_thread.join(5)
        assert len(answered) == 2

    async def test_a_kept_connection_that_ends_as_it_is_used_says_so(self) -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await request(reader)
            writer.write(OK)
            await reader.read(1)

        async with server(answer) as url, self.wire(connections=4, timeout_s=10) as wire:
            await wire.post(Call(url, b"{}"))
            with pytest.raises(Unreachable) as caught:
                await wire.post(Call(url, b"{}"))
            assert (caught.value.kept, caught.value.silent, caught.value.billed) == (True, True, True)

    async def test_a_fresh_connection_is_one_on_which_nothing_was_asked(self) -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while True:
                await request(reader)
                writer.write(OK)

        counted = Counted(answer)
        async with server(counted) as url, self.wire(connections=4, timeout_s=10) as wire:
            for fresh in (False, False, True, False, True):
                assert (await wire.post(Call(url, b"{}", fresh=fresh))).body == b"hi"
        assert counted.opened == 3

    async def test_what_was_not_written_whole_is_not_billed(self) -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.transport.abort()

        async with server(answer) as url, self.wire(connections=4, timeout_s=10) as wire:
            with pytest.raises(Unreachable) as caught:
                await wire.post(Call(url, b"x" * 30_000_000))
        assert not caught.value.billed

    async def test_a_tls_handshake_that_is_cut_is_not_billed(self) -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(10)

        async with server(answer) as url, self.wire(connections=4, timeout_s=10) as wire:
            with pytest.raises(Unreachable, match="cannot reach") as caught:
                await wire.post(Call(url.replace("http://", "https://"), b"{}"))
        assert not caught.value.billed

    async def test_time_that_is_up_before_a_connection_is_made_is_not_billed(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(deadlines, "LOOK", 1 / 5000)
        with socket.create_server(("127.0.0.1", 0)) as listening:  # accepts, and never speaks TLS
            url = f"https://127.0.0.1:{listening.getsockname()[1]}/v1"
            async with self.wire(connections=4, timeout_s=0.1) as wire:
                with pytest.raises(Unreachable, match="did not answer within") as caught:
                    await wire.post(Call(url, b"{}"))
        assert not caught.value.billed

    async def test_a_connection_that_the_server_closed_is_not_written_to(self) -> None:
        counted = Counted(says(OK))
        async with server(counted) as url, self.wire(connections=4, timeout_s=10) as wire:
            for _ in range(20):
                with suppress(Unreachable):
                    assert (await wire.post(Call(url, b"{}"))).body == b"hi"
        assert counted.opened == 20

    async def test_a_server_that_closes_at_once_is_not_tried_for_ever(self) -> None:
        async def gone(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None: ...

        counted = Counted(gone)
        async with server(counted) as url, self.wire(connections=4, timeout_s=10) as wire:
            for _ in range(10):
                with pytest.raises(Unreachable):
                    await wire.post(Call(url, b"{}"))
        assert counted.opened <= 10 * TRIES

    async def test_each_call_has_its_own_headers(self) -> None:
        seen = []

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while True:
                head, _ = await request(reader)
                seen.append({line for line in head if line.lower().startswith(("x-row", "user-agent", "content-type"))})
                writer.write(OK)

        async with server(answer) as url, self.wire(connections=4, timeout_s=10) as wire:
            await wire.post(Call(url, b"{}", {"X-Row": "1"}))
            await wire.post(Call(url, b"{}", {"X-Row": "\u00e4", "user-agent": "mine", "content-type": "text/plain"}))
        assert seen == [
            {"User-Agent: scorer", "X-Row: 1", "Content-Type: application/octet-stream"},
            {"user-agent: mine", "X-Row: \u00e4", "content-type: text/plain"},
        ]

    @pytest.mark.parametrize("value", ["a\r\nX-Other: b", "a\nb", "a\0b"])
    async def test_a_header_that_would_be_two_is_not_sent(self, value: str) -> None:
        async with server(says(OK)) as url, self.wire(connections=4, timeout_s=10) as wire:
            with pytest.raises(SetupError, match=r"header 'Authorization'.*model\.headers") as caught:
                await wire.post(Call(url, b"{}", {"Authorization": value}))
        assert value not in str(caught.value)
        assert SECRET not in str(caught.value)

    async def test_a_redirect_is_a_reply_like_any_other(self) -> None:
        async with server(says(b"HTTP/1.1 307 X\r\nLocation: /v2\r\nContent-Length: 0\r\n\r\n")) as url:
            assert (await self.posted(url)).headers["location"] == "/v2"

    async def test_nobody_there_is_not_billed(self) -> None:
        async with server(silent) as url:
            pass
        with pytest.raises(Unreachable, match="cannot reach") as caught:
            await self.posted(url)
        assert not caught.value.billed
        assert SECRET not in str(caught.value)

    @pytest.mark.parametrize(
        "sent",
        [
            b"",
            b"HTTP/1.1 200 OK\r\nContent-Le",
            b"HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\nhi",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhi",
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd",
            b"HELLO THERE\r\n\r\n",
        ],
        ids=["closed", "half a head", "half a body", "half a chunk", "not packed at all", "no HTTP"],
    )
    async def test_what_arrived_and_broke_off_may_be_billed(self, sent: bytes) -> None:
        error = await self.failure(says(sent))
        assert isinstance(error, Unreachable)
        assert error.billed

    @pytest.mark.parametrize(("timeout_s", "call_s"), [(0.1, None), (60.0, 0.1)], ids=["of all", "of the call"])
    async def test_silence_ends_in_time(
        self, timeout_s: float, call_s: float | None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(deadlines, "LOOK", 1 / 5000)
        error = await self.failure(silent, timeout_s=timeout_s, call_s=call_s)
        assert isinstance(error, Unreachable)
        assert str(error).endswith("did not answer within 0.1 s")
        assert error.billed

    @pytest.mark.parametrize(
        ("sent", "if_late"),
        [(b"", True), (b"HTTP/1.1 20", False), (b"HTTP/1.1 200 OK\r\nContent-", False), (OK[:-1], False)],
    )
    async def test_a_connection_that_ends_without_a_byte_of_a_reply_says_so(self, sent: bytes, if_late: bool) -> None:
        error = await self.failure(says(sent))
        assert (error.billed, error.if_late) == (True, if_late)

    async def test_a_connection_that_is_reset_without_a_byte_of_a_reply_says_so(self) -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await request(reader)
            raw = writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

        error = await self.failure(answer)
        assert (error.billed, error.if_late) == (True, True)

    async def test_silence_until_the_deadline_may_be_billed_however_soon_that_is(self) -> None:
        error = await self.failure(silent, timeout_s=0.1)
        assert (error.billed, error.if_late) == (True, False)

    async def test_a_body_that_stalls_ends_in_time(self) -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await request(reader)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\nhi")
            await reader.read()

        assert "did not answer within" in str(await self.failure(answer, timeout_s=0.1))

    async def test_only_the_late_one_of_several_is_given_up(self) -> None:
        released = asyncio.Event()

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            _, body = await request(reader)
            if body == b"late":
                await reader.read()
            await released.wait()
            writer.write(OK)
            await writer.drain()

        async with server(answer) as url, self.wire(connections=4, timeout_s=0.5) as wire:
            late = asyncio.ensure_future(wire.post(Call(url, b"late", {}, 0.01)))
            fine = asyncio.ensure_future(wire.post(Call(url, b"fine", {}, 60.0)))
            with pytest.raises(Unreachable):
                await late
            released.set()
            assert (await fine).body == b"hi"

    async def test_cancelling_closes_the_connection(self) -> None:
        asked, gone = asyncio.Event(), asyncio.Event()

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await request(reader)
            asked.set()
            assert await reader.read() == b""
            gone.set()

        async with server(answer) as url, self.wire(connections=4, timeout_s=60) as wire:
            post = asyncio.ensure_future(wire.post(Call(url, b"{}")))
            await asked.wait()
            post.cancel()
            with pytest.raises(asyncio.CancelledError):
                await post
            await gone.wait()

    @pytest.mark.parametrize("scheme", ["http", "https"])
    async def test_a_cancellation_tells_whether_the_request_was_written(self, scheme: str) -> None:
        heard = asyncio.Event()

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readexactly(10)  # of a request, or of a handshake that never ends
            heard.set()
            await reader.read()

        async with server(answer) as url:
            task = asyncio.create_task(self.posted(url.replace("http", scheme, 1)))
            await heard.wait()
            await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError) as caught:
                await task
        assert isinstance(caught.value, Unsent) is (scheme == "https")

    @pytest.mark.parametrize(
        "head",
        [b"Content-Length: 9999999", b"Transfer-Encoding: chunked\r\nX: y"],
        ids=["that says so", "that does not"],
    )
    async def test_a_body_beyond_the_largest_is_not_read(self, head: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(reply_bytes, "LARGEST", 300_000)
        chunk = b"x" * 65536 if b"Length" in head else b"10000\r\n" + b"x" * 65536 + b"\r\n"
        error = await self.failure(says(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n", *(9 * [chunk])))
        assert isinstance(error, ServerFault)
        assert error.billed

    async def test_a_small_body_that_unpacks_beyond_the_largest_is_not_read(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(reply_bytes, "LARGEST", 1000)
        packed = gzip.compress(b"x" * 100_000)
        head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(packed)}\r\n\r\n".encode()
        assert isinstance(await self.failure(says(head + packed)), ServerFault)

    @pytest.mark.parametrize("url", ["ftp://judge/v1?" + SECRET, "http://?" + SECRET, "nonsense?" + SECRET])
    async def test_an_address_that_is_none_is_a_set_up_error(self, url: str) -> None:
        with pytest.raises(SetupError, match=r"model\.base_url") as caught:
            await self.posted(url)
        assert SECRET not in str(caught.value)


class TestDirect(TransportContract):
    wire = HttpTransport

    async def test_a_cancellation_from_outside_is_never_told_as_a_timeout(self) -> None:
        asked = asyncio.Event()

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await request(reader)
            asked.set()
            await reader.read()

        async with server(answer) as url, self.wire(connections=4, timeout_s=60) as wire:
            post = asyncio.ensure_future(wire.post(Call(url, b"{}")))
            await asked.wait()
            assert wire._direct is not None
            for late in wire._direct._deadlines._due:
                late.expire()
            post.cancel()  # in the very turn in which its time is up
            with pytest.raises(asyncio.CancelledError):
                await post


class TestThroughSession(TransportContract):
    wire = ThroughSession
