"""The budget of one worker: a part of the run's budget, which the broker divides."""

from __future__ import annotations

from collections.abc import Callable

from scorer.errors import BudgetSpent
from scorer.limits.budget import Budget, Room, SpendLedger
from scorer.limits.types import Demand


class LeasedBudget(Budget):
    """Commits what the broker allowed. It calls `ask` where that is too little for a request.

    `refused` is the broker's message that nothing is in flight anywhere and the next request does not fit.
    """

    def __init__(
        self,
        ledger: SpendLedger,
        *,
        tokens_capped: bool,
        money_capped: bool,
        ask: Callable[[], None],
        room: Room | None = None,
        owned: Callable[[], bool] = lambda: True,
    ) -> None:
        max_tokens, max_usd = 0 if tokens_capped else None, 0.0 if money_capped else None
        super().__init__(ledger, max_tokens=max_tokens, max_usd=max_usd, room=room, owned=owned)
        self._ask = ask
        self.lacking: Demand | None = None
        """The first request that did not fit since this was last None."""
        self.refused: str | None = None

    def fits(self, demand: Demand) -> bool:
        if self.refused is not None:
            raise BudgetSpent(self.refused)
        if not any(self.over(demand)):
            return True
        if self.lacking is None:
            self.lacking = demand
            self._ask()
        return False

    def keep(self, *, recalled: bool) -> tuple[int, int]:
        """Sets and returns the allowance, tokens and pico-dollars. `recalled`: no more than is committed."""
        tokens, pico = self.committed
        if self.max_tokens is not None:
            self.max_tokens = tokens if recalled else max(self.max_tokens, tokens)
        if self.max_pico is not None:
            self.max_pico = pico if recalled else max(self.max_pico, pico)
        return self.max_tokens or 0, self.max_pico or 0

    def allow(self, tokens: int, pico: int, refused: str | None) -> None:
        """Allows more tokens and pico-dollars. With `refused`, nothing is ever committed again."""
        if self.max_tokens is not None:
            self.max_tokens += tokens
        if self.max_pico is not None:
            self.max_pico += pico
        self.refused = refused
        if tokens or pico or refused is not None:
            self.lacking = None
            self._wake()
