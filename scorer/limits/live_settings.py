"""What may be changed while a run goes on: the pause, requests in flight, the caps. Knows no limiter."""

from __future__ import annotations

from collections.abc import Sequence

from scorer.frozen import dataclass


@dataclass(frozen=True, slots=True)
class LiveSettings:
    """The settings of a run as they are to be from now on. None: as the run file has them.

    `paused`: no further row is begun, and rows in flight are finished. `concurrency` is requests in flight over all
    endpoints; it replaces the adaptation of `concurrency = "auto"`. The caps may only be raised.
    """

    paused: bool = False
    concurrency: int | None = None
    max_tokens: int | None = None
    max_usd: float | None = None


def divided(total: int, weights: Sequence[int], least: int = 1) -> list[int]:
    """`total` in proportion to the weights, at least `least` each; the sum is `total` where it is enough for that.

    The largest remainders are rounded up (Hamilton's method).
    """
    free = max(0, total - least * len(weights))
    exact = [free * weight / max(1, sum(weights)) for weight in weights]
    parts = [int(share) for share in exact]
    by_rest = sorted(range(len(weights)), key=lambda place: parts[place] - exact[place])
    for place in by_rest[: free - sum(parts)]:
        parts[place] += 1
    return [least + part for part in parts]
