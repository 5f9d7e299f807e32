"""The budget of a run, shared by its endpoints: caps on tokens and money, and space for unwritten results.

The worst case of a request is reserved, then settled to its bill. Knows the ledger only as `SpendLedger` and the store
only as `Room`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from scorer.errors import BudgetSpent, SpecError
from scorer.limits.types import Billing, Demand, Outcome
from scorer.usage import Usage

PICO = 10**12
_KNOWN = Billing.KNOWN  # a member of an enum takes .1 us to look up


class Sums(Protocol):
    """Tokens and pico-dollars that count against the caps."""

    @property
    def tokens(self) -> int: ...
    @property
    def money_pico(self) -> int: ...


class Account(Protocol):
    """Tokens and money spent, possibly spent, and reserved for requests in flight."""

    @property
    def totals(self) -> Sums: ...
    @property
    def open_tokens(self) -> int: ...
    @property
    def open_pico(self) -> int: ...


class SpendLedger(Account, Protocol):
    """What the budget needs of `scorer.output.ledger.Ledger`: reserve, then settle, cancel or mark unknown."""

    strict: bool
    """An intent must be durable before anybody acts on it: await `written`."""

    @property
    def room(self) -> int:
        """How many requests may be sent before more intents are durable. Some where it is strict."""
        ...

    def on_written(self, wake: Callable[[], None]) -> None:
        """`wake()` is called when there is room again."""
        ...

    def reserve(self, tokens: int, pico: int) -> int: ...
    def settle(self, number: int, usage: Usage, pico: int) -> None: ...
    def cancel(self, number: int) -> None: ...
    def unknown(self, number: int) -> None: ...
    async def written(self) -> None: ...


class Room(Protocol):
    """What the budget needs of `scorer.output.store.Store`: whether too many results wait unwritten."""

    @property
    def full(self) -> bool: ...
    def on_room(self, wake: Callable[[], None]) -> None:
        """`wake()` is called when it may no longer be full."""
        ...


class BudgetCap:
    """Caps on the tokens and the money of one account. None: no cap."""

    def __init__(self, account: Account, *, max_tokens: int | None, max_usd: float | None) -> None:
        self._account = account
        self.max_tokens = max_tokens
        self.max_pico = None if max_usd is None else round(max_usd * PICO)
        self.capped = max_tokens is not None or max_usd is not None
        """There is a cap."""
        self._used_up = False
        """BudgetSpent was raised, which ends the run."""

    def raise_to(self, *, max_tokens: int | None, max_usd: float | None) -> None:
        """Raises the caps. A cap that there is not, a lower value and None change nothing.

        Raises SpecError for a higher cap after BudgetSpent.
        """
        if self.max_tokens is not None and max_tokens is not None and max_tokens > self.max_tokens:
            self._check_goes_on(f"limits.max_tokens={max_tokens}")
            self.max_tokens = max_tokens
        if self.max_pico is not None and max_usd is not None and round(max_usd * PICO) > self.max_pico:
            self._check_goes_on(f"limits.max_usd={max_usd:.15g}")
            self.max_pico = round(max_usd * PICO)

    def _check_goes_on(self, wished: str) -> None:
        if self._used_up:
            raise SpecError(
                [f"A cap was reached, and the run ends there. To go on, resume it once it has ended: --set {wished}."]
            )

    @property
    def committed(self) -> tuple[int, int]:
        """Tokens and pico-dollars that are spent, possibly spent, or reserved."""
        account = self._account
        totals = account.totals
        return totals.tokens + account.open_tokens, totals.money_pico + account.open_pico

    def over(self, demand: Demand) -> tuple[bool, bool]:
        """Whether the worst case is beyond the cap on tokens, and whether it is beyond the cap on money."""
        tokens, pico = self.committed
        return (
            self.max_tokens is not None and tokens + demand.worst_tokens > self.max_tokens,
            self.max_pico is not None and pico + demand.worst_pico > self.max_pico,
        )

    def fits(self, demand: Demand) -> bool:
        """True where the worst case fits. False where it may fit once requests in flight are settled.

        Raises BudgetSpent where it does not fit and nothing is in flight.
        """
        if not self.capped:
            return True
        over_tokens, over_money = self.over(demand)
        if not (over_tokens or over_money):
            return True
        if self._account.open_tokens or self._account.open_pico:
            return False
        self._used_up = True
        totals = self._account.totals
        if over_tokens:
            raise BudgetSpent(
                f"limits.max_tokens = {self.max_tokens} is used up: {totals.tokens} tokens are spent or may be, and "
                f"the next request may take {demand.worst_tokens}. What is scored is kept; raise it (--set "
                "limits.max_tokens=...) and the same command resumes."
            )
        assert self.max_pico is not None
        raise BudgetSpent(
            f"limits.max_usd = {self.max_pico / PICO:g} is used up: {totals.money_pico / PICO:.6f} USD are spent or "
            f"may be, and the next request may cost {demand.worst_pico / PICO:.6f}. What is scored is kept; raise it "
            "(--set limits.max_usd=...) and the same command resumes."
        )


class Budget(BudgetCap):
    """The caps of a run over its ledger, and the space for unwritten results (`room` None: unbounded).

    `owned` is False while the run's folder may belong to another process, and raises once it does.
    """

    def __init__(
        self,
        ledger: SpendLedger,
        *,
        max_tokens: int | None = None,
        max_usd: float | None = None,
        room: Room | None = None,
        owned: Callable[[], bool] = lambda: True,
    ) -> None:
        super().__init__(ledger, max_tokens=max_tokens, max_usd=max_usd)
        self.ledger = ledger
        self.owned = owned
        self._room = room
        self._waiting: list[Callable[[], None]] = []
        if room is not None:
            room.on_room(self._wake)
        ledger.on_written(self._wake)

    def raise_to(self, *, max_tokens: int | None, max_usd: float | None) -> None:
        super().raise_to(max_tokens=max_tokens, max_usd=max_usd)
        self._wake()

    @property
    def full(self) -> bool:
        """Too many results wait to be written: with one more request, a kill could lose more than is promised."""
        return self._room is not None and self._room.full

    def settle(self, entry: int, outcome: Outcome) -> None:
        """Writes the outcome to the ledger and wakes the queues that wait for budget."""
        if outcome.bill is _KNOWN and outcome.usage is not None:
            self.ledger.settle(entry, outcome.usage, outcome.cost_pico or 0)
        elif outcome.bill is Billing.NOTHING:
            self.ledger.cancel(entry)
        else:
            self.ledger.unknown(entry)
        for wake in self._waiting:
            wake()

    def on_room(self, wake: Callable[[], None]) -> None:
        """`wake()` is called when it may no longer be `full`."""
        if self._room is not None:
            self._room.on_room(wake)

    def on_settle(self, wake: Callable[[], None]) -> None:
        """`wake()` is called after a settlement, and when the store or the ledger has room again."""
        self._waiting.append(wake)

    def _wake(self) -> None:
        for wake in self._waiting:
            wake()
