"""Times the requests of a client, for the histogram of `--metrics-port`."""

from __future__ import annotations

from collections.abc import Callable

from scorer.types import Client, Completion, Request


class TimedClient:
    """Calls `answered` with the seconds that each request took until its answer. Waiting for limits does not count."""

    def __init__(self, client: Client, answered: Callable[[float], None]) -> None:
        self._client = client
        self._answered = answered

    async def complete(self, request: Request) -> Completion:
        completion = await self._client.complete(request)
        self._answered(completion.spent.answered_s)
        return completion
