"""Types of the limits: Demand (what a request may take), Permit, Outcome, and the protocol Admission."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass as plain_dataclass
from dataclasses import field
from typing import TYPE_CHECKING, Any, Protocol

from scorer.frozen import dataclass
from scorer.limits.breaker import Breaker
from scorer.limits.cooldown import Cooldown
from scorer.types import (
    RateHint,
)
from scorer.usage import (
    Usage,
)

if TYPE_CHECKING:
    from scorer.limits.bills import LearnedBilling


@dataclass(frozen=True, slots=True)
class Asked:
    """The bounds that follow from a request: at most `prompt` prompt tokens, and `limit` tokens in each choice.

    Servers bill more (bills.py), so a worst case is made of it anew when more is known; `worst_pico` prices it, None
    where the price is unknown.
    """

    prompt: int
    limit: int
    choices: int = 1
    worst_pico: Callable[[int, int], int] | None = None


@dataclass(frozen=True, slots=True)
class Demand:
    """The tokens and the money that one request may take: estimates for rates, worst cases for caps.

    `tokens` is the estimated prompt length, `output_tokens` the most it may generate. `worst_tokens` bounds the whole
    request from above (prompt and output) and `worst_pico` its price: caps reserve these. `first` marks a
    request of a row that was asked nothing so far, which a drain turns away. `asked` is what the worst case follows
    from; None: it is as it stands.
    """

    tokens: int
    output_tokens: int
    worst_tokens: int
    worst_pico: int = 0
    first: bool = False
    asked: Asked | None = None


@dataclass(frozen=True, slots=True)
class Charge:
    """What a request took from the rates of its endpoint: `amounts` of tokens, by limit in the endpoint's order.

    `marks` and `request_mark` are all that each limit had given by then, this request included.
    """

    amounts: Sequence[float]
    marks: Sequence[float]
    request_mark: float


@plain_dataclass(slots=True, eq=False)
class Permit:
    """Permission to send one request once. Each permit is settled exactly once.

    `task` is who waits for the reply, where a drain may take it from that wait; `left` is then True.
    """

    demand: Demand
    admitted_at: float
    probe: bool = False
    """It finds out whether an outage has ended."""
    charge: Charge | None = None
    """What it took from rates a minute; None where none is declared."""
    entry: int = -1
    """The ledger's id of the reservation."""
    settled: bool = field(default=False, repr=False)
    task: asyncio.Task[Any] | None = field(default=None, repr=False)
    left: bool = False

    def leave(self) -> None:
        """Its reply is waited for no longer."""
        if self.task is not None and not self.left:
            self.left = True
            self.task.cancel()


class Billing(enum.Enum):
    """Whether a request was billed: no, as its usage says, or unknown."""

    NOTHING = "nothing"  # the server answered that it did not do the work, or was never reached
    KNOWN = "known"  # the usage says
    UNKNOWN = "unknown"  # it may have been billed: counts at its reservation


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one request ended: its bill, its rate headers, and whether the endpoint answered.

    `alive` is True where the endpoint answered sensibly (also with a row's fault), False where it failed, None where
    that says nothing (cancelled, throttled). `throttled` is a 429; `retry_after_s` its wish, `quota` that it is about
    a day's quota or a longer one. `why` is what a failure or a 429 says, for people.
    """

    bill: Billing
    usage: Usage | None = None
    cost_pico: int = 0
    hint: RateHint | None = None
    alive: bool | None = None
    throttled: bool = False
    retry_after_s: float | None = None
    quota: bool = False
    why: str | None = None


class EndpointDown(Exception):
    """This endpoint is down and another one is up: the client sends the request there."""


class Admission(Protocol):
    """The limits of one endpoint: `LocalLimiter` in one process, `LeasedLimiter` in a worker."""

    breaker: Breaker
    cooldown: Cooldown
    bills: LearnedBilling
    in_flight: int

    @property
    def up(self) -> bool:
        """False while requests wait for an outage or a quota to end; True where one probe is due."""
        ...

    @property
    def waiting(self) -> int:
        """Requests in the queues."""
        ...

    def drain(self) -> None:
        """From now on what is `first` is turned away, and what waits for an outage; the rest under way is finished."""
        ...

    def close(self) -> None:
        """From now on nothing is let through."""
        ...

    async def emptied(self, most_s: float) -> None:
        """Returns once nothing is in flight, or after so long."""
        ...

    async def rest(self, seconds: float, leave: Callable[[], bool] | None = None) -> None:
        """The pause of a row between two attempts. Raises Interrupted where a drain does not wait for its end."""
        ...

    def note(self, sentence: str) -> None:
        """Adds a sentence for the user, once."""
        ...

    async def admit(self, demand: Demand, leave: Callable[[], bool] | None = None) -> Permit:
        """Waits, first come first served and rows under way before new ones, until the request may be sent.

        `leave` tells, while the endpoint is down, whether another is not: EndpointDown is raised then. Raises TooLong
        for what no minute could hold, BudgetSpent, and Interrupted while draining.

        Cancelling it leaves nothing reserved.
        """
        ...

    def settle(self, permit: Permit, outcome: Outcome) -> None:
        """Corrects what was reserved; called on every way out."""
        ...
