"""How the transport reports failures and whether they may be billed: silence, cut replies, deadlines, sizes.

One contract, which each way of posting keeps, over real sockets on loopback.
"""

from __future__ import annotations

import asyncio
import gzip
import socket
import struct

import pytest
from support.clock import run_skipping, skip
from support.raw_server import OK, SECRET, held_port, request, says, server
from support.through_session import Posting, ThroughSession

from scorer.client import reply_bytes
from scorer.client.http import deadlines
from scorer.client.transport import HttpTransport
from scorer.client.unsent import Unsent
from scorer.errors import ServerFault, Unreachable
from scorer.types import Call


class FailureContract(Posting):
    """What a transport promises where no whole reply comes."""

    async def test_transport_marks_kept_connection_closed_on_use(self) -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await request(reader)
            writer.write(OK)
            await reader.read(1)

        async with server(answer) as url, self.wire(connections=4, timeout_s=60) as wire:
            await wire.post(Call(url, b"{}"))
            with pytest.raises(Unreachable) as caught:
                await wire.post(Call(url, b"{}"))
            assert (caught.value.kept, caught.value.silent, caught.value.billed) == (True, True, True)

    async def test_transport_does_not_bill_request_not_fully_written(self) -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.transport.abort()

        async with server(answer) as url, self.wire(connections=4, timeout_s=60) as wire:
            with pytest.raises(Unreachable) as caught:
                await wire.post(Call(url, b"x" * 30_000_000))
        assert not caught.value.billed

    async def test_transport_does_not_bill_cut_tls_handshake(self) -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(10)

        async with server(answer) as url, self.wire(connections=4, timeout_s=60) as wire:
            with pytest.raises(Unreachable, match="cannot reach") as caught:
                await wire.post(Call(url.replace("http://", "https://"), b"{}"))
        assert not caught.value.billed

    async def test_transport_does_not_bill_timeout_before_connection(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(deadlines, "LOOK", 1 / 5000)
        with socket.create_server(("127.0.0.1", 0)) as listening:  # accepts, and never speaks TLS
            url = f"https://127.0.0.1:{listening.getsockname()[1]}/v1"
            async with self.wire(connections=4, timeout_s=0.1) as wire:
                with pytest.raises(Unreachable, match="did not answer within") as caught:
                    await wire.post(Call(url, b"{}"))
        assert not caught.value.billed

    async def test_transport_does_not_bill_refused_connection(self) -> None:
        with held_port() as held, pytest.raises(Unreachable, match="cannot reach") as caught:
            await self.posted(f"http://127.0.0.1:{held.getsockname()[1]}/v1?{SECRET}")
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
    async def test_transport_marks_cut_reply_possibly_billed(self, sent: bytes) -> None:
        error = await self.failure(says(sent))
        assert isinstance(error, Unreachable)
        assert error.billed

    @pytest.mark.parametrize(("timeout_s", "call_s"), [(60.0, None), (600.0, 60.0)], ids=["of all", "of the call"])
    def test_transport_silence_ends_at_timeout_possibly_billed(self, timeout_s: float, call_s: float | None) -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await request(reader)
            skip(60.0)
            await reader.read()

        error = run_skipping(self.failure(answer, timeout_s=timeout_s, call_s=call_s))
        assert isinstance(error, Unreachable)
        assert str(error).endswith("did not answer within 60 s")
        assert (error.billed, error.if_late) == (True, False)

    @pytest.mark.parametrize(
        ("sent", "if_late"),
        [(b"", True), (b"HTTP/1.1 20", False), (b"HTTP/1.1 200 OK\r\nContent-", False), (OK[:-1], False)],
    )
    async def test_transport_marks_connection_closed_before_any_reply_byte(self, sent: bytes, if_late: bool) -> None:
        error = await self.failure(says(sent))
        assert (error.billed, error.if_late) == (True, if_late)

    async def test_transport_marks_connection_reset_before_any_reply_byte(self) -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await request(reader)
            raw = writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

        error = await self.failure(answer)
        assert (error.billed, error.if_late) == (True, True)

    async def test_transport_stalled_body_ends_at_timeout(self) -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await request(reader)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\nhi")
            await reader.read()

        assert "did not answer within" in str(await self.failure(answer, timeout_s=0.5))

    async def test_transport_times_out_only_late_request(self) -> None:
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

    async def test_transport_closes_connection_of_cancelled_request(self) -> None:
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
    async def test_transport_cancellation_reports_whether_request_was_written(self, scheme: str) -> None:
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
    async def test_transport_rejects_body_beyond_largest(self, head: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(reply_bytes, "LARGEST", 300_000)
        chunk = b"x" * 65536 if b"Length" in head else b"10000\r\n" + b"x" * 65536 + b"\r\n"
        error = await self.failure(says(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n", *(9 * [chunk])))
        assert isinstance(error, ServerFault)
        assert error.billed

    async def test_transport_rejects_body_unpacking_beyond_largest(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(reply_bytes, "LARGEST", 1000)
        packed = gzip.compress(b"x" * 100_000)
        head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(packed)}\r\n\r\n".encode()
        assert isinstance(await self.failure(says(head + packed)), ServerFault)


class TestDirect(FailureContract):
    wire = HttpTransport

    async def test_transport_never_reports_outer_cancellation_as_timeout(self) -> None:
        asked = asyncio.Event()

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await request(reader)
            asked.set()
            await reader.read()

        async with server(answer) as url, self.wire(connections=4, timeout_s=60) as wire:
            post = asyncio.ensure_future(wire.post(Call(url, b"{}")))
            await asked.wait()
            assert wire._direct is not None
            for late in wire._direct._pool.connections:
                late.expire()
            post.cancel()  # in the very turn in which its time is up
            with pytest.raises(asyncio.CancelledError):
                await post


class TestThroughSession(FailureContract):
    wire = ThroughSession
