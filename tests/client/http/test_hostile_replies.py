"""Both transports against a server that replies correctly, in pieces, late, twice, or with invalid HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.http_replies import BAD, GOOD, UNSPOKEN
from support.raw_server import OK, Counted, request, server
from support.through_session import ThroughSession

from scorer.client.transport import HttpTransport
from scorer.errors import Unreachable
from scorer.types import Call

Script = Callable[[str], Iterable[bytes]]


@asynccontextmanager
async def scripted(script: Script) -> AsyncIterator[tuple[str, Counted]]:
    """A server that answers each request with the pieces for what its body names. It reads on until the client ends."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            _, body = await request(reader)
            for piece in script(body.decode()):
                writer.write(piece)
                await asyncio.sleep(0)

    counted = Counted(answer)
    async with server(counted) as url:
        yield url, counted


def bytewise(name: str) -> Iterable[bytes]:
    raw = GOOD[name][0]
    return [raw[i : i + 1] for i in range(len(raw))]


class HostileContract:
    """What both ways make of the same bytes. `wire` makes a transport."""

    wire: ClassVar[Callable[..., HttpTransport]]

    @pytest.mark.parametrize("script", [lambda name: [GOOD[name][0]], bytewise], ids=["whole", "bytes"])
    async def test_transport_reads_unambiguous_replies(self, script: Script) -> None:
        async with scripted(script) as (url, counted), self.wire(connections=4, timeout_s=60) as wire:
            for name, (_, status, body) in GOOD.items():
                reply = await wire.post(Call(url, name.encode()))
                assert (name, reply.status, reply.body) == (name, status, body)
                if name == "headers":
                    wanted = ("7", "a", "2", "")
                    found = tuple(reply.headers[key] for key in ("retry-after", "x", "content-length", "x-empty"))
                    assert found == wanted
        assert counted.opened <= 2, "only the one that closes ends its connection"

    @pytest.mark.parametrize("name", BAD)
    async def test_transport_rejects_ambiguous_reply_and_closes_its_connection(self, name: str) -> None:
        async with scripted(lambda _: [BAD[name]]) as (url, counted), self.wire(connections=4, timeout_s=60) as wire:
            for _ in range(2):
                with pytest.raises(Unreachable) as caught:
                    await wire.post(Call(url, b"any"))
                assert (caught.value.billed, caught.value.silent) == (True, False)
                assert "broke off" in str(caught.value)
        assert counted.opened == 2

    async def test_transport_reads_reply_followed_by_half_close(self) -> None:
        """Half-closed: the server sends no more, and reads on."""
        ended = asyncio.Semaphore(0)

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await request(reader)
            writer.write(OK)
            writer.write_eof()
            try:
                await reader.read()
            finally:
                ended.release()

        counted = Counted(answer)
        async with server(counted) as url, self.wire(connections=4, timeout_s=60) as wire:
            for _ in range(3):
                assert (await wire.post(Call(url, b"{}"))).body == b"hi"
                await ended.acquire()
        assert counted.opened == 3

    async def test_transport_reports_half_close_without_reply_as_silence(self) -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await request(reader)
            writer.write_eof()
            await reader.read()

        async with server(answer) as url, self.wire(connections=4, timeout_s=60) as wire:
            with pytest.raises(Unreachable) as caught:
                await wire.post(Call(url, b"{}"))
        assert (caught.value.silent, caught.value.kept, caught.value.billed) == (True, False, True)

    @pytest.mark.parametrize(("status", "read"), [(200, False), (413, True)])
    async def test_transport_accepts_reply_before_request_is_sent_only_as_refusal(
        self, status: int, read: bool
    ) -> None:
        released = asyncio.Event()

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 %d X\r\nContent-Length: 2\r\n\r\nhi" % status)
            await released.wait()

        async with server(answer) as url, self.wire(connections=4, timeout_s=60) as wire:
            try:
                if read:
                    assert (await wire.post(Call(url, b"x" * 30_000_000))).status == status
                else:
                    with pytest.raises(Unreachable, match="before all of the request was sent") as caught:
                        await wire.post(Call(url, b"x" * 30_000_000))
                    assert caught.value.billed
            finally:
                released.set()


