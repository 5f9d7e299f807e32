"""Counters of the simulated judge: every request ends in exactly one of them.

At every moment requests = ok + r429 + rejected + failed + lost + in_flight.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Literal

from scorer.frozen import dataclass

Fate = Literal["ok", "r429", "rejected", "failed", "lost"]
"""ok: a whole completion, paid. r429: asked to slow down. rejected: a 4xx for this request. failed: the server's fault,
nothing worked out. lost: worked out, then damaged or dropped on the way; whether a provider bills it is unknown."""


@dataclass(slots=True)
class RowCounts:
    """Requests received for one row, whole completions paid, those delivered to an open connection, answers lost."""

    recv: int = 0
    paid: int = 0
    delivered: int = 0
    lost: int = 0


@dataclass(frozen=True, slots=True)
class Bill:
    """What one answer used."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    written_tokens: int = 0


NOTHING = Bill()


class RequestLog:
    """Counters since `started`; requests in flight then are carried over, so that the sum above still holds."""

    def __init__(self, started: float, in_flight: int = 0) -> None:
        self.started = started
        self.now = started
        self.requests = in_flight
        self.in_flight = in_flight
        self.max_in_flight = in_flight
        self.fates: Counter[Fate] = Counter()
        self.faults: Counter[str] = Counter()
        self.delivered = 0
        self.charged_tokens = 0
        self.paid = Counter[str]()
        self.lost = Counter[str]()
        self.rows: dict[str, RowCounts] = {}
        self.rows_paid = 0
        self.rows_paid_twice = 0
        self._seconds: dict[int, list[int]] = {}

    def received(self, now: float) -> None:
        self.requests += 1
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        self._second(now)[0] += 1

    def asked(self, row: str) -> None:
        self._row(row).recv += 1

    def charged(self, tokens: int, now: float) -> None:
        self.charged_tokens += tokens
        self._second(now)[3] += tokens

    def settled(self, now: float, fate: Fate, fault: str, row: str, bill: Bill, *, delivered: bool) -> None:
        """Closes one request; called exactly once for each received."""
        self.in_flight -= 1
        self.fates[fate] += 1
        if fault:
            self.faults[fault] += 1
        second = self._second(now)
        if fate == "r429":
            second[2] += 1
        elif fate == "lost":
            self._row(row).lost += 1
            self.lost.update(_tokens(bill))
        elif fate == "ok":
            second[1] += 1
            self.paid.update(_tokens(bill))
            counts = self._row(row)
            counts.paid += 1
            self.rows_paid += counts.paid == 1
            self.rows_paid_twice += counts.paid == 2
            if delivered:
                counts.delivered += 1
                self.delivered += 1

    def stats(self) -> dict[str, Any]:
        """The totals. `faults` names what befell requests, limits included; `timeline` has a list for each second that
        saw something: [second since the start, requests, ok, 429, charged tokens], requests and charges in the second
        of their arrival, ok and 429 in that of the answer."""
        ok = self.fates["ok"]
        return {
            "requests": self.requests,
            **{fate: self.fates[fate] for fate in ("ok", "r429", "rejected", "failed", "lost")},
            "in_flight": self.in_flight,
            "max_in_flight": self.max_in_flight,
            "delivered": self.delivered,
            "faults": dict(self.faults),
            "charged_tokens": self.charged_tokens,
            **{name: self.paid[name] for name in Bill.__dataclass_fields__},
            **{f"lost_{name}": self.lost[name] for name in Bill.__dataclass_fields__},
            "rows": len(self.rows),
            "rows_paid": self.rows_paid,
            "rows_paid_twice": self.rows_paid_twice,
            "paid_again": ok - self.rows_paid,
            "seconds": round(self.now - self.started, 3),
            "timeline": [[second, *counts] for second, counts in sorted(self._seconds.items())],
        }

    def _row(self, row: str) -> RowCounts:
        counts = self.rows.get(row)
        if counts is None:
            counts = self.rows[row] = RowCounts()
        return counts

    def _second(self, now: float) -> list[int]:
        self.now = max(self.now, now)
        return self._seconds.setdefault(int(now - self.started), [0, 0, 0, 0])


def _tokens(bill: Bill) -> dict[str, int]:
    return {name: getattr(bill, name) for name in Bill.__dataclass_fields__}
