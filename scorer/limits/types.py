"""Types of the limits: Demand (what a request may take), Permit, Outcome, and the protocol Admission."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Callable, Sequence
from dataclasses import field
from typing import TYPE_CHECKING, Any, Protocol

from scorer.frozen import dataclass, replace
from scorer.limits.breaker import Breaker
from scorer.limits.cooldown import Cooldown
from scorer.types import RateHint, RowStart
from scorer.usage import Usage

if TYPE_CHECKING:
    from scorer.limits.bills import LearnedBilling


@dataclass(frozen=True, slots=True)
class Asked:
    """The bounds of a request by its own bytes: `prompt` prompt tokens, and `limit` tokens in each choice.

    Servers may bill more (bills.py): the worst case is computed again from these when more is known. `worst_pico`
    returns its price in pico-dollars; None where the price is unknown.
    """

    prompt: int
    limit: int
    choices: int = 1
    worst_pico: Callable[[int, int], int] | None = None


@dataclass(frozen=True, slots=True)
class Demand:
    """The tokens and the money that one request may take: estimates for rates, worst cases for caps.

    `tokens` is the estimated prompt length and `output_tokens` the most it may generate. Caps reserve `worst_tokens`,
    an upper bound of prompt and output, and `worst_pico`, its price in pico-dollars. `first` marks the first request of
    a row, which a drain turns away. The worst case is computed from `asked`; None: it never changes.
    """

    tokens: int
    output_tokens: int
    worst_tokens: int
    worst_pico: int = 0
    first: bool = False
    asked: Asked | None = None
    row: RowStart | None = None

    def as_now(self) -> Demand:
        """The demand as that of a row in flight, where another request of its row was sent meanwhile."""
        begun = self.first and self.row is not None and self.row.sent
        return replace(self, first=False) if begun else self


@dataclass(frozen=True, slots=True)
class Charge:
    """What a request took from the rates of its endpoint: `amounts` of tokens, by limit in the endpoint's order.

    `marks` and `request_mark` are all that each limit had given by then, this request included.
    """

    amounts: Sequence[float]
    marks: Sequence[float]
    request_mark: float


@dataclass(slots=True, eq=False)
class Permit:
    """Permission to send one request once. Each permit is settled exactly once. Times are on the loop's clock.

    `task` waits for the reply. A drain may cancel that wait, and sets `left`. None: no drain may.
    """

    demand: Demand
    admitted_at: float
    probe: bool = False
    """It finds out whether an outage has ended."""
    charge: Charge | None = None
    """What it took from rates a minute; None where none is declared."""
    entry: int = -1
    """The ledger's id of the reservation."""
    task: asyncio.Task[Any] | None = field(default=None, repr=False)
    left: bool = False

    def leave(self) -> None:
        """Cancels the wait for the reply."""
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

    `cost_pico` (10^-12 USD) is None where the usage or the price is unknown.

    `alive` is True where the endpoint answered (also with a row's fault), False where it failed, and None where neither
    is known (cancelled, throttled). `throttled`: the reply was a 429, with `retry_after_s` (None: not stated), and
    `quota` where it is for a day's quota or a longer one. `no_capacity`: the service tier had none left, which concerns
    this request alone. `away_s`: the endpoint takes no requests for so long, and another one is up. `why` is the
    message of a failure or a 429, for the user.
    """

    bill: Billing
    usage: Usage | None = None
    cost_pico: int | None = None
    hint: RateHint | None = None
    alive: bool | None = None
    throttled: bool = False
    retry_after_s: float | None = None
    quota: bool = False
    no_capacity: bool = False
    away_s: float | None = None
    why: str | None = None


class EndpointDown(Exception):
    """This endpoint is down and another one is up, or it left the fleet: the client sends the request elsewhere."""


class Admission(Protocol):
    """The limits of one endpoint: `LocalLimiter` in one process, `LeasedLimiter` in a worker."""

    breaker: Breaker
    cooldown: Cooldown
    bills: LearnedBilling

    @property
    def in_flight(self) -> int:
        """Requests that were sent and are not settled."""
        ...

    @property
    def up(self) -> bool:
        """False while requests wait for the end of an outage or a quota. True where a probe is due."""
        ...

    @property
    def waiting(self) -> int:
        """Requests in the queues."""
        ...

    def drain(self) -> None:
        """Begins no further row: turns away `first` requests and those that wait for an outage; finishes the rest."""
        ...

    def close(self) -> None:
        """Admits nothing more: waiting requests go on waiting."""
        ...

    def retire(self) -> None:
        """The endpoint leaves the fleet: raises EndpointDown in what waits and what comes; what is in flight ends."""
        ...

    async def emptied(self, most_s: float) -> None:
        """Returns once nothing is in flight, or after `most_s` seconds."""
        ...

    async def rest(self, seconds: float, leave: Callable[[], bool] | None = None) -> None:
        """Sleeps between two attempts of a row. Raises Interrupted where a drain does not wait for the end of it."""
        ...

    def note(self, sentence: str) -> None:
        """Adds a sentence for the user, once."""
        ...

    async def admit(self, demand: Demand, leave: Callable[[], bool] | None = None) -> Permit:
        """Waits until the request may be sent: first come, first served, and rows in flight before new rows.

        Raises EndpointDown where the endpoint is down and `leave()` says that another is up; TooLong for a request that
        is larger than the limit of a minute; BudgetSpent; and Interrupted while draining. Cancelling it leaves nothing
        reserved.
        """
        ...

    def settle(self, permit: Permit, outcome: Outcome) -> None:
        """Takes the outcome of the request, on every way out. Corrects what was reserved."""
        ...
