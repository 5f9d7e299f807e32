"""What held requests back over the time of a run: at most `MOST` samples, however long it lasts. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

MOST = 120
"""Samples that are kept; once there are more, each two become one."""
FIRST_EVERY_S = 1.0
LEAST_SHARE = 0.01

Sample = tuple[float, dict[str, float]]
"""Seconds since 1970, and the share of the last minute for which each limit held requests back."""


class LimitHistory:
    """Collects samples. `earlier` are those of the run's earlier starts."""

    def __init__(self, earlier: Sequence[Sample] = ()) -> None:
        self.samples: list[Sample] = list(earlier)[-MOST:]
        gaps = sorted(later - sooner for (sooner, _), (later, _) in pairwise(self.samples))
        self._every_s = max(FIRST_EVERY_S, gaps[len(gaps) // 2] if gaps else 0.0)

    def add(self, at: float, shares: Mapping[str, float]) -> None:
        """Takes the shares of a moment; nothing where the last sample is not old enough."""
        if self.samples and at - self.samples[-1][0] < 0.9 * self._every_s:
            return
        self.samples.append((round(at, 1), {name: share for name, share in shares.items() if share >= LEAST_SHARE}))
        if len(self.samples) > MOST:
            self._every_s *= 2
            last = self.samples[-1:] if len(self.samples) % 2 else []
            self.samples = [*map(_mean, self.samples[::2], self.samples[1::2]), *last]


def _mean(sooner: Sample, later: Sample) -> Sample:
    """One sample for two: the mean share of each limit, at the later one's time."""
    names = {**sooner[1], **later[1]}
    return later[0], {name: round((sooner[1].get(name, 0.0) + later[1].get(name, 0.0)) / 2, 4) for name in names}


def curves(samples: Sequence[Sample], most: int = 4) -> dict[str, list[float]]:
    """The share of each limit at each sample, for the `most` limits that held requests back for longest in all."""
    totals: dict[str, float] = {}
    for _, shares in samples:
        for name, share in shares.items():
            totals[name] = totals.get(name, 0.0) + share
    chosen = sorted(totals, key=lambda name: -totals[name])[:most]
    return {name: [shares.get(name, 0.0) for _, shares in samples] for name in chosen}
