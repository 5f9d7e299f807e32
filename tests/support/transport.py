"""A fake transport: the answers of a judge server without HTTP, on the loop's clock."""

from __future__ import annotations

import asyncio
from typing import Self

from scorer.types import Call, Reply


class FakeTransport:
    """A `Transport`, and what makes one (`make_client(transport=...)`): itself. Derive `reply` from it.

    `sent_at` has the loop's time of each POST.
    """

    def __init__(self) -> None:
        self.sent_at: list[float] = []

    def __call__(self, **_: object) -> Self:
        return self

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None: ...

    async def post(self, call: Call) -> Reply:
        number = len(self.sent_at)
        self.sent_at.append(asyncio.get_running_loop().time())
        return await self.reply(call, number)

    async def reply(self, call: Call, number: int) -> Reply:
        """The answer to the POST with this number, which counts from 0; raises what a transport raises."""
        raise NotImplementedError
