"""Watches the answers to known rows for a drift: their losses, and where asked their signed errors up and down.

Each of the tests is that of drift.py. The losses may raise a false alarm in 1 % of runs, and the two signed tests
together in another 1 %. A judge that has grown lenient keeps its correlation, and often its mean loss: the signed error
shows it. A signed error counts at most `CLIP` either way: rare errors of a whole scale would force small stakes.
"""

from __future__ import annotations

import numpy as np

from scorer.analysis.sequential.drift import LEVEL, Drift
from scorer.frozen import dataclass

CLIP = 0.25
"""One point of a scale of 1 to 5."""


@dataclass(frozen=True, slots=True)
class FoundDrift:
    """What left its bound: "loss", or the signed error "up" or "down"; `mean` is that since the earliest start.

    `first` is the number of the canary with which the drift may have begun, `canaries` how many there were since.
    """

    kind: str
    mean: float
    bound: float
    first: int
    canaries: int


class DriftWatch:
    """Tests for at most `n` canaries: the mean loss may be `band`, the mean signed error `shift` up or down.

    `shift` is below `CLIP`; None: signed errors are not watched.
    """

    def __init__(self, band: float, n: int, shift: float | None = None) -> None:
        self.band, self.shift = band, shift
        self._tests = {"loss": Drift(band, n)}
        if shift is not None:
            self._tests |= {way: Drift(shift, n, LEVEL / 2, -CLIP) for way in ("up", "down")}
        self._numbers: dict[str, list[int]] = {kind: [] for kind in self._tests}

    def add(self, number: int, loss: float, error: float | None) -> FoundDrift | None:
        """Takes the answer to canary `number`; `error` is None where it has no score. What left its bound, or None."""
        signed = None if error is None else _clipped(error)
        values = {"loss": loss, "up": signed, "down": None if signed is None else -signed}
        found = None
        for kind, test in self._tests.items():
            if (value := values[kind]) is None:
                continue
            self._numbers[kind].append(number)
            if test.add(value) and found is None:
                start = test.earliest_start
                since = test.losses[start - 1 :]
                found = FoundDrift(kind, float(np.mean(since)), test.band, self._numbers[kind][start - 1], len(since))
        return found

    def within(self, losses: list[float], errors: list[float]) -> bool:
        """Whether the means of a round of canaries are within the bounds; no answers are not."""
        if not losses or np.mean(losses) > self.band:
            return False
        return (
            self.shift is None or not errors or abs(float(np.mean([_clipped(error) for error in errors]))) <= self.shift
        )


def _clipped(error: float) -> float:
    return max(-CLIP, min(CLIP, error))
