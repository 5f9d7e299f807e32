"""What the tests of both ways of posting share: a transport that always asks aiohttp's session, and one post."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import pytest
from support.raw_server import SECRET, Answer, server

from scorer.client.http.target import Origin
from scorer.client.transport import HttpTransport
from scorer.errors import TransientError
from scorer.types import Call, Reply


class ThroughSession(HttpTransport):
    """An `HttpTransport` that asks every endpoint through aiohttp's session, as it does where there is a proxy."""

    def _origin(self, url: str, scheme: str, host: str, port: int) -> Origin:
        made = super()._origin(url, scheme, host, port)
        made.general = made.general or "this test wants it"
        return made


class Posting:
    """Posts by the transport that `wire` makes."""

    wire: ClassVar[Callable[..., HttpTransport]]

    async def posted(self, url: str, *, timeout_s: float = 60.0, call_s: float | None = None) -> Reply:
        async with self.wire(connections=4, timeout_s=timeout_s) as wire:
            return await wire.post(Call(url, b"{}", {"Authorization": "Bearer sk-1"}, call_s))

    async def failure(self, answer: Answer, *, timeout_s: float = 60.0, call_s: float | None = None) -> TransientError:
        async with server(answer) as url:
            with pytest.raises(TransientError) as caught:
                await self.posted(url, timeout_s=timeout_s, call_s=call_s)
        assert SECRET not in str(caught.value)
        assert "sk-1" not in str(caught.value)
        return caught.value
