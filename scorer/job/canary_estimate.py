"""How soon canaries find a drift: what `scorer plan` says of `[canary]` before anything is sent."""

from __future__ import annotations

import math

from scorer.config.spec import Canary
from scorer.frozen import dataclass

USUAL_BAND = 0.15
"""The band that is assumed where it is to be learned."""
RISE = 0.25
"""The rise of the mean loss whose delay is estimated, such as agreement that falls from .90 to .65."""


@dataclass(frozen=True, slots=True)
class CanaryEstimate:
    """The canaries of a run, and the rows from a drift in its middle to the alarm, in simulated runs.

    A loss is 0 or 1, with a mean of `before` and then of `after`. `rows_95` is None where more than 5 % of the runs end
    before the alarm, `rows_median` where half of them do. With `share_that_halves` for `canary.share` the delay is
    half as long.
    """

    n: int
    band: float
    before: float
    after: float
    rows_median: int | None
    rows_95: int | None
    share_that_halves: float

    def sentence(self, share: float) -> str:
        """What to tell of it."""
        sentence = f"[canary]: {self.n:,} known rows are asked beside the others, and are not in these figures. "
        rise = f"A rise of the mean loss from {self.before:.2f} to {self.after:.2f} half-way"
        if self.rows_median is None:
            return f"{sentence}{rise} is mostly not found before the end. Give a larger canary.share than {share:g}."
        late = "in more than 5 % of runs not at all" if self.rows_95 is None else f"95 %: {self.rows_95:,}"
        return (
            f"{sentence}{rise} is found after {self.rows_median:,} rows (median; {late}); canary.share = "
            f"{self.share_that_halves:.2g} halves that."
        )


def canary_estimate(canary: Canary, rows: int) -> CanaryEstimate:
    """The canaries of a run of so many rows."""
    from scorer.analysis.sequential.drift import delays

    n = max(1, math.ceil(canary.share * rows))
    band = canary.band or USUAL_BAND
    before = band * 2 / 3
    after = min(1.0, before + RISE)
    found = delays(band, min(n, 5000), before, after, runs=200)
    middle, late = (found[min(len(found) - 1, int(q * len(found)))] if len(found) else math.inf for q in (0.5, 0.95))
    return CanaryEstimate(
        n, band, before, after, _rows(middle, canary.share), _rows(late, canary.share), _halving(canary.share, rows)
    )


def _rows(canaries: float, share: float) -> int | None:
    return None if math.isinf(canaries) else round(canaries / share)


def _halving(share: float, rows: int) -> float:
    """The share at which ln(100 n) / share, which the delay is proportional to, is half of what it is."""
    wanted = math.log(100 * max(1.0, share * rows)) / share / 2
    found = 2 * share
    for _ in range(30):
        found = math.log(100 * max(1.0, found * rows)) / wanted
    return min(0.99, found)
