"""The transport's promises, over real sockets on loopback: what arrives, what fails and how, what cancelling does."""

from __future__ import annotations

import asyncio
import gzip
import socket
import struct
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import pytest
import uvloop
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection

from scorer.build.assemble import on_this_machine
from scorer.client import http_post as exchange
from scorer.client import transport
from scorer.client.http_post import TRIES, Line
from scorer.client.transport import HttpTransport, proxy_for
from scorer.client.unsent import Unsent
from scorer.errors import ServerFault, SetupError, TransientError, Unreachable
from scorer.types import Call, Reply

SECRET = "key=not-for-anyone"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def request(reader: asyncio.StreamReader) -> tuple[list[str], bytes]:
    """The lines of a request's head, and its body."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    length = next(int(line.partition(": ")[2]) for line in head if line.lower().startswith("content-length"))
    return head, await reader.readexactly(length)


@asynccontextmanager
async def server(answer: Answer) -> AsyncIterator[str]:
    """A server whose every connection is `answer`'s; its URL, with a secret in the query."""

    serving: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving.add(task)
        try:
            await answer(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client went away, as some tests want it to
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listening:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/v1?{SECRET}"
    if serving:
        await asyncio.wait(serving)


def says(*parts: bytes) -> Answer:
    """Reads one request, sends these bytes, closes."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        for part in parts:
            writer.write(part)
            await writer.drain()

    return answer


class Counted:
    """An answer that counts the connections it was asked for."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.opened = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.opened += 1
        await self._answer(reader, writer)


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await request(reader)
    await reader.read()


async def posted(url: str, *, timeout_s: float = 10.0, call_s: float | None = None) -> Reply:
    async with HttpTransport(connections=4, timeout_s=timeout_s) as wire:
        return await wire.post(Call(url, b"{}", {"Authorization": "Bearer sk-1"}, call_s))


async def failure(answer: Answer, *, timeout_s: float = 10.0, call_s: float | None = None) -> TransientError:
    async with server(answer) as url:
        with pytest.raises(TransientError) as caught:
            await posted(url, timeout_s=timeout_s, call_s=call_s)
    assert SECRET not in str(caught.value)
    assert "sk-1" not in str(caught.value)
    return caught.value


async def test_what_is_sent_and_what_comes_back() -> None:
    seen = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await request(reader))
        writer.write(b"HTTP/1.1 429 Slow\r\nRetry-After: 7\r\nContent-Length: 3\r\n\r\nno.")
        await writer.drain()

    async with server(answer) as url:
        reply = await posted(url)
    assert (reply.status, reply.headers["retry-after"], reply.body) == (429, "7", b"no.")
    head, body = seen[0]
    assert head[0] == f"POST /v1?{SECRET} HTTP/1.1"
    assert "Authorization: Bearer sk-1" in head
    assert "User-Agent: scorer" in head
    assert body == b"{}"


async def test_connections_are_kept_and_shared() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await request(reader)
            writer.write(OK)

    counted = Counted(answer)
    async with server(counted) as url, HttpTransport(connections=4, timeout_s=10) as wire:
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
async def test_a_body_arrives_whole_however_it_is_sent(reply: bytes) -> None:
    async with server(says(reply)) as url:
        assert (await posted(url)).body == b"hi"


