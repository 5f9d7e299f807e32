"""Promise: a request's body is not held in memory while its reply is awaited."""

from __future__ import annotations

import asyncio

import uvloop
from support.raw_server import OK, request, server

from scorer.client.blanking import SecretBlankingTransport, Secrets
from scorer.client.transport import HttpTransport
from scorer.types import Call


class Body(bytes):
    """A body that tells when it is freed."""

    freed = False

    def __del__(self) -> None:
        type(self).freed = True


def test_body_is_freed_once_it_was_written() -> None:
    async def main() -> tuple[bool, bytes]:
        asked, go_on = asyncio.Event(), asyncio.Event()

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await request(reader)
            asked.set()
            await go_on.wait()
            writer.write(OK)

        async with server(answer) as url, HttpTransport(connections=1, timeout_s=60) as http:
            transport = SecretBlankingTransport(http, Secrets(["a-secret-of-some-length"]))
            posting = asyncio.ensure_future(transport.post(Call(url, Body(b"{}"), {})))
            await asked.wait()
            freed = Body.freed
            go_on.set()
            return freed, (await posting).body

    assert uvloop.run(main()) == (True, b"hi")
