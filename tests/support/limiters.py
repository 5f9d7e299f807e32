"""A limiter in memory, demands on it, and how its requests end."""

from __future__ import annotations

from typing import Any

from support.clock import nothing, now

from scorer.files.local_files import LocalFiles
from scorer.limits import Billing, Budget, Demand, LocalLimiter, Outcome, RateLimits
from scorer.output.ledger import Ledger
from scorer.types import Gauge, RateHint
from scorer.usage import Usage

DONE = Outcome(Billing.NOTHING, alive=True)
ANSWERED = Outcome(Billing.KNOWN, usage=Usage(0, 0), alive=True)
FAILED = Outcome(Billing.NOTHING, alive=False)


def made(rates: RateLimits = RateLimits(), **caps: Any) -> LocalLimiter:  # noqa: B008 - it is frozen
    return LocalLimiter(
        rates, Budget(Ledger(LocalFiles(), "never-written", "me", offload=nothing, strict=False), **caps)
    )


def need(tokens: int = 0, output: int = 0, *, worst: int | None = None, first: bool = False) -> Demand:
    return Demand(tokens, output, worst_tokens=tokens + output if worst is None else worst, first=first)


def throttled(retry_after_s: float | None = None) -> Outcome:
    return Outcome(Billing.NOTHING, throttled=True, retry_after_s=retry_after_s)


def outcome_with(**gauges: Gauge) -> Outcome:
    return Outcome(Billing.NOTHING, hint=RateHint(gauges), alive=True)


def idle(limits: LocalLimiter) -> bool:
    """Nothing is reserved, in flight or waiting any more."""
    ledger = limits._caps.ledger
    return (limits.in_flight, limits.waiting, ledger.open_tokens, ledger.open_pico) == (0, 0, 0, 0)


async def next_admitted(limits: LocalLimiter, wanted: Demand | None = None, outcome: Outcome = DONE) -> float:
    """When the next request goes; it is settled at once."""
    limits.settle(await limits.admit(wanted or need()), outcome)
    return now()
