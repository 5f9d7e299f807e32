"""Large replies: their sum is bounded, each is read to its end, and waiting for the budget is no timeout."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Callable, Iterator, Sequence

import aiohttp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import clock
from support.raw_server import request, server
from support.through_session import ThroughSession

from scorer.client import reply_bytes
from scorer.client.http import unpacking
from scorer.client.http.deadlines import READ_S
from scorer.client.http.reply_reader import ReplyReader
from scorer.client.http.unpacking import unpacked
from scorer.client.reply_bytes import FREE, ReplyByteBudget
from scorer.client.transport import HttpTransport
from scorer.errors import ServerFault, Unreachable
from scorer.types import Call

MIB = 1024 * 1024
BODY = b"x" * (3 * MIB)
BUFFERS = 5 * MIB // 4
"""What one connection may hold without room: `FREE`, a part, and aiohttp's buffer (1.03 MiB measured) or a read."""
WAYS = pytest.mark.parametrize("way", [HttpTransport, ThroughSession])
HEAD = b"HTTP/1.1 200 OK\r\n"
PACKED = gzip.compress(BODY, 1)
REPLIES = {
    "known": HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY,
    "chunked": HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"%x\r\n%b\r\n" % (len(BODY), BODY) + b"0\r\n\r\n",
    "packed": HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(PACKED) + PACKED,
}


class Memory:
    """Bytes of bodies, unpacked too, that came and whose posts are not finished."""

    def __init__(self) -> None:
        self.held = self.peak = 0

    def came(self, data: bytes) -> None:
        self.held += len(data)
        self.peak = max(self.peak, self.held)


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Memory:
    """Counts where a connection of ours or aiohttp hands a part of a body on, and where ours unpacks one."""
    memory = Memory()
    feed, on_body = aiohttp.StreamReader.feed_data, ReplyReader.on_body

    def fed(self: aiohttp.StreamReader, data: bytes, *size: int) -> object:
        memory.came(data)
        return feed(self, data, *size)

    def came(self: ReplyReader, part: bytes) -> None:
        memory.came(part)
        on_body(self, part)

    def unpacks(parts: Sequence[bytes], coding: str) -> Iterator[bytes]:
        memory.held -= sum(map(len, parts))  # its packed form is counted no more
        for part in unpacked(parts, coding):
            memory.came(part)
            yield part

    monkeypatch.setattr(aiohttp.StreamReader, "feed_data", fed)
    monkeypatch.setattr(ReplyReader, "on_body", came)
    monkeypatch.setattr(unpacking, "unpacked", unpacks)
    return memory


@WAYS
@pytest.mark.parametrize("kind", REPLIES)
async def test_transport_bounds_sum_of_large_replies_and_reads_all(
    kind: str, way: type[HttpTransport], memory: Memory
) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(REPLIES[kind])
        await writer.drain()

    many = 12
    async with server(answer) as url, way(connections=many, timeout_s=60) as wire:
        wire._inflow._left = 2 * MIB

        async def posted() -> None:
            reply = await wire.post(Call(url, b"{}", {}))
            assert reply.body == BODY
            memory.held -= len(BODY)

        await asyncio.gather(*(posted() for _ in range(many)))
        assert wire._inflow.held == 0
    assert memory.held == 0
    assert memory.peak <= 2 * MIB + len(BODY) + many * BUFFERS < many * len(BODY) * 0.6


@WAYS
async def test_transport_rejects_reply_beyond_largest_and_frees_its_bytes(
    way: type[HttpTransport], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reply_bytes, "LARGEST", MIB)
    bomb = gzip.compress(b"x" * (8 * MIB), 1)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb) + bomb)
        await writer.drain()

    async with server(answer) as url, way(connections=4, timeout_s=60) as wire:
        wire._inflow._left = MIB // 2
        ends = await asyncio.gather(*(wire.post(Call(url, b"{}", {})) for _ in range(4)), return_exceptions=True)
        assert [type(end) for end in ends] == 4 * [ServerFault]
        assert wire._inflow.held == 0


async def time_is_up() -> None:
    """A timeout of 60 s that runs is over, and what it ends is told."""
    clock.skip(60.0)
    await asyncio.sleep(2 * READ_S)


async def wait_in(room: ReplyByteBudget, many: int) -> None:
    """Returns once so many wait there."""
    while len(room._waiting) < many:  # noqa: ASYNC110 - the budget has no event for it
        await asyncio.sleep(0.001)


