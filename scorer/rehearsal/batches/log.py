"""Counters of simulated batches: what was made, shown, paid and fetched."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Literal

from scorer.rehearsal.request_log import Bill

LineFate = Literal["paid", "declined", "error", "status_0", "lost", "lost_paid", "canceled", "expired"]
"""What became of a line. Only `paid` and `lost_paid` are billed."""
BILLED = ("paid", "lost_paid")


@dataclass(slots=True)
class Payment:
    """One request of a batch: how often it was executed and billed, what that took, and how often it was fetched."""

    row: str
    paid: int = 0
    fetched: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


class BatchLog:
    """Everything that is paid, by `custom_id`; and what was paid twice: the same body of a request, in any batch."""

    def __init__(self) -> None:
        self.counts = Counter[str]()
        self.lines = Counter[LineFate]()
        self.payments: dict[str, Payment] = {}
        self.rows = Counter[str]()
        self.tokens = Counter[str]()
        self._bodies = Counter[bytes]()

    def note(self, what: str) -> None:
        self.counts[what] += 1

    def line(self, fate: LineFate, custom_id: str, row: str, body: bytes, bill: Bill) -> None:
        """One line reached its end."""
        self.lines[fate] += 1
        if fate not in BILLED:
            return
        payment = self.payments.get(custom_id)
        if payment is None:
            payment = self.payments[custom_id] = Payment(row)
        payment.paid += 1
        payment.prompt_tokens += bill.prompt_tokens
        payment.completion_tokens += bill.completion_tokens
        self.tokens["prompt_tokens"] += bill.prompt_tokens
        self.tokens["completion_tokens"] += bill.completion_tokens
        self.tokens["cached_tokens"] += bill.cached_tokens
        self.tokens["written_tokens"] += bill.written_tokens
        self.rows[row] += 1
        self._bodies[blake2b(body, digest_size=8).digest()] += 1

    def fetched(self, custom_ids: list[str]) -> None:
        for custom_id in custom_ids:
            self.payments[custom_id].fetched += 1

    def stats(self) -> dict[str, Any]:
        """The totals. `paid_again` are requests, equal to the last byte, that were paid a second time."""
        payments = self.payments.values()
        return {
            **dict(sorted(self.counts.items())),
            "lines": dict(sorted(self.lines.items())),
            "paid": sum(one.paid for one in payments),
            "paid_again": self._bodies.total() - len(self._bodies),
            "paid_not_fetched": sum(not one.fetched for one in payments),
            "rows_paid": len(self.rows),
            **{name: self.tokens[name] for name in Bill.__dataclass_fields__},
        }
