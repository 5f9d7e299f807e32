"""Promise: a client that is killed within a request is no error of the server, which says nothing and serves others."""

from __future__ import annotations

import asyncio
import socket
import struct

import pytest

from scorer.rehearsal.server import RehearsalServer

HEAD = b"POST /v1/%s HTTP/1.1\r\nHost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{"


@pytest.mark.parametrize("path", [b"messages/batches", b"chat/completions"])
@pytest.mark.parametrize("reset", [False, True])
def test_client_that_dies_within_its_request_is_no_error(
    path: bytes, reset: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> bytes:
        async with RehearsalServer() as server:
            _, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(HEAD % path)
            await writer.drain()
            await asyncio.sleep(0.02)
            if reset:
                found: socket.socket = writer.get_extra_info("socket")
                found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.close()
            await asyncio.sleep(0.02)
            reader, other = await asyncio.open_connection("127.0.0.1", server.port)
            other.write(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            answered = await reader.readline()
            other.close()
            return answered

    assert b"200" in asyncio.run(scenario())
    assert caplog.records == []
