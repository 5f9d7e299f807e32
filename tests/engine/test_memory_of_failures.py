"""Promise: what a failed request or row worked on is freed at once, without the cycle collector."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator

import pytest
from support.clock import run
from support.raw_server import request, server
from support.scripted_client import Strict, Wire, asks, client

from scorer.client.http.reply_reader import ReplyReader
from scorer.client.transport import HttpTransport
from scorer.engine.engine import RunContext, score_row
from scorer.errors import Refused, RowError, Unreachable
from scorer.judges.panel import Panel
from scorer.judges.rating import Rating
from scorer.types import Call, Completion, Judge, Reply, Request, Row


class Held(str):
    """A text that counts how many of it are in memory."""

    alive = 0

    def __new__(cls, text: str) -> Held:
        cls.alive += 1
        return super().__new__(cls, text)

    def __del__(self) -> None:
        type(self).alive -= 1


class Body(bytes):
    """A body that counts how many of it are in memory."""

    alive = 0

    def __init__(self, _: bytes) -> None:
        type(self).alive += 1

    def __del__(self) -> None:
        type(self).alive -= 1


@pytest.fixture(autouse=True)
def _no_collector() -> Iterator[None]:
    gc.collect()
    Held.alive = Body.alive = 0
    gc.disable()
    yield
    gc.enable()


class Refusing:
    """A `Client` that reads something long and refuses."""

    async def complete(self, asked: Request) -> Completion:
        reply = Held("a long reply")
        try:
            raise ValueError(reply)
        except ValueError as error:
            refused = Refused(f"no: {len(reply)}")
            raise refused from error


@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize("single", [True, False])
@pytest.mark.parametrize("prompt", ["{text}", "{text} {missing}"])
def test_error_of_row_holds_nothing_of_it(prompt: str, single: bool, samples: int) -> None:
    async def scenario() -> RowError | None:
        judge = Rating(prompt=prompt, samples=samples)
        parts = RunContext(judge, Refusing(), None, lambda: 0, single=judge if single else None)  # type: ignore[arg-type]
        return (await score_row(Row("s", 0, {"text": Held("a long text")}), parts)).error

    assert run(scenario()) is not None
    assert Held.alive == 0


def test_panel_frees_row_that_its_models_refuse() -> None:
    async def scenario() -> None:
        judge: Judge = Panel(prompt="{text}", models=["one", "two"])
        await score_row(Row("s", 0, {"text": Held("a long text")}), RunContext(judge, Refusing(), None, lambda: 0))  # type: ignore[arg-type]

    run(scenario())
    assert Held.alive == 0


def test_reply_of_failed_attempt_is_freed_before_the_next_one() -> None:
    class Failing(Wire):
        async def reply(self, call: Call, number: int) -> Reply:
            reply = await super().reply(call, number)
            found.append(Body.alive)
            return Reply(reply.status, {}, Body(b"a long reply"))

    found: list[int] = []

    async def scenario() -> None:
        await client(Failing([500, 299, 500, 200]), Strict(), retries=9).complete(asks())

    run(scenario())
    assert found == [0, 0, 0, 0]


async def test_connection_is_freed_after_malformed_reply() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nhi")
        await writer.drain()

    before = _readers()
    async with server(answer) as url, HttpTransport(connections=1, timeout_s=10.0) as http:
        with pytest.raises(Unreachable, match="Content-Length"):
            await http.post(Call(url, b"{}", {}))
    await asyncio.sleep(0)
    assert _readers() == before


def _readers() -> int:
    return sum(isinstance(one, ReplyReader) for one in gc.get_objects())


async def test_idle_connection_holds_no_large_reply() -> None:
    body = b"x" * 2**20

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()
        await reader.read()

    async with server(answer) as url, HttpTransport(connections=1, timeout_s=10.0) as http:
        reply = await http.post(Call(url, b"{}", {}))
        assert reply.body == body
        held = [one for one in gc.get_objects() if isinstance(one, ReplyReader) and one.parts]
    assert not held
