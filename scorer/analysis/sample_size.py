"""How many items would decide a question, by the interval that so many of them gave."""

from __future__ import annotations

import math
from statistics import NormalDist

POWER = 0.8
"""How often so many items decide it, if things are as they seem."""
MOST_ITEMS = 10_000_000
"""No larger number of items is advised."""


def items_for(items: float, half: float, distance: float, z: float = NormalDist().inv_cdf(0.975)) -> int | None:
    """The number of items with which an interval keeps clear of a point in 80 % of tables; None where too many would.

    `half` is the half width of the interval over `items` items, `z` standard errors wide, `distance` how far its middle
    is from the point if it is where it seems.
    """
    if not (distance > 0 and math.isfinite(half)):
        return None
    needed = items * (half * (1 + NormalDist().inv_cdf(POWER) / z) / distance) ** 2
    return math.ceil(needed) if needed <= MOST_ITEMS else None
