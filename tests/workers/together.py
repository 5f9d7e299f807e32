"""Several workers' limits against one real broker in virtual time; the wire is a call that takes a moment."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from support.clock import inline, now

from scorer.files.local_files import LocalFiles
from scorer.limits import LocalLimiter, RateLimits
from scorer.limits.leased_budget import LeasedBudget
from scorer.output.ledger import Ledger
from scorer.output.ledger_totals import Totals
from scorer.workers.broker import Broker
from scorer.workers.broker_client import BrokerClient
from scorer.workers.messages import Answer, Report


@dataclass(slots=True)
class Mate:
    """One worker, as far as limits go. `cut` severs its wire: it dies without a word."""

    number: int
    client: BrokerClient
    ledger: Ledger
    limits: list[LocalLimiter]
    cut: bool = False
    talks: list[Report] = field(default_factory=list)


class Never(LocalFiles):
    """A disk on which nothing is written: the ledger are those in memory."""

    def append(self, path: str, data: bytes) -> None:
        pass


def broker_of(
    *rates: RateLimits, workers: int = 2, max_tokens: int | None = None, max_usd: float | None = None
) -> Broker:
    clock = asyncio.get_running_loop().time
    return Broker(rates, workers=workers, before=Totals(), max_tokens=max_tokens, max_usd=max_usd, clock=clock)


@asynccontextmanager
async def mate(
    broker: Broker,
    number: int,
    *rates: RateLimits,
    wire_s: float = 0.001,
    tokens_capped: bool = False,
    money_capped: bool = False,
    strict: bool = False,
    workers: int = 1,
    fresh: bool = False,
) -> AsyncIterator[Mate]:
    """A worker's client that talks while the block lasts. With `fresh` it sends nothing without fresh answers."""

    async def exchange(report: Report) -> Answer:
        await asyncio.sleep(wire_s)
        if found.cut:
            await asyncio.Event().wait()
        found.talks.append(report)
        answer = broker.exchange(number, report)
        await asyncio.sleep(wire_s)
        return answer

    client = BrokerClient(exchange, lease_s=broker.lease_s, on_order=lambda _: None, workers=workers)
    ledger = Ledger(Never(), "never-written", str(number), offload=inline, strict=strict)
    client.ledger = ledger
    owned = client.fresh if fresh else lambda: True
    client.allowance = LeasedBudget(
        ledger, tokens_capped=tokens_capped, money_capped=money_capped, ask=client.wake, owned=owned
    )
    found = Mate(
        number, client, ledger, [client.leased(rate, client.allowance, place) for place, rate in enumerate(rates)]
    )
    talking = asyncio.create_task(client.serve())
    try:
        yield found
    finally:
        talking.cancel()
        await asyncio.wait([talking])
        if not talking.cancelled():
            talking.result()


def holds(sent: list[tuple[float, float]], rate: float, burst: float) -> None:
    """No window, however long, holds more than its time is worth and one burst. `sent` are (when, how much)."""
    for first in range(len(sent)):
        total = 0.0
        for at, amount in sent[first:]:
            total += amount
            assert total <= rate * (at - sent[first][0]) + burst + 1e-3, (first, at, total)


__all__ = ["Mate", "broker_of", "holds", "mate", "now"]
