"""How busy the limits of a run are at one moment, for whoever shows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from scorer.limits.local import Local


@dataclass(frozen=True, slots=True)
class Load:
    """All endpoints as one. `places` is how many requests may be in flight, 0 where nobody knows.

    `held_back_by` gives each limit's share of the last minute, the largest of any line; `outage_s` is None while any
    endpoint answers.
    """

    tokens_per_minute: float | None = None
    in_flight: int = 0
    places: int = 0
    held_back_by: Mapping[str, float] = field(default_factory=dict)
    outage_s: float | None = None


def load_of(limits: Sequence[Local], now: float) -> Load:
    """The load of the endpoints in this process; `now` is on the loop's clock."""
    opened = [one.breaker.open_since for one in limits]
    down = [since for since in opened if since is not None]
    return Load(
        tokens_per_minute=sum(one.tokens_per_minute or 0 for one in limits) or None,
        in_flight=sum(one.in_flight for one in limits),
        places=sum(one.concurrency for one in limits),
        held_back_by=largest([one.held.shares() for one in limits]),
        outage_s=now - min(down) if down and len(down) == len(opened) else None,
    )


def largest(shares: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The largest share by name."""
    found: dict[str, float] = {}
    for one in shares:
        for name, share in one.items():
            found[name] = max(found.get(name, 0.0), share)
    return found
