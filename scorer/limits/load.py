"""A snapshot of a run's limiters for progress displays: in flight, waiting time by limit, outage."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field

from scorer.frozen import dataclass
from scorer.limits.limiter import LocalLimiter


@dataclass(frozen=True, slots=True)
class LimiterStats:
    """Limiter statistics over all endpoints.

    `places` is how many requests may be in flight, 0 where that is unknown. `held_back_by` is the share of the last
    minute in which the head of a queue waited for each limit, the largest of all queues. `outage_s` is how long no
    endpoint has answered, None while one does. `met`: a request was answered once. `oldest_s` is the age of the oldest
    request in flight, None without one. `why` is the last failure's message, None while an endpoint answers. `notes`
    are sentences for the user, each once. `latency_s` has quantiles of the latest replies' seconds, empty before the
    first one. `paused`: no further row is begun.
    """

    tokens_per_minute: float | None = None
    in_flight: int = 0
    places: int = 0
    held_back_by: Mapping[str, float] = field(default_factory=dict)
    outage_s: float | None = None
    met: bool = False
    oldest_s: float | None = None
    why: str | None = None
    notes: tuple[str, ...] = ()
    latency_s: Mapping[str, float] = field(default_factory=dict)
    paused: bool = False


def limiter_stats(limits: Sequence[LocalLimiter], now: float) -> LimiterStats:
    """The statistics of the endpoints in this process. `now` is on the loop's clock."""
    opened = [one.breaker.open_since for one in limits]
    down = [since for since in opened if since is not None]
    of_each = max(1, MOST_LATENCIES // max(1, len(limits)))
    return LimiterStats(
        tokens_per_minute=sum(one.tokens_per_minute or 0 for one in limits) or None,
        in_flight=sum(one.in_flight for one in limits),
        places=sum(one.concurrency for one in limits),
        held_back_by=largest([one.waits.shares() for one in limits]),
        outage_s=now - min(down) if down and len(down) == len(opened) else None,
        met=any(one.health.met for one in limits),
        oldest_s=max((age for one in limits if (age := one.oldest_s) is not None), default=None),
        why=why_of([(one.health.why, one.in_flight) for one in limits]),
        notes=merged([one.notes for one in limits]),
        latency_s=quantiles([seconds for one in limits for seconds in list(one.bills.latencies)[-of_each:]]),
        paused=any(one.paused for one in limits),
    )


MOST_LATENCIES = 1024
"""Quantiles are of about so many replies at most, the latest of each endpoint: they are sorted every second."""
QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}


def quantiles(values: Iterable[float]) -> dict[str, float]:
    """The quantiles of `QUANTILES` by the nearest rank, to milliseconds. Empty where there is no value."""
    ordered = sorted(values)
    last = len(ordered) - 1
    return {name: round(ordered[round(share * last)], 3) for name, share in QUANTILES.items()} if ordered else {}


def why_of(endpoints: Sequence[tuple[str | None, int]]) -> str | None:
    """The failure message of one endpoint where all endpoints in use fail; else None.

    Each endpoint is given by the message of its last failure (None: it answered since) and its requests in flight.
    """
    asking = [why for why, in_flight in endpoints if why is not None or in_flight]
    return next((why for why in asking if why is not None), None) if all(asking) else None


def merged(notes: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """The sentences of all sequences in order, each once."""
    return tuple(dict.fromkeys(note for some in notes for note in some))


def largest(shares: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The largest share of each name."""
    found: dict[str, float] = {}
    for one in shares:
        for name, share in one.items():
            found[name] = max(found.get(name, 0.0), share)
    return found
