"""What all endpoints of a run share: caps on its tokens and money, and the room that its output has for results.

The worst case is reserved, then settled to what it was. Knows the ledger only as `Books`, the store only as `Room`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from scorer.errors import BudgetSpent
from scorer.limits.types import Billing, Demand, Outcome
from scorer.usage import (
    Usage,
)

PICO = 10**12


class Sums(Protocol):
    @property
    def tokens(self) -> int: ...
    @property
    def money_pico(self) -> int: ...


class Account(Protocol):
    """What is spent or may be, and what is in flight at its reservation."""

    @property
    def totals(self) -> Sums: ...
    @property
    def open_tokens(self) -> int: ...
    @property
    def open_pico(self) -> int: ...


class Books(Account, Protocol):
    """What `scorer.output.ledger.Ledger` offers."""

    strict: bool
    """An intent must be durable before anybody acts on it."""

    def reserve(self, tokens: int, pico: int) -> int: ...
    def settle(self, number: int, usage: Usage, pico: int) -> None: ...
    def cancel(self, number: int) -> None: ...
    def unknown(self, number: int) -> None: ...
    async def written(self) -> None: ...


class Room(Protocol):
    """What `scorer.output.store.Store` offers: results wait in memory, unwritten, and a kill costs them."""

    @property
    def full(self) -> bool: ...
    def on_room(self, wake: Callable[[], None]) -> None:
        """`wake()` is called when it may no longer be full."""
        ...


class BudgetCap:
    """`max_tokens` and `max_usd` over one account; None for no cap."""

    def __init__(self, account: Account, *, max_tokens: int | None, max_usd: float | None) -> None:
        self._account = account
        self.max_tokens = max_tokens
        self.max_pico = None if max_usd is None else round(max_usd * PICO)
        self.capped = max_tokens is not None or max_usd is not None
        """Tokens or money may run out."""

    @property
    def committed(self) -> tuple[int, int]:
        """Tokens and pico-dollars that are spent, may be, or are in flight."""
        account = self._account
        totals = account.totals
        return totals.tokens + account.open_tokens, totals.money_pico + account.open_pico

    def over(self, need: Demand) -> tuple[bool, bool]:
        """Whether the worst case would be over the cap on tokens, and over that on money."""
        tokens, pico = self.committed
        return (
            self.max_tokens is not None and tokens + need.worst_tokens > self.max_tokens,
            self.max_pico is not None and pico + need.worst_pico > self.max_pico,
        )

    def fits(self, need: Demand) -> bool:
        """True where the worst case fits; False where it may fit once others have settled.

        Raises BudgetSpent where nothing is in flight that could still come out cheaper.
        """
        if not self.capped:
            return True
        over_tokens, over_money = self.over(need)
        if not (over_tokens or over_money):
            return True
        if self._account.open_tokens or self._account.open_pico:
            return False
        totals = self._account.totals
        if over_tokens:
            raise BudgetSpent(
                f"limits.max_tokens = {self.max_tokens} is used up: {totals.tokens} tokens are spent or may be, and "
                f"the next request may take {need.worst_tokens}. What is scored is kept; raise it (--set "
                "limits.max_tokens=...) and the same command goes on."
            )
        assert self.max_pico is not None
        raise BudgetSpent(
            f"limits.max_usd = {self.max_pico / PICO:g} is used up: {totals.money_pico / PICO:.6f} USD are spent or "
            f"may be, and the next request may cost {need.worst_pico / PICO:.6f}. What is scored is kept; raise it "
            "(--set limits.max_usd=...) and the same command goes on."
        )


class Budget(BudgetCap):
    """The ceiling of a run over its ledger, and its room. Without `room` there always is some.

    `owned` is False while the run's folder may be another process's, and raises once it is.
    """

    def __init__(
        self,
        books: Books,
        *,
        max_tokens: int | None = None,
        max_usd: float | None = None,
        room: Room | None = None,
        owned: Callable[[], bool] = lambda: True,
    ) -> None:
        super().__init__(books, max_tokens=max_tokens, max_usd=max_usd)
        self.books = books
        self.owned = owned
        self._room = room
        self._waiting: list[Callable[[], None]] = []
        if room is not None:
            room.on_room(self._wake)

    @property
    def full(self) -> bool:
        """As many results as may be lost wait to be written: one more request could be one too many paid twice."""
        return self._room is not None and self._room.full

    def reserve(self, need: Demand) -> int:
        """Enters the worst case; `fits` said yes just before."""
        return self.books.reserve(need.worst_tokens, need.worst_pico)

    def settle(self, entry: int, outcome: Outcome) -> None:
        """Enters what became of it and wakes who waits for room."""
        if outcome.bill is Billing.KNOWN and outcome.usage is not None:
            self.books.settle(entry, outcome.usage, outcome.cost_pico)
        elif outcome.bill is Billing.NOTHING:
            self.books.cancel(entry)
        else:
            self.books.unknown(entry)
        self._wake()

    def on_settle(self, wake: Callable[[], None]) -> None:
        """`wake()` is called after each settlement, and when there is room again, for the life of the run."""
        self._waiting.append(wake)

    def _wake(self) -> None:
        for wake in self._waiting:
            wake()
