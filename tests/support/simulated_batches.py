"""The simulated judge's batch APIs as an aiohttp session in virtual time: the real `BatchHttp`, without a network."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from types import SimpleNamespace
from typing import Any, Self

import aiohttp
from multidict import CIMultiDict
from support.clock import nothing, now

from scorer.batch.http import BatchHttp, Streamed
from scorer.rehearsal.batches.ask import Ask, Reply, refusal, spooled
from scorer.rehearsal.batches.simulator import SimulatedBatches

_BASE = re.compile(r"https?://[^/]+(?:/v1)?")
_PART = re.compile(rb'name="([^"]+)"(?:; filename="([^"]+)")?')
PIECE = 1 << 16


class SimulatedSession:
    """Answers what aiohttp's session is asked. `latency` gives the seconds until a request arrives and is answered.

    `before` is awaited with each request before it is handled, `after` with its answer as well.
    """

    def __init__(
        self,
        batches: SimulatedBatches,
        *,
        latency: Callable[[], tuple[float, float]] = lambda: (0.01, 0.01),
        before: Callable[[Ask], Awaitable[None]] = nothing,
        after: Callable[[Ask, Reply], Awaitable[None]] = nothing,
    ) -> None:
        self.batches = batches
        self._latency, self._before, self._after = latency, before, after
        self.asked: list[tuple[str, str]] = []

    def request(self, method: str, url: str, *, timeout: aiohttp.ClientTimeout, **given: Any) -> _Answering:
        return _Answering(self, method, url, timeout.total or timeout.sock_read or 120.0, given)

    async def close(self) -> None:
        pass

    async def answer(self, method: str, url: str, timeout_s: float, given: dict[str, Any]) -> Reply:
        before_s, after_s = self._latency()
        ask = await _ask(method, _BASE.sub("", url, count=1).partition("?")[0], given)
        await asyncio.sleep(before_s)
        self.asked.append((method, ask.path))
        await self._before(ask)
        reply = self.batches.handle(ask, now()) or refusal(404, f"Invalid URL ({method} {url})")
        await self._after(ask, reply)
        if reply.wire == "hang":
            await asyncio.sleep(timeout_s)
            raise TimeoutError
        await asyncio.sleep(after_s)
        if reply.wire == "reset":
            raise aiohttp.ServerDisconnectedError
        return reply


class _Answering:
    def __init__(
        self, session: SimulatedSession, method: str, url: str, timeout_s: float, given: dict[str, Any]
    ) -> None:
        self._session = session
        self._asked = (method, url, timeout_s, given)

    async def __aenter__(self) -> Any:
        reply = await self._session.answer(*self._asked)
        content = SimpleNamespace(iter_chunked=lambda _: _pieces(self._session.batches, reply))
        return SimpleNamespace(status=reply.status, headers=CIMultiDict(reply.headers), content=content)

    async def __aexit__(self, *_: object) -> None:
        pass


async def _pieces(batches: SimulatedBatches, reply: Reply) -> AsyncIterator[bytes]:
    if reply.file is None:
        yield reply.body
        return
    reply.file.seek(0)
    whole = reply.file.read(reply.size)
    end = {"cut": reply.size // 2, "short": whole.rfind(b"\n", 0, reply.size // 2) + 1}.get(reply.wire, reply.size)
    for at in range(0, end, PIECE):
        await asyncio.sleep(0.001)
        yield whole[at : min(end, at + PIECE)]
    if reply.wire == "cut":
        raise aiohttp.ClientPayloadError("the body ends before its declared length")
    if reply.fetches:
        batches.store.delivered(reply.fetches)


async def _ask(method: str, path: str, given: dict[str, Any]) -> Ask:
    body, size, form = spooled(), 0, {}
    data = given.get("data")
    if isinstance(data, Streamed):
        pieces: list[bytes] = []

        async def write(piece: bytes) -> None:
            pieces.append(piece)

        await data.write(SimpleNamespace(write=write))  # type: ignore[arg-type]
        data = b"".join(pieces)
    kind = (given.get("headers") or {}).get("Content-Type", "")
    if kind.startswith("multipart/form-data"):
        data, form = _parts(data or b"", kind.partition("boundary=")[2].encode())
    size = body.write(data or b"")
    query = {name: str(value) for name, value in (given.get("params") or {}).items()}
    return Ask(method, path, query, body, size, form)


def _parts(data: bytes, boundary: bytes) -> tuple[bytes, dict[str, str]]:
    """The file in a multipart body, and its other fields."""
    file, form = b"", {}
    for part in data.split(b"--" + boundary)[1:-1]:
        head, _, content = part[2:-2].partition(b"\r\n\r\n")
        found = _PART.search(head)
        assert found is not None, head
        if found[2] is not None:
            file, form["filename"] = content, found[2].decode()
        else:
            form[found[1].decode()] = content.decode()
    return file, form


class SimulatedBatchHttp(BatchHttp):
    """A `BatchHttp` over a simulated session."""

    def over(self, session: SimulatedSession) -> Self:
        self._session = session  # type: ignore[assignment]
        return self

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass
