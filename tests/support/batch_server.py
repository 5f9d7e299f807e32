"""A server on loopback that answers each request as a test says, and notes what it was asked. For batch APIs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web

DATE = "Sat, 28 Nov 2026 06:00:00 GMT"
NOW = 1_795_845_600.0
"""The same in seconds."""


@dataclass
class Answer:
    """`body` is JSON unless it is bytes. `declared`: a Content-Length beyond it. `reset`: no answer at all."""

    status: int = 200
    body: Any = b""
    headers: dict[str, str] = field(default_factory=dict)
    declared: int | None = None
    reset: bool = False


@dataclass
class Asked:
    """One request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class BatchServer:
    """`answers` are used up in order; `asked` are the requests so far. Bodies over `keep` bytes are only counted."""

    def __init__(self) -> None:
        self.url = ""
        self.answers: list[Answer] = []
        self.asked: list[Asked] = []
        self.keep = 1 << 20
        self.received = 0

    def will(self, *answers: Answer) -> None:
        self.answers += answers

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = b""
        async for piece in request.content.iter_chunked(1 << 16):
            self.received += len(piece)
            body += piece if len(body) < self.keep else b""
        self.asked.append(Asked(request.method, request.path_qs, dict(request.headers), body))
        answer = self.answers.pop(0)
        assert request.transport is not None
        if answer.reset:
            request.transport.abort()
            return web.Response()
        data = answer.body if isinstance(answer.body, bytes) else orjson.dumps(answer.body)
        length = len(data) if answer.declared is None else answer.declared
        headers = {"Date": DATE, "Content-Length": str(length), **answer.headers}
        response = web.StreamResponse(status=answer.status, headers=headers)
        await response.prepare(request)
        await response.write(data)
        if length > len(data):
            request.transport.close()
            await asyncio.sleep(0)
        return response


@asynccontextmanager
async def batch_server() -> AsyncIterator[BatchServer]:
    """A server on a free port. Every answer that was prepared must have been asked for."""
    made = BatchServer()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", made.handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        yield made
        assert not made.answers
    finally:
        await runner.cleanup()