@WAYS
@pytest.mark.parametrize("kind", ["known", "chunked"])
def test_transport_timeout_excludes_wait_for_reply_bytes_and_cancelling_frees_them(
    kind: str, way: type[HttpTransport]
) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(REPLIES[kind])
        await writer.drain()

    async def main() -> None:
        async with server(answer) as url, way(connections=4, timeout_s=60.0) as wire:
            room = wire._inflow
            room._left = MIB
            await room.take("another", 2 * MIB)  # exceeds
            waits, cancelled = (asyncio.create_task(wire.post(Call(url, b"{}", {}))) for _ in range(2))
            await wait_in(room, 2)
            await time_is_up()
            assert len(room._waiting) == 2
            cancelled.cancel()
            with pytest.raises(asyncio.CancelledError):
                await cancelled
            assert list(room._waiting) != []
            room.leave("another")
            assert (await waits).body == BODY
            assert (room.held, room._left) == (0, MIB)

    clock.run_skipping(main())


@settings(max_examples=30)
@given(
    st.lists(
        st.tuples(st.lists(st.integers(1, 40), min_size=1, max_size=4), st.integers(0, 3), st.integers(0, 12)),
        max_size=12,
    )
)
def test_reply_byte_budget_holds_bound_and_finishes_readers_under_any_cancelling(
    readers: list[tuple[list[int], int, int]],
) -> None:
    """Each reader takes its portions with pauses between; a third number up to 4 cancels it then."""

    async def main() -> None:
        room, ended = ReplyByteBudget(50), 0
        largest = max((sum(sizes) for sizes, _, _ in readers), default=0)

        async def read(sizes: list[int], pause_s: int) -> None:
            nonlocal ended
            reader = object()
            try:
                for size in sizes:
                    await room.take(reader, size)
                    assert room.held <= 50 + largest
                    await asyncio.sleep(pause_s)
                ended += 1
            finally:
                room.leave(reader)

        tasks = [asyncio.create_task(read(sizes, pause_s)) for sizes, pause_s, _ in readers]
        for task, (_, _, cancel_s) in zip(tasks, readers, strict=True):
            if cancel_s <= 4:
                asyncio.get_running_loop().call_later(cancel_s, task.cancel)
        if tasks:
            await asyncio.wait(tasks)
        assert ended == sum(not task.cancelled() for task in tasks)
        assert (room.held, room._left, room._waiting, room._exceeds) == (0, 50, {}, None)

    clock.run(main())


async def test_reply_byte_budget_serves_in_order_of_arrival() -> None:
    room, order = ReplyByteBudget(10), []

    async def read(name: str, size: int) -> None:
        await room.take(name, size)
        order.append(name)

    await room.take("exceeds", 20)
    tasks = [asyncio.create_task(read(name, size)) for name, size in (("a", 9), ("b", 9), ("c", 1))]
    await asyncio.sleep(0)
    assert order == []
    for name in ("exceeds", "a", "b", "c"):
        room.leave(name)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    await asyncio.gather(*tasks)
    assert order == ["a", "b", "c"]


@WAYS
async def test_transport_takes_no_budget_for_small_reply(way: type[HttpTransport]) -> None:
    body = b"y" * FREE

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()

    async with server(answer) as url, way(connections=1, timeout_s=60) as wire:
        wire._inflow._left = 0
        await wire._inflow.take("exceeds", 1)
        assert (await wire.post(Call(url, b"{}", {}))).body == body


@WAYS
def test_transport_timeout_resumes_after_wait_for_reply_bytes(way: type[HttpTransport]) -> None:
    """The server stalls after a part: that is its own time again."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(REPLIES["known"][: 2 * MIB])
        await reader.read()

    async def main() -> None:
        async with server(answer) as url, way(connections=4, timeout_s=60.0) as wire:
            room = wire._inflow
            room._left = MIB
            await room.take("another", 2 * MIB)  # exceeds
            waits = asyncio.create_task(wire.post(Call(url, b"{}", {})))
            await wait_in(room, 1)
            await time_is_up()
            assert not waits.done()
            room.leave("another")
            for _ in range(3):  # turns of the loop until the reader goes on
                await asyncio.sleep(0)
            await time_is_up()
            with pytest.raises(Unreachable, match="did not answer within"):
                await waits
            assert (room.held, room._left) == (0, MIB)

    clock.run_skipping(main())


class Shelf:
    """A place for what was read, which a test fills and empties."""

    def __init__(self) -> None:
        self.full = False
        self._wake = lambda: None

    def on_room(self, wake: Callable[[], None]) -> None:
        self._wake = wake

    def emptied(self) -> None:
        self.full = False
        self._wake()


async def test_reply_byte_budget_holds_large_replies_while_unwritten_results_fill_room() -> None:
    shelf = Shelf()
    budget = ReplyByteBudget(most=10, room=shelf)
    await budget.take("first", 8)
    await budget.take("larger than all", 20)
    shelf.full = True
    budget.leave("first")
    waiting = [asyncio.create_task(budget.take(name, 2)) for name in ("larger than all", "second", "third")]
    await asyncio.sleep(0)
    assert budget.held == 20
    budget.leave("larger than all")
    await asyncio.sleep(0)
    assert [task.done() for task in waiting] == [False, False, False]
    shelf.emptied()
    await asyncio.gather(*waiting[1:])
    assert budget.held == 4
    waiting[0].cancel()
