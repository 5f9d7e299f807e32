"""Promise: a free place alone sends nothing. What holds all requests holds them with a rate and under a cap, too."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from support.clock import inline, now, run

from scorer.errors import Interrupted, OutputError
from scorer.files.local_files import LocalFiles
from scorer.limits import Billing, Budget, Demand, LocalLimiter, Outcome, RateLimits
from scorer.limits.types import EndpointDown
from scorer.output.ledger import Ledger
from scorer.usage import Usage

KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "with a rate": {"tokens_per_minute": 10**9, "requests_per_minute": 10**6},
    "under a cap": {"max_tokens": 10**6},
    "with both": {"tokens_per_minute": 10**9, "max_tokens": 10**6},
}
ROW = Demand(1, 1, worst_tokens=2, first=True)
ANSWERED = Outcome(Billing.KNOWN, usage=Usage(1, 1), alive=True)


class Unwritten(LocalFiles):
    """A disk that writes nothing: the ledger is the one in memory."""

    def append(self, path: str, data: bytes) -> None:
        pass


class Folder:
    """The run's folder and the store of its results."""

    def __init__(self) -> None:
        self.full = False
        self.ours: bool | OutputError = True

    def on_room(self, wake: Callable[[], None]) -> None:
        pass

    def owned(self) -> bool:
        if isinstance(self.ours, OutputError):
            raise self.ours
        return self.ours


def throttled(limits: LocalLimiter, _: Folder) -> None:
    limits.cooldown.pause(now() + 60.0)


HOLDS: dict[str, Callable[[LocalLimiter, Folder], None]] = {
    "paused": lambda limits, _: limits.pause(paused=True),
    "closed": lambda limits, _: limits.close(),
    "storage": lambda _, folder: setattr(folder, "full", True),
    "lock": lambda _, folder: setattr(folder, "ours", False),
    "retry_after": throttled,
}
RAISES: dict[str, tuple[Callable[[LocalLimiter, Folder], None], type[Exception]]] = {
    "draining": (lambda limits, _: limits.drain(), Interrupted),
    "retired": (lambda limits, _: limits.retire(), EndpointDown),
    "lost lock": (lambda _, folder: setattr(folder, "ours", OutputError("of another process")), OutputError),
}


async def sent(kind: str, state: Callable[[LocalLimiter, Folder], None], *, waits: bool) -> asyncio.Task[Any]:
    """A request of a new row a second after `state`. It asks after it, or waits for the one place until then."""
    ledger, folder, limits = (
        Ledger(Unwritten(), "nowhere", "me", offload=inline, strict=False),
        Folder(),
        dict(KINDS[kind]),
    )
    caps = Budget(ledger, max_tokens=limits.pop("max_tokens", None), room=folder, owned=folder.owned)
    limiter = LocalLimiter(RateLimits(concurrency=1, **limits), caps)
    serving = asyncio.create_task(ledger.serve())
    before = await limiter.admit(ROW)
    if waits:
        request = asyncio.create_task(limiter.admit(ROW))
        await asyncio.sleep(0)
        state(limiter, folder)
        limiter.settle(before, ANSWERED)
    else:
        limiter.settle(before, ANSWERED)
        state(limiter, folder)
        request = asyncio.create_task(limiter.admit(ROW))
    await asyncio.sleep(1.0)
    serving.cancel()
    if not request.done():
        request.cancel()
    await asyncio.gather(request, serving, return_exceptions=True)
    return request


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_free_place_is_taken(kind: str, waits: bool) -> None:
    async def scenario() -> None:
        assert (await sent(kind, lambda *_: None, waits=waits)).result().demand.worst_tokens == 2

    run(scenario())


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("state", HOLDS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_request_waits_beside_a_free_place(kind: str, state: str, waits: bool) -> None:
    async def scenario() -> None:
        assert (await sent(kind, HOLDS[state], waits=waits)).cancelled()

    run(scenario())


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("state", RAISES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_request_is_turned_away_beside_a_free_place(kind: str, state: str, waits: bool) -> None:
    async def scenario() -> None:
        change, error = RAISES[state]
        assert type((await sent(kind, change, waits=waits)).exception()) is error

    run(scenario())
