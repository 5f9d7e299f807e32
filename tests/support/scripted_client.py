"""A client over a scripted wire and a provider whose status codes say it all; its limits count settlements."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from support.clock import nothing, now
from support.transport import FakeTransport

from scorer.client.client import HttpClient
from scorer.client.endpoints import Endpoint
from scorer.client.model_terms import ModelTerms
from scorer.config.cost import Price
from scorer.errors import (
    Refused,
    ServerFault,
    SetupError,
    Throttled,
    Unreachable,
)
from scorer.files.local_files import LocalFiles
from scorer.limits import Budget, Demand, LocalLimiter, Outcome, Permit, RateLimits
from scorer.output.ledger import Ledger
from scorer.output.ledger_totals import Totals
from scorer.types import (
    Call,
    Completion,
    Message,
    RateHint,
    Reply,
    Request,
)
from scorer.usage import (
    Usage,
)

# A script says what becomes of one call: a status and the seconds it takes, or an error that the transport raises.
Act = int | Exception
USAGE = Usage(10, 3, 2)
PRICE = Price(1.0, 2.0)
GATEWAY = ServerFault("answered 504", billed=True, if_late=True)
SILENCE = Unreachable("broke off", billed=True, silent=True)
ENDED = Unreachable("it broke off", billed=True, silent=True, kept=True)
NEVER_SENT = Unreachable("cannot reach it")
HOUR_S = 3600.0


class Wire(FakeTransport):
    """A transport that acts as `script` says, call by call, and remembers when each call came and to whom."""

    def __init__(self, script: Callable[[int, Call], Act] | Sequence[Act], seconds: float = 1.0) -> None:
        super().__init__()
        self._script = script
        self.seconds = seconds
        self.slow: dict[bytes, float] = {}
        self.quick: set[bytes] = set()
        """Bodies that are answered in a quarter of the time."""
        self.calls: list[tuple[float, str]] = []
        self.fresh: list[bool] = []
        self.open = 0

    async def reply(self, call: Call, number: int) -> Reply:
        self.calls.append((now(), call.url))
        self.fresh.append(call.fresh)
        self.open += 1
        try:
            seconds = self.slow.get(call.body, self.seconds)
            await asyncio.sleep(seconds / 4 if call.body in self.quick else seconds)
        finally:
            self.open -= 1
        act = self._script(number, call) if callable(self._script) else self._script[min(number, len(self._script) - 1)]
        if isinstance(act, Exception):
            raise act
        return Reply(act, {}, call.body)


@dataclass(frozen=True, slots=True)
class Dialect:
    """A provider whose status codes say it all; a body `n turns` takes n calls."""

    url: str = "http://judge"
    usage: Usage | None = USAGE

    def converse(self, request: Request) -> Generator[Call, Reply, Completion]:
        text = request.messages[0].content
        for _ in range(2 if text == "two turns" else 1):
            reply = yield Call(self.url, text.encode())
            if reply.status == 299:
                raise ServerFault("200, and nothing in it", billed=True, garbled=True)
            if reply.status == 429:
                raise Throttled("slow down", retry_after_s=7.0)
            if reply.status >= 500:
                raise ServerFault("it broke", billed=reply.status == 502)
            if reply.status == 401:
                raise SetupError("a wrong key")
            if reply.status == 400:
                raise Refused("filtered", usage=self.usage)
            if reply.status == 422:
                raise Refused("filtered, and no word of a bill")
            if reply.status == 418:
                raise ZeroDivisionError
        return Completion("4", usage=self.usage)

    def rate(self, headers: Mapping[str, str]) -> RateHint:
        return RateHint()


@dataclass
class Strict(LocalLimiter):
    """Limits that remember what each permit was settled with, and refuse a second settlement."""

    settled: list[Outcome] = field(default_factory=list)
    given: int = 0

    def __init__(self, rates: RateLimits = RateLimits(concurrency=1000), **caps: Any) -> None:  # noqa: B008 - it is frozen
        self.settled, self.given = [], 0
        ledger = Ledger(LocalFiles(), "never-written", "me", offload=nothing, strict=False)
        super().__init__(rates, Budget(ledger, **caps))

    async def admit(self, need: Demand, leave: Callable[[], bool] | None = None) -> Permit:
        permit = await super().admit(need, leave)
        self.given += 1
        return permit

    def settle(self, permit: Permit, outcome: Outcome) -> None:
        super().settle(permit, outcome)
        self.settled.append(outcome)

    @property
    def totals(self) -> Totals:
        ledger = self._caps.ledger
        assert isinstance(ledger, Ledger)
        assert (ledger.open_tokens, ledger.open_pico, self.in_flight) == (0, 0, 0)
        assert len(self.settled) == self.given
        return ledger.totals


def client(wire: Wire, *limits: Strict, retries: int = 3, tariff: Price | None = PRICE, **dialect: Any) -> HttpClient:
    endpoints = [Endpoint(Dialect(url=f"http://judge-{n}", **dialect), some) for n, some in enumerate(limits)]
    return HttpClient(
        endpoints,
        wire,
        ModelTerms(tariff, 20),
        retries=retries,
        clock=asyncio.get_running_loop().time,
    )


def asks(text: str = "?", **given: Any) -> Request:
    return Request(messages=(Message("user", text),), tokens=10, **given)


def needed(judge: HttpClient, request: Request, body: bytes = b"") -> Demand:
    """What a request is reserved at; its body as the dialect makes it, unless one is given."""
    texts = [message.content for message in request.messages]
    sent = body or "".join(texts).encode("utf-8", "replace")
    return judge.endpoints[0].limits.bills.worst(judge._attempts._reservation.demand(request, sent))


def answering_others(
    wire_for: Callable[[Call], Act],
) -> tuple[Wire, Callable[[HttpClient], Coroutine[Any, Any, None]]]:
    """A wire on which `good` rows are answered within an eighth of a second, for as long as anybody asks."""

    async def others(judge: HttpClient) -> None:
        while True:
            await judge.complete(asks("good", index=1))

    wire = Wire(lambda _, call: 200 if call.body == b"good" else wire_for(call), seconds=0.5)
    wire.quick.add(b"good")
    return wire, others