@pytest.mark.parametrize("first", [b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n"])
async def test_word_of_work_under_way_is_not_the_reply(first: bytes) -> None:
    async with server(says(first, OK)) as url:
        assert (await posted(url)).body == b"hi"


@pytest.mark.parametrize("head", [b"HTTP/1.1 204 None\r\n\r\n", b"HTTP/1.1 304 Same\r\nContent-Length: 9\r\n\r\n"])
async def test_a_reply_without_a_body_is_one(head: bytes) -> None:
    async with server(says(head)) as url:
        assert (await posted(url)).body == b""


async def test_another_protocol_is_a_reply_without_a_body() -> None:
    async with server(says(b"HTTP/1.1 101 Other\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nhi")) as url:
        reply = await posted(url)
    assert (reply.status, reply.body) == (101, b"")


async def test_what_follows_a_reply_is_never_the_next_one() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(OK + OK.replace(b"hi", b"no"))
        await reader.read()

    counted = Counted(answer)
    async with server(counted) as url, HttpTransport(connections=4, timeout_s=10) as wire:
        for _ in range(3):
            assert (await wire.post(Call(url, b"{}"))).body == b"hi"
            await asyncio.sleep(0)
    assert counted.opened == 3


async def test_what_nobody_asked_for_is_no_reply() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(OK)
        await asyncio.sleep(0.02)  # the reply has been read, its connection waits for the next request
        writer.write(OK.replace(b"hi", b"no"))
        await reader.read()

    counted = Counted(answer)
    async with server(counted) as url, HttpTransport(connections=4, timeout_s=10) as wire:
        for _ in range(3):
            assert (await wire.post(Call(url, b"{}"))).body == b"hi"
            await asyncio.sleep(0.06)
    assert counted.opened == 3


@pytest.mark.parametrize("then", [OK.replace(b"hi", b"no"), None], ids=["a stray", "the end"])
async def test_what_came_before_a_request_was_written_is_seen_though_the_loop_was_busy(then: bytes | None) -> None:
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
        async with HttpTransport(connections=4, timeout_s=5) as wire:
            first = await wire.post(Call(url, b"{}"))
            read.set()
            came.wait(5)
            time.sleep(0.002)  # noqa: ASYNC251 - the loop is to be busy while loopback delivers
            assert (await wire.post(Call(url, b"{}"))).body == first.body == b"hi"
        server_thread.join(5)
    assert len(answered) == 2


async def test_a_kept_connection_that_ends_as_it_is_used_says_so() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(OK)
        await reader.read(1)

    async with server(answer) as url, HttpTransport(connections=4, timeout_s=10) as wire:
        await wire.post(Call(url, b"{}"))
        with pytest.raises(Unreachable) as caught:
            await wire.post(Call(url, b"{}"))
        assert (caught.value.kept, caught.value.silent, caught.value.billed) == (True, True, True)


async def test_a_fresh_connection_is_one_on_which_nothing_was_asked() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await request(reader)
            writer.write(OK)

    counted = Counted(answer)
    async with server(counted) as url, HttpTransport(connections=4, timeout_s=10) as wire:
        for fresh in (False, False, True, False, True):
            assert (await wire.post(Call(url, b"{}", fresh=fresh))).body == b"hi"
    assert counted.opened == 3


async def test_what_was_not_written_whole_is_not_billed() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.abort()

    async with server(answer) as url, HttpTransport(connections=4, timeout_s=10) as wire:
        with pytest.raises(Unreachable) as caught:
            await wire.post(Call(url, b"x" * 30_000_000))
    assert not caught.value.billed


@pytest.mark.parametrize("status", [407, 403, 401])
async def test_a_proxy_that_refuses_to_connect_is_a_set_up_error(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 %d Not\x1b[2J you\r\nContent-Length: 0\r\n\r\n" % status)

    async with server(answer) as url:
        address = url.partition("/v1")[0].replace("://", "://me:secret@")
        monkeypatch.setattr(transport, "proxy_for", lambda _: address)
        async with HttpTransport(connections=4, timeout_s=10, proxies=True) as wire:
            with pytest.raises(SetupError, match=f"answered {status}") as caught:
                await wire.post(Call(f"https://judge.invalid/v1?{SECRET}", b"{}"))
    assert "HTTPS_PROXY" in str(caught.value)
    assert "judge.invalid/v1" in str(caught.value)
    assert not [word for word in ("secret", "\x1b", SECRET) if word in str(caught.value)]


async def test_a_tls_handshake_that_is_cut_is_not_billed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def direct(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)

    async def tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await reader.read(10)

    for answer in (direct, tunnel):
        async with server(answer) as url:
            monkeypatch.setattr(transport, "proxy_for", lambda _, url=url: url.partition("/v1")[0])
            judge = url.replace("http://", "https://") if answer is direct else "https://judge.invalid/v1"
            async with HttpTransport(connections=4, timeout_s=10, proxies=answer is tunnel) as wire:
                with pytest.raises(Unreachable, match="cannot reach") as caught:
                    await wire.post(Call(judge, b"{}"))
        assert not caught.value.billed


async def test_time_that_is_up_before_a_connection_is_made_is_not_billed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "LOOK", 1 / 5000)
    with socket.create_server(("127.0.0.1", 0)) as listening:  # accepts, and never speaks TLS
        url = f"https://127.0.0.1:{listening.getsockname()[1]}/v1"
        async with HttpTransport(connections=4, timeout_s=0.02) as wire:
            with pytest.raises(Unreachable, match="did not answer within") as caught:
                await wire.post(Call(url, b"{}"))
    assert not caught.value.billed


async def test_a_deadline_that_something_else_is_raised_for_leaves_no_cancellation_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def swallows(self: exchange.PostConnection, *, fresh: bool = False) -> Connection:
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            raise OSError("the cancellation is lost in here") from None
        raise AssertionError

    monkeypatch.setattr(transport, "LOOK", 1 / 5000)
    monkeypatch.setattr(exchange.PostConnection, "open", swallows)
    with pytest.raises(Unreachable, match="lost in here"):
        await posted("http://127.0.0.1:1/v1", timeout_s=0.02)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_a_connection_that_the_server_closed_is_not_written_to() -> None:
    counted = Counted(says(OK))
    async with server(counted) as url, HttpTransport(connections=4, timeout_s=10) as wire:
        for _ in range(20):
            with suppress(Unreachable):
                assert (await wire.post(Call(url, b"{}"))).body == b"hi"
    assert counted.opened == 20


async def test_a_server_that_closes_at_once_is_not_tried_for_ever() -> None:
    async def gone(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None: ...

    counted = Counted(gone)
    async with server(counted) as url, HttpTransport(connections=4, timeout_s=10) as wire:
        for _ in range(10):
            with pytest.raises(Unreachable):
                await wire.post(Call(url, b"{}"))
    assert counted.opened <= 10 * TRIES


async def test_what_is_not_sent_is_not_billed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ResponseHandler, "should_close", True)
    async with server(says(OK)) as url, HttpTransport(connections=4, timeout_s=10) as wire:
        with pytest.raises(Unreachable) as caught:
            await wire.post(Call(url, b"{}"))
    assert not caught.value.billed
    assert SECRET not in str(caught.value)


async def test_each_call_has_its_own_headers() -> None:
    seen = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head, _ = await request(reader)
            seen.append({line for line in head if line.lower().startswith(("x-row", "user-agent", "content-type"))})
            writer.write(OK)

    async with server(answer) as url, HttpTransport(connections=4, timeout_s=10) as wire:
        await wire.post(Call(url, b"{}", {"X-Row": "1"}))
        await wire.post(Call(url, b"{}", {"X-Row": "\u00e4", "user-agent": "mine", "content-type": "text/plain"}))
    assert seen == [
        {"User-Agent: scorer", "X-Row: 1", "Content-Type: application/octet-stream"},
        {"user-agent: mine", "X-Row: \u00e4", "content-type: text/plain"},
    ]


@pytest.mark.parametrize("value", ["a\r\nX-Other: b", "a\nb", "a\0b"])
async def test_a_header_that_would_be_two_is_not_sent(value: str) -> None:
    async with server(says(OK)) as url, HttpTransport(connections=4, timeout_s=10) as wire:
        with pytest.raises(SetupError, match=r"header 'Authorization'.*model\.headers") as caught:
            await wire.post(Call(url, b"{}", {"Authorization": value}))
    assert value not in str(caught.value)
    assert SECRET not in str(caught.value)


async def test_a_redirect_is_a_reply_like_any_other() -> None:
    async with server(says(b"HTTP/1.1 307 X\r\nLocation: /v2\r\nContent-Length: 0\r\n\r\n")) as url:
        assert (await posted(url)).headers["location"] == "/v2"


async def test_nobody_there_is_not_billed() -> None:
    async with server(silent) as url:
        pass
    with pytest.raises(Unreachable, match="cannot reach") as caught:
        await posted(url)
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
async def test_what_arrived_and_broke_off_may_be_billed(sent: bytes) -> None:
    error = await failure(says(sent))
    assert isinstance(error, Unreachable)
    assert error.billed


@pytest.mark.parametrize(("timeout_s", "call_s"), [(0.02, None), (60.0, 0.02)], ids=["of all", "of the call"])
async def test_silence_ends_in_time(timeout_s: float, call_s: float | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "LOOK", 1 / 5000)
    error = await failure(silent, timeout_s=timeout_s, call_s=call_s)
    assert isinstance(error, Unreachable)
    assert str(error).endswith("did not answer within 0.02 s")
    assert error.billed


@pytest.mark.parametrize(
    ("sent", "if_late"),
    [(b"", True), (b"HTTP/1.1 20", False), (b"HTTP/1.1 200 OK\r\nContent-", False), (OK[:-1], False)],
)
async def test_a_connection_that_ends_without_a_byte_of_a_reply_says_so(sent: bytes, if_late: bool) -> None:
    error = await failure(says(sent))
    assert (error.billed, error.if_late) == (True, if_late)


async def test_a_connection_that_is_reset_without_a_byte_of_a_reply_says_so() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        raw = writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    error = await failure(answer)
    assert (error.billed, error.if_late) == (True, True)


async def test_silence_until_the_deadline_may_be_billed_however_soon_that_is() -> None:
    error = await failure(silent, timeout_s=0.05)
    assert (error.billed, error.if_late) == (True, False)


async def test_a_body_that_stalls_ends_in_time() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\nhi")
        await reader.read()

    assert "did not answer within" in str(await failure(answer, timeout_s=0.02))


async def test_only_the_late_one_of_several_is_given_up() -> None:
    released = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, body = await request(reader)
        if body == b"late":
            await reader.read()
        await released.wait()
        writer.write(OK)
        await writer.drain()

    async with server(answer) as url, HttpTransport(connections=4, timeout_s=0.5) as wire:
        late = asyncio.ensure_future(wire.post(Call(url, b"late", {}, 0.01)))
        fine = asyncio.ensure_future(wire.post(Call(url, b"fine", {}, 60.0)))
        with pytest.raises(Unreachable):
            await late
        released.set()
        assert (await fine).body == b"hi"


async def test_cancelling_closes_the_connection() -> None:
    asked, gone = asyncio.Event(), asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        asked.set()
        assert await reader.read() == b""
        gone.set()

    async with server(answer) as url, HttpTransport(connections=4, timeout_s=60) as wire:
        post = asyncio.ensure_future(wire.post(Call(url, b"{}")))
        await asked.wait()
        post.cancel()
        with pytest.raises(asyncio.CancelledError):
            await post
        await gone.wait()


@pytest.mark.parametrize("connects", [False, True])
async def test_a_cancellation_tells_whether_the_request_was_written(
    connects: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not connects:

        async def connect(*_: Any, **__: Any) -> None:
            await asyncio.Event().wait()

        monkeypatch.setattr("aiohttp.TCPConnector.connect", connect)
    heard = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        heard.set()
        await reader.read()

    async with server(answer) as url:
        task = asyncio.create_task(posted(url))
        await (heard.wait() if connects else asyncio.sleep(0.01))
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
    assert isinstance(caught.value, Unsent) is not connects


async def test_a_cancellation_from_outside_is_never_told_as_a_timeout() -> None:
    asked = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        asked.set()
        await reader.read()

    async with server(answer) as url, HttpTransport(connections=4, timeout_s=60) as wire:
        post = asyncio.ensure_future(wire.post(Call(url, b"{}")))
        await asked.wait()
        wire._deadlines._due[post] = 0.0
        wire._deadlines._look(asyncio.get_running_loop())
        post.cancel()  # in the very turn in which its time is up
        with pytest.raises(asyncio.CancelledError):
            await post


@pytest.mark.parametrize(
    "head", [b"Content-Length: 9999", b"Transfer-Encoding: chunked\r\nX: y"], ids=["that says so", "that does not"]
)
async def test_a_body_beyond_the_largest_is_not_read(head: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "LARGEST", 1000)
    chunks = b"" if b"Length" in head else b"FF\r\n" + b"x" * 255 + b"\r\n"
    error = await failure(says(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n" + chunks, *(5 * [chunks])))
    assert isinstance(error, ServerFault)
    assert error.billed


async def test_a_small_body_that_unpacks_beyond_the_largest_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "LARGEST", 1000)
    packed = gzip.compress(b"x" * 100_000)
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(packed)}\r\n\r\n".encode()
    assert isinstance(await failure(says(head + packed)), ServerFault)


@pytest.mark.parametrize("url", ["ftp://judge/v1?" + SECRET, "http://?" + SECRET, "nonsense?" + SECRET])
async def test_an_address_that_is_none_is_a_set_up_error(url: str) -> None:
    with pytest.raises(SetupError, match=r"model\.base_url") as caught:
        await posted(url)
    assert SECRET not in str(caught.value)


def test_the_proxy_is_the_environments(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    assert proxy_for("https://api.example.com/v1") is None
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    monkeypatch.setenv("NO_PROXY", "inside.example.com")
    assert proxy_for("https://api.example.com/v1") == "http://proxy:3128"
    assert proxy_for("http://api.example.com/v1") is None
    assert proxy_for("https://inside.example.com/v1") is None


@pytest.mark.parametrize(
    ("url", "here"),
    [
        ("http://localhost:8080/v1", True),
        ("https://LOCALHOST/v1", True),
        ("http://127.1.2.3:1/v1", True),
        ("http://[::1]:80/v1", True),
        ("http://localhost.evil/v1", False),
        ("http://127.0.0.1.evil.com/v1", False),
        ("http://127.evil.com/v1", False),
        ("http://localhostess:80/v1", False),
        ("http://10.0.0.1/v1", False),
    ],
)
def test_only_this_machine_is_loopback_for_which_no_proxy_is_asked(url: str, here: bool) -> None:
    assert on_this_machine(url) is here


async def test_an_address_that_cannot_be_parsed_is_a_set_up_error_with_proxies_too() -> None:
    async with HttpTransport(connections=4, timeout_s=10, proxies=True) as wire:
        with pytest.raises(SetupError, match="is no address to post to"):
            await wire.post(Call("http://[::1/v1", b"{}"))


async def test_a_proxy_is_asked_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append((await request(reader))[0][0])
        writer.write(OK)
        await writer.drain()

    async with server(answer) as url:
        monkeypatch.setattr(transport, "proxy_for", lambda _: url.partition("/v1")[0])
        async with HttpTransport(connections=4, timeout_s=10, proxies=True) as wire:
            reply = await wire.post(Call("http://judge.invalid/v1", b"{}"))
    assert reply.body == b"hi"
    assert seen == ["POST http://judge.invalid/v1 HTTP/1.1"]


async def test_a_proxy_that_wants_a_password_gets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            seen.append((await request(reader))[0])
            writer.write(OK)

    async with server(answer) as url:
        address = url.partition("/v1")[0].replace("://", "://me:secret@")
        monkeypatch.setattr(transport, "proxy_for", lambda _: address)
        async with HttpTransport(connections=4, timeout_s=10, proxies=True) as wire:
            for _ in range(2):
                assert (await wire.post(Call("http://judge.invalid/v1", b"{}"))).body == b"hi"
    assert [[line for line in head if line.startswith("Proxy-Authorization")] for head in seen] == [
        ["Proxy-Authorization: Basic bWU6c2VjcmV0"]
    ] * 2


async def test_through_a_proxy_tls_is_from_end_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append((await reader.readuntil(b"\r\n\r\n")).split(b"\r\n"))
        writer.write(b"HTTP/1.1 502 No\r\n\r\n")
        await writer.drain()

    async with server(answer) as url:
        monkeypatch.setattr(transport, "proxy_for", lambda _: url.partition("/v1")[0])
        async with HttpTransport(connections=4, timeout_s=10, proxies=True) as wire:
            with pytest.raises(Unreachable):
                await wire.post(Call(f"https://judge.invalid/v1?{SECRET}", b"{}", {"Authorization": "Bearer sk-1"}))
    assert seen[0][0] == b"CONNECT judge.invalid:443 HTTP/1.1"
    assert b"sk-1" not in b"".join(seen[0])


def test_a_connection_is_made_on_uvloop_which_runs_of_the_command_use() -> None:
    """Its transports are none of asyncio's classes."""

    async def connected() -> bool:
        loop = asyncio.get_running_loop()
        server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
        failures: list[Any] = []
        loop.set_exception_handler(lambda _, context: failures.append(context))
        transport, line = await loop.create_connection(partial(Line, loop=loop), *server.sockets[0].getsockname())
        await asyncio.sleep(0)
        transport.close()
        server.close()
        return not failures and not line.unsent

    assert uvloop.run(connected())
