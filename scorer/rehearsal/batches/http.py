"""Serves the batch endpoints of the simulated judge: uploads and downloads stream, and faults are on the wire."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import BinaryIO

import aiohttp
from aiohttp import web

from scorer.rehearsal.batches.ask import Ask, Reply, refusal, spooled
from scorer.rehearsal.batches.simulator import SimulatedBatches

PIECE = 256 * 1024
STEP_S = 0.05
"""So often batches under way are advanced while no request comes, so that no single request has to wait for much."""
RESET_ON_CLOSE = struct.pack("ii", 1, 0)
"""Linger for 0 s: closing sends RST instead of FIN."""


class BatchHandler:
    """Answers HTTP requests to batch endpoints. `hang_s` is how long a request without an answer is held."""

    def __init__(
        self, batches: Callable[[], SimulatedBatches], time: Callable[[], float], hang_s: Callable[[], float]
    ) -> None:
        self._batches, self._time, self._hang_s = batches, time, hang_s
        self._ticking: asyncio.Task[None] | None = None

    def takes(self, path: str) -> bool:
        """Whether a path below the base address is one of a batch API."""
        return path.startswith(("/files", "/batches", "/messages/batches"))

    async def answer(self, http: web.BaseRequest, path: str) -> web.StreamResponse:
        form: dict[str, str] = {}
        if http.method == "POST" and http.content_type == "multipart/form-data":
            body, size = await _upload(http, form)
        else:
            body, size = await _received(http)
        reply = self._batches().handle(Ask(http.method, path, dict(http.query), body, size, form), self._time())
        if self._ticking is None or self._ticking.done():
            self._ticking = asyncio.get_running_loop().create_task(self._tick())
        return await self._send(http, reply or refusal(404, f"Invalid URL ({http.method} {http.path})"))

    async def close(self) -> None:
        if self._ticking is not None:
            self._ticking.cancel()
            await asyncio.gather(self._ticking, return_exceptions=True)

    async def _tick(self) -> None:
        while not self._batches().store.idle:
            await asyncio.sleep(STEP_S)
            self._batches().store.advance(self._time())

    async def _send(self, http: web.BaseRequest, reply: Reply) -> web.StreamResponse:
        transport = http.transport
        assert transport is not None
        if reply.wire == "reset":
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            transport.abort()
            return web.Response()
        if reply.wire == "hang":
            await asyncio.sleep(self._hang_s())
            transport.close()
            return web.Response()
        if reply.file is None:
            return web.Response(status=reply.status, body=reply.body, headers=reply.headers)
        response = web.StreamResponse(status=reply.status, headers=reply.headers)
        if reply.wire != "short":
            response.content_length = reply.size
        end = reply.size
        if reply.wire != "whole":
            end = _last_line_before(reply.file, reply.size) if reply.wire == "short" else reply.size // 2
        try:
            await response.prepare(http)
            at = 0
            while at < end:
                reply.file.seek(at)
                piece = reply.file.read(min(PIECE, end - at))
                at += len(piece)
                await response.write(piece)
            if reply.wire == "cut":
                transport.close()
                return response
            await response.write_eof()
        except ConnectionError:
            return response
        if reply.fetches and not transport.is_closing():
            self._batches().store.delivered(reply.fetches)
        return response


def _last_line_before(file: BinaryIO, size: int) -> int:
    """Where the last line begins that ends before the middle of a file's first `size` bytes; 0 where none does."""
    file.seek(0)
    return file.read(size // 2).rfind(b"\n") + 1


async def _received(http: web.BaseRequest) -> tuple[BinaryIO, int]:
    file, size = spooled(), 0
    async for piece in http.content.iter_chunked(PIECE):
        size += file.write(piece)
    return file, size


async def _upload(http: web.BaseRequest, form: dict[str, str]) -> tuple[BinaryIO | None, int]:
    """The file of a multipart form and its size; its other fields and the file's name go to `form`."""
    found: BinaryIO | None = None
    size = 0
    reader = await http.multipart()
    while (part := await reader.next()) is not None:
        assert isinstance(part, aiohttp.BodyPartReader)
        if part.name == "file":
            form["filename"] = part.filename or ""
            found, size = spooled(), 0
            while piece := await part.read_chunk(PIECE):
                size += found.write(piece)
        else:
            form[part.name or ""] = (await part.read()).decode("utf-8", "replace")
    return found, size