class TestDirect(HostileContract):
    wire = HttpTransport

    @pytest.mark.parametrize("name", UNSPOKEN)
    async def test_transport_falls_back_to_session_for_unsupported_http_with_one_notice(self, name: str) -> None:
        said: list[str] = []
        script = {"first": UNSPOKEN[name], "then": GOOD["known"][0]}
        async with (
            scripted(lambda body: [script[body]]) as (url, counted),
            HttpTransport(connections=4, timeout_s=60, say=said.append) as wire,
        ):
            assert (await wire.post(Call(url, b"then"))).body == b"hi"
            with pytest.raises(Unreachable) as caught:
                await wire.post(Call(url, b"first"))
            assert (caught.value.billed, caught.value.silent) == (True, False)
            for _ in range(2):
                assert (await wire.post(Call(url.replace("/v1", "/v2"), b"then"))).body == b"hi"
        assert len(said) == 1
        assert "aiohttp's session" in said[0]
        assert counted.opened == 2


class TestThroughSession(HostileContract):
    wire = ThroughSession

    async def test_transport_leaves_unsupported_content_coding_to_aiohttp_from_next_request(self) -> None:
        replies = {"first": UNSPOKEN["two codings"], "then": GOOD["gzip"][0]}
        async with (
            scripted(lambda body: [replies[body]]) as (url, _),
            self.wire(connections=4, timeout_s=60) as wire,
        ):
            assert (await wire.post(Call(url, b"then"))).body == GOOD["gzip"][2]
            with pytest.raises(Unreachable, match="content coding") as caught:
                await wire.post(Call(url, b"first"))
            assert caught.value.billed
            assert (await wire.post(Call(url, b"then"))).body == GOOD["gzip"][2]
            assert {origin.aiohttp_unpacks for origin in wire._origins.values()} == {True}

    async def test_transport_unpacks_reply_in_flight_where_another_is_left_to_aiohttp(self) -> None:
        asked, answered = asyncio.Event(), asyncio.Event()

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            _, body = await request(reader)
            if body == b"first":
                asked.set()
                await answered.wait()
                writer.write(GOOD["gzip"][0])
            else:
                writer.write(UNSPOKEN["br"])
            await reader.read()

        async with server(answer) as url, self.wire(connections=4, timeout_s=60) as wire:
            first = asyncio.create_task(wire.post(Call(url, b"first")))
            await asked.wait()
            with pytest.raises(Unreachable, match="content coding"):
                await wire.post(Call(url, b"second"))
            answered.set()
            assert (await first).body == GOOD["gzip"][2]

    async def test_transport_checks_reply_after_one_in_another_version(self) -> None:
        old = b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi"
        replies = {"first": old, "then": BAD["status 99"]}
        async with (
            scripted(lambda body: [replies[body]]) as (url, counted),
            self.wire(connections=4, timeout_s=60) as wire,
        ):
            assert (await wire.post(Call(url, b"first"))).body == b"hi"
            with pytest.raises(Unreachable, match="the status is 99"):
                await wire.post(Call(url, b"then"))
        assert counted.opened == 1

    async def test_transport_reads_http_1_0_replies(self) -> None:
        async with (
            scripted(lambda _: [UNSPOKEN["HTTP/1.0"]]) as (url, _),
            self.wire(connections=4, timeout_s=60) as wire,
        ):
            for _ in range(2):
                assert (await wire.post(Call(url, b"{}"))).body == b"hi"


@pytest.mark.parametrize("way", [HttpTransport, ThroughSession])
@settings(max_examples=15)
@given(asked=st.lists(st.tuples(st.sampled_from(sorted(GOOD)), st.lists(st.integers(0, 500), max_size=6)), max_size=4))
def test_transport_reads_replies_split_anywhere(way: type[HttpTransport], asked: list[tuple[str, list[int]]]) -> None:
    left = iter([places for _, places in asked])

    def script(name: str) -> Iterable[bytes]:
        raw = GOOD[name][0]
        ends = [0, *sorted({place % len(raw) for place in next(left)} - {0}), len(raw)]
        return [raw[start:stop] for start, stop in pairwise(ends)]

    async def main() -> None:
        async with scripted(script) as (url, _), way(connections=4, timeout_s=60) as wire:
            for name, _ in asked:
                reply = await wire.post(Call(url, name.encode()))
                assert (reply.status, reply.body) == GOOD[name][1:]

    asyncio.run(main())
